// SPDX-License-Identifier: GPL-2.0-only
/* The build wants this file; nothing of the port is written in assembler. */
int main(void)
{
	return 0;
}
