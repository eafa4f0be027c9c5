/* SPDX-License-Identifier: MIT */
/* What of ../../layout.h is arm64's: multiples of 64 KiB, which is the largest page that there is, so
 * that each part can be mapped by itself. ShimLayout.java has x86-64's; ShimBlobTest knows both. */

/* This code, in front of it a page for what the hook says of calls: one mapping. */
#define BASE 0x05130000
#define TEXT 0x05140000
#define GATE 0x05147000
#define FILE_BYTES 0x18000

/* At BASE: for each number of a call what is to be done with it, as the hook has it. */
#define KINDS BASE
#define KINDS_BYTES 512
/* Of a kind; 0 traps. A call that passes if its first descriptor is the host's; the same of a close,
 * after which nothing is known of the number; one of which device.c finds out whose it is. */
#define KIND_PASS 1
#define KIND_CLOSE 2
#define KIND_ASK 4

#define SELF 0x05150000
#define SELF_BYTES 0x1000

/* A multiple of 4 * MAX_FD: a descriptor's word is found by one `bfi`. */
#define TABLE 0x05180000
#define TABLE_BYTES 0xe0000
/* Of arm64's own numbers of sends and receives the greatest is 207. */
#define AT_ONCE_OFFSET 0x43100
#define AT_ONCE_NUMBERS 224
#define SPIN_NUMBERS 224
#define SETS_OFFSET 0xd2000

#define SLOTS 0x05280000
#define SLOT_STRIDE 0x40000
