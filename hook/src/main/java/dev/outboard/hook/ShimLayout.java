// SPDX-License-Identifier: MIT
package dev.outboard.hook;

/**
 * Where the parts of the shim lie in a program's memory: the constants of {@code shim.S}, in bytes.
 *
 * <p>All of it is below 2 GiB, so that an instruction can name it by a 32-bit address; where it
 * begins is chosen by {@link PatchSite}: an address whose upper half is the code of {@code
 * syscall}. The order is that of the addresses. The stubs and the text up to the gate are what the
 * filter lets pass ({@code SeccompProgram}).
 */
final class ShimLayout {
  /** Pointers to stubs; a patched site jumps through one of them. */
  static final long BASE = 0x050f_0000L;

  static final int POINTER_BYTES = 8;

  /** Stubs, one for each site. */
  static final long STUBS = 0x0510_0000L;

  static final int STUB_BYTES = 128;
  static final int MAX_STUBS = 2048;

  /** Where an image's own number stands: behind the last pointer. */
  static final long IMAGE_NUMBER = STUBS - Long.BYTES;

  /** The text of {@code shim.S}. */
  static final long TEXT = 0x0514_0000L;

  /** Its last page, where calls trap: requests to the hook. */
  static final long GATE = 0x0514_4000L;

  static final long GATE_END = 0x0514_5000L;

  /** Length of the one mapping of all that: the layout of an image's file. */
  static final long FILE_BYTES = GATE_END - BASE;

  /** What a process's calls from patched sites may do; fork wipes it. */
  static final long SELF = GATE_END;

  /** SELF: the table is the process's own. */
  static final int ATTACHED = 1;

  /** The table of descriptors, a word each, and behind it the counters, a long each. */
  static final long TABLE = 0x0515_0000L;

  static final int MAX_FD = 1 << 16;
  static final int COUNTERS_OFFSET = MAX_FD * Integer.BYTES;
  static final int MAX_NUMBER = 512;
  static final int TABLE_BYTES = COUNTERS_OFFSET + MAX_NUMBER * Long.BYTES;

  /** The descriptor by which a forked child's {@code close} in the gate asks for a table. */
  static final int ASK_ATTACH = -0x6f62;

  /** The answer: a descriptor of the tables, and above these bits which table it is. */
  static final int ATTACH_FD_BITS = 20;

  private ShimLayout() {}
}
