/* SPDX-License-Identifier: MIT */
/*
 * Where things lie in a program's memory, and what is said by them: the same as ShimLayout.java, and
 * SlotLayout.java for slots. ShimBlobTest compares them. For C and for the assembler. What depends on
 * the machine is in arch/.
 */
#ifndef OUTBOARD_SHIM_LAYOUT_H
#define OUTBOARD_SHIM_LAYOUT_H

#ifdef __aarch64__
#include "arch/aarch64/addresses.h"
#else
#include "arch/x86_64/addresses.h"
#endif

/* SELF is private to a process, zero after fork. What its first word says; its second word counts
 * trapped calls of a forked child; the third tells it from its ancestors: 0 for who got the shim, else
 * the process's number when it got a table. */
#define DETACHED 0 /* fork has wiped it: the table is the parent's */
#define ATTACHED 1 /* the table is this process's own */
#define TRAPS 2    /* everything traps, for good */
#define ASKING 3   /* a thread is in `attach` */
#define SELF_PROCESS 2 /* the index of that third word */

/* TABLE is shared with the hook: a word for each descriptor, counters, a page of control, handles, and
 * what looking for replies came to. */
#define MAX_FD 0x10000
#define COUNTERS_OFFSET 0x40000
#define DEVICE_COUNTERS_OFFSET 0x41000
#define DEVICE_BYTES_OFFSET 0x42000
#define CONTROL_OFFSET 0x43000
/* AT_ONCE: for each call, how often it was sent ahead or found what had been looked at: nobody
 * waited. */
/* Names of which a path of the host's, that needs no trap, has none. */
#define NAMES_OFFSET 0x43800
#define NAMES_BYTES 0x800
#define HANDLES_OFFSET 0x44000
/* For each call slot and call: how often a reply was looked for and came then, and did not. */
#define SPINS_OFFSET 0xc4000
/* SETS: the members of some epoll sets. */
#define MAX_SETS 4
#define SET_BYTES 0x2000
#define SET_HEADER 64
#define MEMBER_BYTES 32

/* The low byte of a descriptor's word. */
#define STATE_HOST 1
#define STATE_DEVICE 2 /* a socket of the device, whose handle is known */
#define STATE_FILE 3   /* a regular file of the device, likewise, which can be sent to one */
#define STATE_SET 4    /* an epoll set: whoever else could change it is known to the hook */
#define STATE_QUIET_FILE 5 /* as STATE_FILE; its stub may close it, as nobody can tell when it ends */

/* Beside a handle: */
#define HANDLE_WATCHED 0x80000000 /* the device reports its readiness */
#define HANDLE_STREAM 0x40000000  /* a socket of a stream */
#define HANDLE_NUMBER 0x3fffffff

/* SLOTS: call slots, shared with the device; SLOT_STRIDE from one to the next. */
#define MAX_SLOTS 16
#define SLOT_BYTES 0x39000
#define SLOT_DATA 0x1000
#define PIECE_BYTES 0x20000

/* Sends that nobody waits for: a ring behind what a call may use, what a credit is worth, and how
 * long. Behind the ring this code keeps the credits that it was given, one for some handles each. */
#define RING 0x21000
#define RING_BYTES 0x6000
#define AHEAD_BYTES 0x2000
#define CREDIT_BYTES 0x4000
#define AHEAD_COST 0x400
#define WANTS_CREDIT 0x10000
#define CREDITS 0x27000
#define MAX_CREDITS 256
#define CREDIT_NANOS 5000000

/* What the device has looked at for this process to receive. */
#define PEEKED 0x29000
#define PEEKED_ENTRIES 64
#define PEEKED_BYTES 1024
#define WANTS_PEEKS 0x20000
#define WANTS_TAKING 0x40000

/* Questions about a socket: how much an answer may be, and where in a slot's data it is; which
 * options may be asked for, a bit each of the socket, of IP, of IPv6 and of TCP. */
#define ANSWER_BYTES 512
#define ANSWER 16
#define ASKED_SOCKET 0xd04000b7fc
#define ASKED_IP 0x4406
#define ASKED_IPV6 0x5810000
#define ASKED_TCP 0x2043a7e

/* What device.c says of a call: it has to trap; it is done; its stub may make it; the number turned
 * out to be the host's, and its stub begins anew. */
#define TRAPPED 0
#define DONE 1
#define PASSED 2
#define AGAIN 3

/* Requests to the hook: descriptors of a close in the gate; nobody has these. */
#define ASK_ATTACH -0x6f62
#define ASK_SLOT -0x6f63
#define ASK_KEEP -0x6f64
#define ASK_PUT_OFF -0x6f65
#define ASK_ATTACHED -0x6f66 /* whether the table is mapped, and kept from children: may it be used? */

#endif
