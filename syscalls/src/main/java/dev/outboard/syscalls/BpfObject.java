// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

/**
 * What is known of an object of the device's BPF: what decides how much memory a command about it
 * reads and writes. None of it changes while the object lives.
 *
 * @param kind what it is
 * @param type a map's or a program's type, as the kernel numbers them
 * @param keyBytes of a map
 * @param valueBytes of a map, as it was created: what one processor has of it
 */
public record BpfObject(Kind kind, int type, int keyBytes, int valueBytes) {
  /** What an object is. */
  public enum Kind {
    /** Not an object of BPF. */
    NONE(0),
    MAP(1),
    PROGRAM(2),
    BTF(3),
    LINK(4);

    private final int number;

    Kind(int number) {
      this.number = number;
    }

    /** How it is told. */
    int number() {
      return number;
    }

    /** What {@link #number} says; NONE for a number that says nothing. */
    static Kind of(int number) {
      for (Kind kind : values()) {
        if (kind.number == number) {
          return kind;
        }
      }
      return NONE;
    }
  }

  /** What a descriptor of anything else stands for. */
  public static final BpfObject NONE = new BpfObject(Kind.NONE, 0, 0, 0);

  /** No key and no value is longer, so that a few of them fit into a call. */
  public static final int MAX_ELEMENT_BYTES = 32 * 1024;

  /** The processors of the library kernel, by each of which a per-CPU map has a value. */
  public static final int PROCESSORS = 1;

  /** Whether each processor has a value of its own. */
  public boolean perCpu() {
    return kind == Kind.MAP
        && (type == BpfCommands.PERCPU_HASH
            || type == BpfCommands.PERCPU_ARRAY
            || type == BpfCommands.LRU_PERCPU_HASH);
  }

  /** Whether what is put into the map is the descriptor of a file, which the map then holds. */
  public boolean holdsFiles() {
    return kind == Kind.MAP
        && (type == BpfCommands.PROG_ARRAY
            || type == BpfCommands.ARRAY_OF_MAPS
            || type == BpfCommands.HASH_OF_MAPS
            || type == BpfCommands.XSKMAP
            || type == BpfCommands.REUSEPORT_SOCKARRAY);
  }

  /** How many bytes a value takes in a command: {@code bpf_map_value_size()}. */
  public int valueSpan() {
    // What maps hold of files they show as numbers of four bytes, but for sockets' cookies.
    if (holdsFiles() && type != BpfCommands.REUSEPORT_SOCKARRAY) {
      return Integer.BYTES;
    }
    return perCpu() ? PROCESSORS * roundUp(valueBytes) : valueBytes;
  }

  /** Whether its sizes are such that a command about it fits into a call. */
  boolean bounded() {
    return keyBytes >= 0
        && keyBytes <= MAX_ELEMENT_BYTES
        && valueBytes >= 0
        && valueBytes <= MAX_ELEMENT_BYTES;
  }

  /** As the kernel lays per-CPU values side by side. */
  public static int roundUp(int bytes) {
    return (bytes + 7) & ~7;
  }
}
