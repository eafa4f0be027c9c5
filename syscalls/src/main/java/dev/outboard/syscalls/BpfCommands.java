// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Bpf;
import dev.outboard.abi.Errno;
import dev.outboard.syscalls.BpfObject.Kind;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * The sub-table of {@code bpf(2)}: which commands cross to the device, how much of their attribute
 * they know, and where in it are descriptors, pointers and results. What has no line here is
 * EINVAL, and so is an attribute with anything in a field that its command does not know.
 *
 * <p>Source: {@code union bpf_attr} of {@code include/uapi/linux/bpf.h} and {@code
 * kernel/bpf/syscall.c}, Linux 6.12.
 *
 * <p>What lies in a call's data, beside what pointers lead to:
 *
 * <pre>
 *   0             152                 168
 *   +-------------+-------------------+----------------
 *   | attribute   | object: kind type | what pointers
 *   |             | key value, 4 each | lead to …
 *   +-------------+-------------------+----------------
 * </pre>
 *
 * <p>The device fills in the object where the result is a descriptor. The call's arguments: the
 * command, the attribute's size, and the handle of the object that the command is about, -1 if it
 * is about none.
 *
 * <p>All methods may be called by any thread.
 */
public final class BpfCommands {
  /** {@code sizeof(union bpf_attr)}. */
  public static final int ATTRIBUTE_BYTES = 152;

  /** Where the device tells what object it has made. */
  public static final int OBJECT = ATTRIBUTE_BYTES;

  static final int OBJECT_BYTES = 16;

  // The arguments of a call.
  static final int COMMAND = 0;
  static final int SIZE = 1;

  /** The argument that has the handle of the object which the command is about. */
  public static final int SUBJECT = 2;

  /** A number that no descriptor has. */
  public static final int NO_FILE = Integer.MAX_VALUE;

  // Commands.
  static final int MAP_CREATE = 0;
  static final int MAP_LOOKUP_ELEM = 1;
  static final int MAP_UPDATE_ELEM = 2;
  static final int MAP_DELETE_ELEM = 3;
  static final int MAP_GET_NEXT_KEY = 4;
  public static final int PROG_LOAD = 5;
  public static final int OBJ_PIN = 6;
  public static final int OBJ_GET = 7;
  static final int PROG_ATTACH = 8;
  static final int PROG_DETACH = 9;
  static final int PROG_TEST_RUN = 10;
  static final int PROG_GET_NEXT_ID = 11;
  static final int MAP_GET_NEXT_ID = 12;
  static final int PROG_GET_FD_BY_ID = 13;
  static final int MAP_GET_FD_BY_ID = 14;
  static final int OBJ_GET_INFO_BY_FD = 15;
  static final int PROG_QUERY = 16;
  public static final int BTF_LOAD = 18;
  static final int BTF_GET_FD_BY_ID = 19;
  static final int MAP_LOOKUP_AND_DELETE_ELEM = 21;
  static final int MAP_FREEZE = 22;
  static final int BTF_GET_NEXT_ID = 23;
  public static final int MAP_LOOKUP_BATCH = 24;
  public static final int MAP_LOOKUP_AND_DELETE_BATCH = 25;
  public static final int MAP_UPDATE_BATCH = 26;
  public static final int MAP_DELETE_BATCH = 27;
  static final int LINK_CREATE = 28;
  static final int LINK_UPDATE = 29;
  static final int LINK_GET_FD_BY_ID = 30;
  static final int LINK_GET_NEXT_ID = 31;
  static final int LINK_DETACH = 34;
  static final int PROG_BIND_MAP = 35;

  // Types of maps.
  static final int HASH = 1;
  static final int ARRAY = 2;
  static final int PROG_ARRAY = 3;
  static final int PERCPU_HASH = 5;
  static final int PERCPU_ARRAY = 6;
  static final int LRU_HASH = 9;
  static final int LRU_PERCPU_HASH = 10;
  static final int LPM_TRIE = 11;
  static final int ARRAY_OF_MAPS = 12;
  static final int HASH_OF_MAPS = 13;
  static final int XSKMAP = 17;
  static final int REUSEPORT_SOCKARRAY = 20;
  static final int QUEUE = 22;
  static final int STACK = 23;
  static final int BLOOM_FILTER = 30;

  // Types of programs.
  private static final int SOCKET_FILTER = 1;
  private static final int SCHED_CLS = 3;
  private static final int SCHED_ACT = 4;
  private static final int XDP = 6;
  private static final int SK_REUSEPORT = 21;

