// SPDX-License-Identifier: MIT
package dev.outboard.hook;

/**
 * Where the parts of the shim lie in a program's memory: the constants of {@code layout.h} and, of
 * x86-64, {@code addresses.h}, in bytes.
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

  /** The text of {@code shim.S} and {@code device.c}. */
  static final long TEXT = 0x0514_0000L;

  /** Its last page, where calls trap: requests to the hook. */
  static final long GATE = 0x0514_6000L;

  static final long GATE_END = 0x0514_7000L;

  /** Length of the one mapping of all that: the layout of an image's file. */
  static final long FILE_BYTES = GATE_END - BASE;

  /** What a process's calls from patched sites may do; fork wipes it. */
  static final long SELF = GATE_END;

  /** SELF: the table is the process's own. */
  static final int ATTACHED = 1;

  /**
   * The table of descriptors, a word each; behind it counters, a long for each call: those let
   * pass, those made on the device, and the bytes of these; a page that is the shim's own; the
   * handle and birth of each device fd, an int each; for each call slot and call how often looking
   * for the reply was worth it and how often not, a long each; and members of epoll sets.
   */
  static final long TABLE = 0x0515_0000L;

  static final int MAX_FD = 1 << 16;
  static final int COUNTERS_OFFSET = MAX_FD * Integer.BYTES;
  static final int MAX_NUMBER = 512;
  static final int DEVICE_COUNTERS_OFFSET = COUNTERS_OFFSET + MAX_NUMBER * Long.BYTES;
  static final int DEVICE_BYTES_OFFSET = DEVICE_COUNTERS_OFFSET + MAX_NUMBER * Long.BYTES;
  static final int CONTROL_OFFSET = DEVICE_BYTES_OFFSET + MAX_NUMBER * Long.BYTES;
  static final int HANDLES_OFFSET = CONTROL_OFFSET + 4096;
  static final int SPINS_OFFSET = HANDLES_OFFSET + MAX_FD * Long.BYTES;

  /** The numbers of the calls whose looks for replies are counted are less. */
  static final int SPIN_NUMBERS = 64;

  /** Call slots of a process. */
  static final int MAX_SLOTS = 16;

  /**
   * Behind all that, what some epoll sets are known to have as members: {@link #MAX_SETS} pieces,
   * each with a header and {@link #MAX_MEMBERS} members.
   */
  static final int SETS_OFFSET = SPINS_OFFSET + MAX_SLOTS * SPIN_NUMBERS * 2 * Long.BYTES;

  static final int MAX_SETS = 4;
  static final int SET_BYTES = 8192;
  static final int SET_HEADER = 64;
  static final int MEMBER_BYTES = 32;
  static final int MAX_MEMBERS = (SET_BYTES - SET_HEADER) / MEMBER_BYTES;

  static final int TABLE_BYTES = SETS_OFFSET + MAX_SETS * SET_BYTES;

  /** What the low byte of a descriptor's word says: the host's. */
  static final int STATE_HOST = 1;

  /** A socket of the device on which the shim may send and receive. */
  static final int STATE_DEVICE = 2;

  /** A regular file of the device from which the shim may send to such a socket. */
  static final int STATE_FILE = 3;

  /** An epoll set: {@link KnownSets} knows of whoever else could change it. */
  static final int STATE_SET = 4;

  /** As {@link #STATE_FILE}; the shim may close it, since nobody can tell when it ends. */
  static final int STATE_QUIET_FILE = 5;

  /** Beside a handle: the device reports its readiness. */
  static final int HANDLE_WATCHED = 0x8000_0000;

  /** It is a socket of a stream. */
  static final int HANDLE_STREAM = 0x4000_0000;

  static final int HANDLE_NUMBER = 0x3fff_ffff;

  /**
   * Of the page of control: threads that may be waiting in an epoll set, and which if it is one.
   */
  static final int WAITS_OFFSET = CONTROL_OFFSET + 4;

  static final int WAITER_OFFSET = CONTROL_OFFSET + 8;

  static final int HOOK_PID_OFFSET = CONTROL_OFFSET + 12;

  /** Of the same page: how many call slots the process has mapped; less than 0 if none. */
  static final int SLOT_COUNT_OFFSET = CONTROL_OFFSET + 16;

  /** Of the same page: bytes of files of the device that were sent from there. */
  static final int STAYED_OFFSET = CONTROL_OFFSET + 104;

  /**
   * Of the same page: how often calls did not wait for the device, a long for each number that is
   * less.
   */
  static final int AT_ONCE_OFFSET = CONTROL_OFFSET + 512;

  static final int AT_ONCE_NUMBERS = 64;

  /** Of the same page: what may be done without waiting. */
  static final int AHEAD_OFFSET = CONTROL_OFFSET + 120;

  /** Of the same page: whether questions about sockets go to the device. */
  static final int ASKS_OFFSET = CONTROL_OFFSET + 124;

  /** Whether the device may look at what is received next. */
  static final int PEEKS_OFFSET = CONTROL_OFFSET + 128;

  static final int TAKES_OFFSET = CONTROL_OFFSET + 132;

  /** What is taken by slots that the hook serves; 0 where the device serves them. */
  static final int NEAR_OFFSET = CONTROL_OFFSET + 136;

  /** The device number of the file system in which placeholders of regular files are. */
  static final int MEMORY_OFFSET = CONTROL_OFFSET + 152;

  /** Who may put down what a number is: all threads, none, or the one whose number it is. */
  static final int LEARNER_OFFSET = CONTROL_OFFSET + 160;

  static final int ANY_LEARNS = 0;
  static final int NONE_LEARNS = -1;

  /** Of no number from here on is anything known, or being found out by the shim. */
  static final int END_OFFSET = CONTROL_OFFSET + 164;

  /** Address of {@link HandlerEntries} in the process's memory; 0 if it has none. */
  static final int ENTRIES_OFFSET = CONTROL_OFFSET + 168;

  /** Whether the shim looks at paths; and where the names are of which it finds none then. */
  static final int PATHS_OFFSET = CONTROL_OFFSET + 144;

  static final int NAMES_OFFSET = CONTROL_OFFSET + 2048;
  static final int NAMES_BYTES = 2048;

  /** Where call slots are mapped that the process uses by itself. */
  static final long SLOTS = 0x0522_0000L;

  /** The descriptor by which a forked child's {@code close} in the gate asks for a table. */
  static final int ASK_ATTACH = -0x6f62;

  /** The same for one more call slot; the answer is its descriptor. */
  static final int ASK_SLOT = -0x6f63;

  /** The slot is mapped, and marked as not to be copied by fork; 0 if the process may keep it. */
  static final int ASK_KEEP = -0x6f64;

  /** An error of a descriptor, the arguments behind, is to be that of its next call. */
  static final int ASK_PUT_OFF = -0x6f65;

  /**
   * What a process tells that has mapped the table it asked for, or could not: a thread of it may
   * have made a child meanwhile, which has the table, too.
   */
  static final int ASK_ATTACHED = -0x6f66;

  /** The answer: a descriptor of the tables, and above these bits which table it is. */
  static final int ATTACH_FD_BITS = 20;

  private ShimLayout() {}
}
