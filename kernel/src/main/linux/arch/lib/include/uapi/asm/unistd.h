/* SPDX-License-Identifier: GPL-2.0-only */
/* The system call numbers, generated from the asm-generic table. */
#include <asm/unistd_64.h>