  // What programs are attached to.
  private static final int ATTACH_XDP = 37;
  private static final int ATTACH_TCX_INGRESS = 46;
  private static final int ATTACH_TCX_EGRESS = 47;

  // Flags of maps: to be mapped; by the descriptor of a BTF object, or of a token.
  private static final int F_MMAPABLE = 1 << 10;
  private static final int F_VTYPE_BTF_OBJ_FD = 1 << 15;
  private static final int F_TOKEN_FD = 1 << 16;

  // Flags of attaching: instead of another, beside another, which is named by an id.
  private static final int F_REPLACE = 1 << 2;
  private static final int F_BEFORE_OR_AFTER = 3 << 3;
  private static final int F_ID = 1 << 5;

  // Fields.
  public static final int BATCH_IN = 0;
  public static final int BATCH_OUT = 8;
  public static final int BATCH_KEYS = 16;
  public static final int BATCH_VALUES = 24;
  public static final int BATCH_COUNT = 32;
  static final int LOAD_COUNT = 4;
  static final int LOAD_INSTRUCTIONS = 8;
  static final int LOAD_LICENSE = 16;
  static final int LOAD_LOG_LEVEL = 24;
  static final int LOAD_LOG_BYTES = 28;
  static final int LOAD_LOG = 32;
  static final int LOAD_FD_ARRAY = 120;
  static final int LOAD_LOG_TRUE_BYTES = 140;
  static final int BTF_LOG = 8;
  static final int BTF_LOG_BYTES = 20;
  static final int BTF_LOG_LEVEL = 24;
  static final int BTF_LOG_TRUE_BYTES = 28;
  static final int INFO_LENGTH = 4;
  static final int INFO = 8;
  static final int ELEMENT_KEY = 8;
  static final int ELEMENT_VALUE = 16;
  static final int TEST_SIZE_OUT = 12;
  static final int TEST_OUT = 24;
  static final int TEST_CONTEXT_SIZE_OUT = 44;

  /** {@code strncpy_from_user()} looks at so many bytes of a licence. */
  static final int LICENSE_BYTES = 128;

  /** No structure of information is longer. */
  static final int INFO_BYTES = 256;

  /** The kernel takes no larger attribute, and no larger information. */
  static final int PAGE_BYTES = 4096;

  /** A packet, and as much as a program may put before and behind it. */
  static final int TEST_BYTES = 64 * 1024;

  /**
   * A pointer in an attribute, or in the information of an object.
   *
   * @param at where it is
   * @param bytes how many it leads to
   * @param in whether the kernel reads them, and
   * @param out whether it writes them
   */
  record Pointer(int at, long bytes, boolean in, boolean out) {}

  private BpfCommands() {}

  /** How many bytes of its attribute a command knows; -1 for one that does not cross. */
  static int known(int command) {
    return switch (command) {
      case MAP_CREATE -> 72;
      case MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_LOOKUP_AND_DELETE_ELEM -> 32;
      case MAP_DELETE_ELEM -> 16;
      case MAP_GET_NEXT_KEY -> 24;
      case PROG_LOAD -> 144;
      case PROG_ATTACH, PROG_DETACH -> 32;
      case PROG_TEST_RUN -> 76;
      case PROG_GET_NEXT_ID, MAP_GET_NEXT_ID, BTF_GET_NEXT_ID, LINK_GET_NEXT_ID -> 8;
      case PROG_GET_FD_BY_ID, BTF_GET_FD_BY_ID, LINK_GET_FD_BY_ID -> 4;
      case MAP_GET_FD_BY_ID -> 12;
      case OBJ_GET_INFO_BY_FD -> 16;
      case PROG_QUERY -> 64;
      case BTF_LOAD -> 32;
      case MAP_FREEZE, LINK_DETACH -> 4;
      case MAP_LOOKUP_BATCH, MAP_LOOKUP_AND_DELETE_BATCH, MAP_UPDATE_BATCH, MAP_DELETE_BATCH -> 56;
      case LINK_CREATE -> 32;
      case LINK_UPDATE -> 16;
      case PROG_BIND_MAP -> 12;
      default -> -1;
    };
  }

  /** What a command makes, whose descriptor is then its result; else NONE. */
  public static Kind makes(int command) {
    return switch (command) {
      case MAP_CREATE, MAP_GET_FD_BY_ID -> Kind.MAP;
      case PROG_LOAD, PROG_GET_FD_BY_ID -> Kind.PROGRAM;
      case BTF_LOAD, BTF_GET_FD_BY_ID -> Kind.BTF;
      case LINK_CREATE, LINK_GET_FD_BY_ID -> Kind.LINK;
      default -> Kind.NONE;
    };
  }

