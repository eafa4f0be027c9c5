/* SPDX-License-Identifier: GPL-2.0-only */
/* What generic code wants to know of ELF; no image is ever loaded. */
#ifndef _ASM_LIB_ELF_H
#define _ASM_LIB_ELF_H
#include <asm/ptrace.h>
#include <linux/elf-em.h>
#define ELF_CLASS	ELFCLASS64
#define ELF_DATA	ELFDATA2LSB
#define ELF_ARCH	EM_NONE
#define ELF_NGREG	8
typedef unsigned long elf_greg_t;
typedef elf_greg_t elf_gregset_t[ELF_NGREG];
typedef unsigned long elf_fpregset_t;
#define elf_check_arch(x)	(0)
#endif
