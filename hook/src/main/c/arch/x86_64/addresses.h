/* SPDX-License-Identifier: MIT */
/* What of ../../layout.h is x86-64's: addresses that one instruction can name, and what begins with
 * the code of `syscall` (PatchSite.java). ShimLayout.java has the same. */

/* Pointers to stubs, then stubs, then this code: one mapping. */
#define BASE 0x050f0000
#define TEXT 0x05140000
#define GATE 0x05146000
#define FILE_BYTES 0x57000

#define SELF 0x05147000
#define SELF_BYTES 0x1000

#define TABLE 0x05150000
#define TABLE_BYTES 0xd0000
#define AT_ONCE_OFFSET 0x43200
#define AT_ONCE_NUMBERS 64
#define SPIN_NUMBERS 64
#define SETS_OFFSET 0xc8000

#define SLOTS 0x05220000
#define SLOT_STRIDE SLOT_BYTES