  /** Where the descriptor is of the object whose sizes a command goes by; -1 without one. */
  public static int subject(int command) {
    return switch (command) {
      case MAP_LOOKUP_ELEM,
          MAP_UPDATE_ELEM,
          MAP_DELETE_ELEM,
          MAP_GET_NEXT_KEY,
          MAP_LOOKUP_AND_DELETE_ELEM,
          OBJ_GET_INFO_BY_FD ->
          0;
      case MAP_LOOKUP_BATCH, MAP_LOOKUP_AND_DELETE_BATCH, MAP_UPDATE_BATCH, MAP_DELETE_BATCH -> 36;
      default -> -1;
    };
  }

  static boolean batch(int command) {
    return subject(command) == 36;
  }

  /** Whether a command's key or value is what a program wants to put into a map. */
  static boolean updates(int command) {
    return command == MAP_UPDATE_ELEM || command == MAP_UPDATE_BATCH;
  }

  /** Where in an attribute the descriptors are that its command looks at. */
  static List<Integer> descriptors(int command, MemorySegment attribute) {
    List<Integer> at = new ArrayList<>(4);
    int subject = subject(command);
    if (subject >= 0) {
      at.add(subject);
    }
    switch (command) {
      case MAP_CREATE -> {
        int type = attribute.get(Wire.INT, 0);
        if (type == ARRAY_OF_MAPS || type == HASH_OF_MAPS) {
          at.add(20);
        }
        if (any(attribute, 52, 64)) {
          at.add(48);
        }
      }
      case PROG_LOAD -> {
        if (any(attribute, 88, 92) || any(attribute, 104, 108)) {
          at.add(72);
        }
        if (any(attribute, 112, 116)) {
          at.add(112);
        }
      }
      case PROG_ATTACH, PROG_DETACH -> {
        if (command == PROG_ATTACH || any(attribute, 4, 8)) {
          at.add(4);
        }
        int flags = attribute.get(Wire.INT, 12);
        if ((flags & F_REPLACE) != 0) {
          at.add(16);
        }
        if (namesNeighbour(flags)) {
          at.add(20);
        }
      }
      case LINK_CREATE -> {
        at.add(0);
        if (namesNeighbour(attribute.get(Wire.INT, 12)) && tcx(attribute.get(Wire.INT, 8))) {
          at.add(16);
        }
      }
      case LINK_UPDATE -> {
        at.add(0);
        at.add(4);
        if ((attribute.get(Wire.INT, 8) & F_REPLACE) != 0) {
          at.add(12);
        }
      }
      case PROG_BIND_MAP -> {
        at.add(0);
        at.add(4);
      }
      case PROG_TEST_RUN, MAP_FREEZE, LINK_DETACH -> at.add(0);
      default -> {}
    }
    return at;
  }

  private static boolean namesNeighbour(int flags) {
    return (flags & F_BEFORE_OR_AFTER) != 0 && (flags & F_ID) == 0;
  }

  private static boolean tcx(int attachType) {
    return attachType == ATTACH_TCX_INGRESS || attachType == ATTACH_TCX_EGRESS;
  }

