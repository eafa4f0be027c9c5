/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Relocatable link (ld -r).  Every table keeps the order of its input, and
 * every boundary symbol is assigned inside of an output section, since outside
 * of one it would become absolute.
 */
#define RUNTIME_DISCARD_EXIT
#define LOAD_OFFSET 0
#include <asm/page.h>
#include <asm/thread_info.h>
#include <asm/cache.h>
#include <asm-generic/vmlinux.lds.h>

#ifdef __aarch64__
OUTPUT_FORMAT("elf64-littleaarch64")
OUTPUT_ARCH(aarch64)
#else
OUTPUT_FORMAT("elf64-x86-64")
OUTPUT_ARCH(i386:x86-64)
#endif

SECTIONS
{
	.ob.text : {
		_text = .;
		_stext = .;
		TEXT_TEXT
		SCHED_TEXT
		LOCK_TEXT
		KPROBES_TEXT
		ENTRY_TEXT
		IRQENTRY_TEXT
		SOFTIRQENTRY_TEXT
		_etext = .;
		. = ALIGN(16);
		__init_begin = .;
		_sinittext = .;
		INIT_TEXT
		_einittext = .;
		__exittext_begin = .;
		EXIT_TEXT
		__exittext_end = .;
		__init_end = .;
	}

	/* no relocation in here: may stay read only */
	.ob.rodata : {
		__start_rodata = .;
		*(.rodata .rodata.*)
		*(__tracepoints_strings)
		*(__ksymtab_strings)
		. = ALIGN(4);
		BOUNDED_SECTION_BY(.note.*, _notes)
		__end_rodata = .;
	}

	.ob.data : ALIGN(PAGE_SIZE) {
		. = ALIGN(PAGE_SIZE);
		_sdata = .;
		INIT_TASK_DATA(THREAD_SIZE)
		. = ALIGN(64);
		CACHELINE_ALIGNED_DATA(64)
		READ_MOSTLY_DATA(64)
		PAGE_ALIGNED_DATA(PAGE_SIZE)
		NOSAVE_DATA
		DATA_DATA
		*(.data.*)
		CONSTRUCTORS
		. = ALIGN(64);
		SCHED_DATA
		RO_AFTER_INIT_DATA
		*(.data.rel.ro*)
		. = ALIGN(8);
		BOUNDED_SECTION_BY(__tracepoints_ptrs, ___tracepoints_ptrs)
		. = ALIGN(8);
		BOUNDED_SECTION_BY(__param, ___param)
		BOUNDED_SECTION_BY(__modver, ___modver)
		. = ALIGN(8);
		__start___ksymtab = .;
		KEEP(*(SORT(___ksymtab+*)))
		__stop___ksymtab = .;
		__start___ksymtab_gpl = .;
		KEEP(*(SORT(___ksymtab_gpl+*)))
		__stop___ksymtab_gpl = .;
		. = ALIGN(8);
		__start___ex_table = .;
		KEEP(*(__ex_table))
		__stop___ex_table = .;
		*(.ref.rodata)
		. = ALIGN(8);
		BOUNDED_SECTION_PRE_LABEL(.builtin_fw, _builtin_fw, __start, __end)
		. = ALIGN(16);
		INIT_DATA
		INIT_SETUP(16)
		. = ALIGN(8);
		INIT_CALLS
		CON_INITCALL
		INIT_RAM_FS
		EXIT_DATA
		EXIT_CALL
		. = ALIGN(64);
		__per_cpu_load = .;
		__per_cpu_start = .;
		*(.data..percpu..first)
		. = ALIGN(PAGE_SIZE);
		*(.data..percpu..page_aligned)
		. = ALIGN(64);
		*(.data..percpu..read_mostly)
		. = ALIGN(64);
		*(.data..percpu)
		*(.data..percpu..shared_aligned)
		__per_cpu_end = .;
		. = ALIGN(8);
		runtime_const_dummy = .;
		_edata = .;
		jiffies = jiffies_64;
	}

	.ob.bss (NOLOAD) : ALIGN(PAGE_SIZE) {
		. = ALIGN(PAGE_SIZE);
		__bss_start = .;
		*(.bss..page_aligned)
		. = ALIGN(PAGE_SIZE);
		*(.dynbss)
		*(BSS_MAIN)
		*(.bss.*)
		*(COMMON)
		__bss_stop = .;
		_end = .;
	}

	DWARF_DEBUG
	.comment 0 : { *(.comment) }

	/DISCARD/ : {
		*(.discard .discard.*)
		*(.modinfo)
		*(.note.GNU-stack)
		*(.note.gnu.property)
		*(.eh_frame)
		*(.export_symbol)
		*(.no_trim_symbol)
	}
}