  /**
   * Where in an attribute the pointers are that its command follows, and how far. Others the kernel
   * does not look at.
   *
   * @param object what the command is about
   */
  static List<Pointer> pointers(int command, MemorySegment attribute, BpfObject object) {
    List<Pointer> all = new ArrayList<>(6);
    boolean map = object.kind() == Kind.MAP;
    long key = object.keyBytes();
    long value = object.valueSpan();
    switch (command) {
      case MAP_LOOKUP_ELEM, MAP_LOOKUP_AND_DELETE_ELEM -> {
        if (map) {
          all.add(new Pointer(ELEMENT_KEY, key, true, false));
          // A bloom filter is asked with a value.
          all.add(new Pointer(ELEMENT_VALUE, value, object.type() == BLOOM_FILTER, true));
        }
      }
      case MAP_UPDATE_ELEM -> {
        if (map) {
          all.add(new Pointer(ELEMENT_KEY, key, true, false));
          all.add(new Pointer(ELEMENT_VALUE, value, true, false));
        }
      }
      case MAP_DELETE_ELEM -> {
        if (map) {
          all.add(new Pointer(ELEMENT_KEY, key, true, false));
        }
      }
      case MAP_GET_NEXT_KEY -> {
        if (map) {
          all.add(new Pointer(ELEMENT_KEY, key, true, false));
          all.add(new Pointer(ELEMENT_VALUE, key, false, true));
        }
      }
      case MAP_LOOKUP_BATCH, MAP_LOOKUP_AND_DELETE_BATCH, MAP_UPDATE_BATCH, MAP_DELETE_BATCH -> {
        if (map) {
          boolean looks = command == MAP_LOOKUP_BATCH || command == MAP_LOOKUP_AND_DELETE_BATCH;
          long count = unsigned(attribute, BATCH_COUNT);
          // A hash says by four bytes where to go on, all others by a key.
          long cursor = Math.max(Integer.BYTES, key);
          if (looks) {
            all.add(new Pointer(BATCH_IN, cursor, true, false));
            all.add(new Pointer(BATCH_OUT, cursor, false, true));
          }
          all.add(new Pointer(BATCH_KEYS, count * key, !looks, looks));
          if (command != MAP_DELETE_BATCH) {
            all.add(new Pointer(BATCH_VALUES, count * value, !looks, looks));
          }
        }
      }
      case PROG_LOAD -> {
        all.add(
            new Pointer(
                LOAD_INSTRUCTIONS,
                unsigned(attribute, LOAD_COUNT) * Bpf.INSTRUCTION_BYTES,
                true,
                false));
        all.add(new Pointer(LOAD_LICENSE, LICENSE_BYTES, true, false));
        all.add(new Pointer(80, unsigned(attribute, 76) * unsigned(attribute, 88), true, false));
        all.add(new Pointer(96, unsigned(attribute, 92) * unsigned(attribute, 104), true, false));
        all.add(new Pointer(LOAD_LOG, unsigned(attribute, LOAD_LOG_BYTES), false, true));
      }
      case BTF_LOAD -> {
        all.add(new Pointer(0, unsigned(attribute, 16), true, false));
        all.add(new Pointer(BTF_LOG, unsigned(attribute, BTF_LOG_BYTES), false, true));
      }
      case PROG_TEST_RUN -> {
        all.add(new Pointer(16, unsigned(attribute, 8), true, false));
        all.add(new Pointer(TEST_OUT, unsigned(attribute, TEST_SIZE_OUT), false, true));
        all.add(new Pointer(48, unsigned(attribute, 40), true, false));
        all.add(new Pointer(56, unsigned(attribute, TEST_CONTEXT_SIZE_OUT), false, true));
      }
      case PROG_QUERY -> {
        long count = unsigned(attribute, 24) * Integer.BYTES;
        all.add(new Pointer(16, count, false, true));
        all.add(new Pointer(32, count, false, true));
        all.add(new Pointer(40, count, false, true));
        all.add(new Pointer(48, count, false, true));
      }
      default -> {}
    }
    return all;
  }

  /** Where a command may have pointers that it does not follow for every kind of object. */
  static int[] pointerFields(int command) {
    return switch (command) {
      case MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_GET_NEXT_KEY, MAP_LOOKUP_AND_DELETE_ELEM ->
          new int[] {ELEMENT_KEY, ELEMENT_VALUE};
      case MAP_DELETE_ELEM -> new int[] {ELEMENT_KEY};
      case MAP_LOOKUP_BATCH, MAP_LOOKUP_AND_DELETE_BATCH, MAP_UPDATE_BATCH, MAP_DELETE_BATCH ->
          new int[] {BATCH_IN, BATCH_OUT, BATCH_KEYS, BATCH_VALUES};
      default -> new int[] {};
    };
  }

  /** Where the numbers are, of four bytes, that a command writes to its attribute. */
  static int[] results(int command) {
    return switch (command) {
      case PROG_LOAD -> new int[] {LOAD_LOG_TRUE_BYTES};
      case BTF_LOAD -> new int[] {BTF_LOG_TRUE_BYTES};
      case PROG_TEST_RUN -> new int[] {4, TEST_SIZE_OUT, 36, TEST_CONTEXT_SIZE_OUT};
      case PROG_GET_NEXT_ID, MAP_GET_NEXT_ID, BTF_GET_NEXT_ID, LINK_GET_NEXT_ID -> new int[] {4};
      case OBJ_GET_INFO_BY_FD -> new int[] {INFO_LENGTH};
      case PROG_QUERY -> new int[] {12, 24, 56, 60};
      case MAP_LOOKUP_BATCH, MAP_LOOKUP_AND_DELETE_BATCH, MAP_UPDATE_BATCH, MAP_DELETE_BATCH ->
          new int[] {BATCH_COUNT};
      default -> new int[] {};
    };
  }

  /**
   * Where in the information about an object the pointers are. {@code struct bpf_prog_info}, {@code
   * bpf_btf_info}, {@code bpf_link_info}.
   */
  static List<Pointer> infoPointers(BpfObject object, MemorySegment info) {
    List<Pointer> all = new ArrayList<>(9);
    switch (object.kind()) {
      case PROGRAM -> {
        all.add(array(info, 24, 16, 1));
        all.add(array(info, 32, 20, 1));
        all.add(array(info, 56, 52, Integer.BYTES));
        all.add(array(info, 112, 104, Long.BYTES));
        all.add(array(info, 120, 108, Integer.BYTES));
        all.add(array(info, 136, 144, unsigned(info, 132)));
        all.add(array(info, 152, 148, unsigned(info, 172)));
        all.add(array(info, 160, 168, unsigned(info, 176)));
        all.add(array(info, 184, 180, Long.BYTES));
      }
      case BTF -> {
        all.add(array(info, 0, 8, 1));
        all.add(array(info, 16, 24, 1));
      }
      case MAP, LINK, NONE -> {}
    }
    return all;
  }

  private static Pointer array(MemorySegment info, int at, int count, long unit) {
    return new Pointer(at, unsigned(info, count) * unit, false, true);
  }

  /**
   * What the device does not have, or what its kernel could do only with memory that a program
   * maps: 0, or {@code -errno}.
   */
  static int check(int command, MemorySegment attribute) {
    int known = known(command);
    if (known < 0 || any(attribute, known, ATTRIBUTE_BYTES)) {
      return -Errno.EINVAL;
    }
    return switch (command) {
      case MAP_CREATE -> checkMap(attribute);
      case PROG_LOAD -> checkProgram(attribute);
      case PROG_ATTACH, PROG_DETACH -> tcx(attribute.get(Wire.INT, 8)) ? 0 : -Errno.EINVAL;
      case PROG_QUERY -> tcx(attribute.get(Wire.INT, 4)) ? 0 : -Errno.EINVAL;
      case LINK_CREATE -> {
        int type = attribute.get(Wire.INT, 8);
        yield type == ATTACH_XDP || tcx(type) ? 0 : -Errno.EINVAL;
      }
      // Without a length the kernel writes all that a program made of the packet.
      case PROG_TEST_RUN ->
          attribute.get(Wire.LONG, TEST_OUT) != Call.NULL
                  && attribute.get(Wire.INT, TEST_SIZE_OUT) == 0
              ? -Errno.EINVAL
              : 0;
      default -> 0;
    };
  }

  private static int checkMap(MemorySegment attribute) {
    boolean offered =
        switch (attribute.get(Wire.INT, 0)) {
          case HASH,
              ARRAY,
              PROG_ARRAY,
              PERCPU_HASH,
              PERCPU_ARRAY,
              LRU_HASH,
              LRU_PERCPU_HASH,
              LPM_TRIE,
              ARRAY_OF_MAPS,
              HASH_OF_MAPS,
              XSKMAP,
              REUSEPORT_SOCKARRAY,
              QUEUE,
              STACK,
              BLOOM_FILTER ->
              true;
          default -> false;
        };
    int flags = attribute.get(Wire.INT, 16);
    if (!offered || (flags & (F_MMAPABLE | F_VTYPE_BTF_OBJ_FD | F_TOKEN_FD)) != 0) {
      return -Errno.EINVAL;
    }
    return unsigned(attribute, 4) > BpfObject.MAX_ELEMENT_BYTES
            || unsigned(attribute, 8) > BpfObject.MAX_ELEMENT_BYTES
        ? -Errno.E2BIG
        : 0;
  }

  private static int checkProgram(MemorySegment attribute) {
    boolean offered =
        switch (attribute.get(Wire.INT, 0)) {
          case SOCKET_FILTER, SCHED_CLS, SCHED_ACT, XDP, SK_REUSEPORT -> true;
          default -> false;
        };
    // Relocations are against the types of the kernel itself, which this one does not tell.
    return offered && !any(attribute, 116, LOAD_LOG_TRUE_BYTES) ? 0 : -Errno.EINVAL;
  }

  static long unsigned(MemorySegment m, int at) {
    return Integer.toUnsignedLong(m.get(Wire.INT, at));
  }

  static boolean any(MemorySegment m, long from, long to) {
    for (long i = from; i < to; i++) {
      if (m.get(Wire.BYTE, i) != 0) {
        return true;
      }
    }
    return false;
  }
}
