// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Bpf;
import dev.outboard.abi.Errno;
import dev.outboard.syscalls.BpfCommands.Pointer;
import dev.outboard.syscalls.BpfObject.Kind;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntUnaryOperator;

/**
 * The host's half of one {@code bpf(2)}: from the program's attribute, and all that it points to,
 * to one {@link Call} or several, and back.
 *
 * <p>Descriptors become handles wherever the kernel will look at them: in the attribute, in the
 * instructions of a program, in the values of maps that hold files.
 *
 * <p>What a program says of per-CPU values is about the processors that <em>it</em> sees, the
 * host's; the device has {@link BpfObject#PROCESSORS}. So of the values that it puts into a map
 * those of the device's processors are taken, and those of others it gets as zeros.
 *
 * <p>A batch whose elements do not fit into one call is made in several. A log for which there is
 * not room enough is cut, see {@link #logCut}.
 *
 * <p>One thread; as long as the arena lives.
 */
public final class BpfHostMarshaller {
  private static final int LOAD_IMMEDIATE = 0x18;
  private static final int PSEUDO_MAP_FD = 1;
  private static final int PSEUDO_MAP_VALUE = 2;
  private static final int PSEUDO_MAP_IDX = 5;
  private static final int PSEUDO_MAP_IDX_VALUE = 6;

  /** The kernel takes no longer log: {@code UINT_MAX >> 2}. */
  private static final long LONGEST_LOG = 0x3fff_ffffL;

  /** One pointer that was followed: program's address, and where in the data. */
  private record Placed(Pointer pointer, long address, long at, long bytes, boolean values) {}

  private final ProgramMemory memory;
  private final int processors;
  private final int command;
  private final long address;
  private final long size;

  /** What the program asks for, and the same with what had to be changed. */
  private final MemorySegment asked;

  private final MemorySegment sent;
  private final List<Placed> placed = new ArrayList<>();
  private BpfObject object = BpfObject.NONE;

  private final MemorySegment info;
  private long infoAddress;
  private long infoAt;
  private long infoBytes;

  private boolean quiet;
  private boolean logCut;

  // Of a batch: elements of earlier calls, and of this one.
  private long done;
  private long piece;

  /**
   * @param arena owns what the object needs
   * @param memory the program's
   * @param processors of the host, as the program sees them
   * @param args the call's, as the program passed them
   */
  public BpfHostMarshaller(Arena arena, ProgramMemory memory, int processors, long[] args) {
    this.memory = memory;
    this.processors = processors;
    this.command = (int) args[0];
    this.address = args[1];
    this.size = args[2] & 0xffff_ffffL;
    this.asked = arena.allocate(BpfCommands.ATTRIBUTE_BYTES, 8);
    this.sent = arena.allocate(BpfCommands.ATTRIBUTE_BYTES, 8);
    this.info = arena.allocate(BpfCommands.INFO_BYTES, 8);
  }

  /**
   * Reads the attribute: {@code bpf_check_uarg_tail_zero()}.
   *
   * @param data memory for a moment, at least a page
   * @return 0, or what to answer
   */
  public long read(MemorySegment data) {
    if (size > BpfCommands.PAGE_BYTES) {
      return -Errno.E2BIG;
    }
    long error = memory.read(address, data, 0, size);
    if (error < 0) {
      return error;
    }
    if (BpfCommands.any(data, BpfCommands.ATTRIBUTE_BYTES, size)) {
      return -Errno.E2BIG;
    }
    MemorySegment.copy(data, 0, asked, 0, Math.min(size, BpfCommands.ATTRIBUTE_BYTES));
    return 0;
  }

  /** The descriptor of what the command is about; -1 if it is about none. */
  public int subject() {
    int at = BpfCommands.subject(command);
    return at < 0 ? -1 : asked.get(Wire.INT, at);
  }

  /** Whether the command is about an object. */
  public boolean hasSubject() {
    return BpfCommands.subject(command) >= 0;
  }

  /**
   * Fills {@code out} with the call, or with the next part of it.
   *
   * @param about what the command is about
   * @param subject its handle, -1 without one
   * @param files the handle of a descriptor of the program's, {@link BpfCommands#NO_FILE} if it is
   *     none of the device's
   * @return 0, or what to answer
   */
  public long encode(int number, BpfObject about, int subject, IntUnaryOperator files, Call out) {
    object = about;
    placed.clear();
    infoBytes = 0;
    MemorySegment d = out.data;
    out.start(number);
    out.args[BpfCommands.COMMAND] = command;
    out.args[BpfCommands.SIZE] = Math.min(size, BpfCommands.ATTRIBUTE_BYTES);
    out.args[BpfCommands.SUBJECT] = subject;
    MemorySegment.copy(asked, 0, sent, 0, BpfCommands.ATTRIBUTE_BYTES);
    long end = BpfCommands.OBJECT + BpfCommands.OBJECT_BYTES;
    long error = adjust(d.byteSize() - end);
    if (error < 0) {
      return error;
    }
    MemorySegment.copy(sent, 0, d, 0, BpfCommands.ATTRIBUTE_BYTES);
    d.asSlice(BpfCommands.OBJECT, BpfCommands.OBJECT_BYTES).fill((byte) 0);
    for (int at : BpfCommands.descriptors(command, sent)) {
      d.set(Wire.INT, at, files.applyAsInt(sent.get(Wire.INT, at)));
    }
    for (int at : BpfCommands.pointerFields(command)) {
      d.set(Wire.LONG, at, Call.NULL);
    }
    for (Pointer p : BpfCommands.pointers(command, sent, object)) {
      long to = sent.get(Wire.LONG, p.at());
      d.set(Wire.LONG, p.at(), Call.NULL);
      if (to == 0) {
        continue;
      }
      end = place(p, to, d, end);
      if (end < 0) {
        return end;
      }
    }
    if (command == BpfCommands.OBJ_GET_INFO_BY_FD) {
      end = placeInformation(d, end);
      if (end < 0) {
        return end;
      }
    }
    error = translate(d, files);
    out.toDevice = end;
    out.fromDevice = end;
    return error;
  }

  /** Changes what the device could not do as it was asked for. */
  private long adjust(long room) {
    if (command == BpfCommands.PROG_LOAD || command == BpfCommands.BTF_LOAD) {
      boolean program = command == BpfCommands.PROG_LOAD;
      int log = program ? BpfCommands.LOAD_LOG : BpfCommands.BTF_LOG;
      int bytes = program ? BpfCommands.LOAD_LOG_BYTES : BpfCommands.BTF_LOG_BYTES;
      if (quiet) {
        sent.set(Wire.LONG, log, 0);
        sent.set(Wire.INT, bytes, 0);
        sent.set(Wire.INT, program ? BpfCommands.LOAD_LOG_LEVEL : BpfCommands.BTF_LOG_LEVEL, 0);
      } else if (sent.get(Wire.LONG, log) != 0) {
        long wanted = BpfCommands.unsigned(sent, bytes);
        if (wanted > LONGEST_LOG) {
          return -Errno.EINVAL;
        }
        long left = room - Bpf.INSTRUCTION_BYTES;
        for (Pointer p : BpfCommands.pointers(command, sent, object)) {
          if (p.at() != log && sent.get(Wire.LONG, p.at()) != 0) {
            left -= Wire.align(p.bytes()) + 16;
          }
        }
        logCut = wanted > left - 16;
        if (logCut) {
          if (left < BpfCommands.LICENSE_BYTES) {
            return -Errno.E2BIG;
          }
          sent.set(Wire.INT, bytes, (int) (left - 16));
        }
      }
    } else if (command == BpfCommands.PROG_TEST_RUN) {
      if (sent.get(Wire.LONG, BpfCommands.TEST_OUT) != 0
          && sent.get(Wire.INT, BpfCommands.TEST_SIZE_OUT) == 0) {
        sent.set(Wire.INT, BpfCommands.TEST_SIZE_OUT, BpfCommands.TEST_BYTES);
      }
    } else if (BpfCommands.batch(command)) {
      long count = BpfCommands.unsigned(asked, BpfCommands.BATCH_COUNT) - done;
      long cursors = 2 * Wire.align(Math.max(Integer.BYTES, object.keyBytes()));
      long each = Math.max(1, (long) object.keyBytes() + object.valueSpan());
      piece = Math.min(count, (room - cursors - 64) / each);
      sent.set(Wire.INT, BpfCommands.BATCH_COUNT, (int) piece);
      advance(BpfCommands.BATCH_KEYS, done * object.keyBytes());
      advance(BpfCommands.BATCH_VALUES, done * programSpan());
      if (done > 0) {
        sent.set(Wire.LONG, BpfCommands.BATCH_IN, asked.get(Wire.LONG, BpfCommands.BATCH_OUT));
      }
    }
    return 0;
  }

  private void advance(int field, long bytes) {
    long from = sent.get(Wire.LONG, field);
    sent.set(Wire.LONG, field, from == 0 ? 0 : from + bytes);
  }

  /** How many bytes a value takes in the program's memory. */
  private long programSpan() {
    return object.perCpu()
        ? (long) processors * BpfObject.roundUp(object.valueBytes())
        : object.valueSpan();
  }

  private boolean values(Pointer p) {
    if (BpfCommands.batch(command)) {
      return p.at() == BpfCommands.BATCH_VALUES;
    }
    // The value of GET_NEXT_KEY is a key.
    return BpfCommands.subject(command) == 0
        && p.at() == BpfCommands.ELEMENT_VALUE
        && command != BpfCommands.MAP_GET_NEXT_KEY;
  }

  private long place(Pointer p, long to, MemorySegment d, long end) {
    long at = Wire.align(end);
    if (p.bytes() > d.byteSize() - at) {
      return -Errno.E2BIG;
    }
    Placed here = new Placed(p, to, at, p.bytes(), values(p));
    long error = fetch(here, d);
    if (error < 0) {
      if (p.in()) {
        return error;
      }
      // Whether the kernel gets as far as to write there is its business.
      d.asSlice(at, p.bytes()).fill((byte) 0);
    }
    d.set(Wire.LONG, p.at(), at);
    placed.add(here);
    return at + p.bytes();
  }

  private long fetch(Placed p, MemorySegment d) {
    if (command == BpfCommands.PROG_LOAD && p.pointer().at() == BpfCommands.LOAD_LICENSE) {
      d.asSlice(p.at(), p.bytes()).fill((byte) 0);
      long length = memory.readString(p.address(), d, p.at(), BpfCommands.LICENSE_BYTES - 1);
      return length == -Errno.ENAMETOOLONG ? 0 : length;
    }
    if (!p.values() || !object.perCpu()) {
      return memory.read(p.address(), d, p.at(), p.bytes());
    }
    int span = object.valueSpan();
    for (long i = 0; i < p.bytes() / span; i++) {
      long error = memory.read(p.address() + i * programSpan(), d, p.at() + i * span, span);
      if (error < 0) {
        return error;
      }
    }
    return 0;
  }

  private long placeInformation(MemorySegment d, long end) {
    long length = BpfCommands.unsigned(asked, BpfCommands.INFO_LENGTH);
    infoAddress = asked.get(Wire.LONG, BpfCommands.INFO);
    if (length > BpfCommands.PAGE_BYTES) {
      return -Errno.E2BIG;
    }
    if (infoAddress == 0) {
      d.set(Wire.LONG, BpfCommands.INFO, Call.NULL);
      return end;
    }
    infoAt = Wire.align(end);
    long error = memory.read(infoAddress, d, infoAt, length);
    if (error < 0) {
      return error;
    }
    if (BpfCommands.any(d, infoAt + BpfCommands.INFO_BYTES, infoAt + length)) {
      return -Errno.E2BIG;
    }
    infoBytes = Math.min(length, BpfCommands.INFO_BYTES);
    info.fill((byte) 0);
    MemorySegment.copy(d, infoAt, info, 0, infoBytes);
    d.set(Wire.INT, BpfCommands.INFO_LENGTH, (int) infoBytes);
    d.set(Wire.LONG, BpfCommands.INFO, infoAt);
    long at = infoAt + infoBytes;
    for (Pointer p : BpfCommands.infoPointers(object, info)) {
      if (p.at() + Long.BYTES > infoBytes) {
        continue;
      }
      long to = info.get(Wire.LONG, p.at());
      d.set(Wire.LONG, infoAt + p.at(), Call.NULL);
      if (to == 0) {
        continue;
      }
      at = Wire.align(at);
      if (p.bytes() > d.byteSize() - at) {
        return -Errno.E2BIG;
      }
      if (memory.read(to, d, at, p.bytes()) < 0) {
        d.asSlice(at, p.bytes()).fill((byte) 0);
      }
      placed.add(new Placed(p, to, at, p.bytes(), false));
      d.set(Wire.LONG, infoAt + p.at(), at);
      at += p.bytes();
    }
    return at;
  }

  /** Handles in the place of the descriptors in what pointers lead to. */
  private long translate(MemorySegment d, IntUnaryOperator files) {
    for (Placed p : placed) {
      if (command == BpfCommands.PROG_LOAD && p.pointer().at() == BpfCommands.LOAD_INSTRUCTIONS) {
        long error = instructions(d, p, files);
        if (error < 0) {
          return error;
        }
        d.set(Wire.LONG, BpfCommands.LOAD_FD_ARRAY, 0);
      }
      if (p.values() && BpfCommands.updates(command) && object.holdsFiles()) {
        int span = object.valueSpan();
        for (long i = 0; span >= Integer.BYTES && i < p.bytes() / span; i++) {
          long at = p.at() + i * span;
          d.set(Wire.INT, at, files.applyAsInt(d.get(Wire.INT, at)));
        }
      }
    }
    return 0;
  }

  /** An index into the array of descriptors becomes what it leads to: it means the same. */
  private long instructions(MemorySegment d, Placed p, IntUnaryOperator files) {
    long array = asked.get(Wire.LONG, BpfCommands.LOAD_FD_ARRAY);
    for (long at = p.at(); at < p.at() + p.bytes(); at += Bpf.INSTRUCTION_BYTES) {
      if (Byte.toUnsignedInt(d.get(Wire.BYTE, at)) != LOAD_IMMEDIATE) {
        continue;
      }
      int registers = Byte.toUnsignedInt(d.get(Wire.BYTE, at + 1));
      int source = registers >>> 4;
      int number = d.get(Wire.INT, at + 4);
      if ((source == PSEUDO_MAP_IDX || source == PSEUDO_MAP_IDX_VALUE) && array != 0) {
        // The attribute's tail is used as a place for one number, which then is none of its own.
        long index = Integer.toUnsignedLong(number);
        long error = memory.read(array + index * Integer.BYTES, sent, 0, Integer.BYTES);
        if (error < 0) {
          return error;
        }
        number = sent.get(Wire.INT, 0);
        source = source == PSEUDO_MAP_IDX ? PSEUDO_MAP_FD : PSEUDO_MAP_VALUE;
        d.set(Wire.BYTE, at + 1, (byte) ((registers & 0xf) | (source << 4)));
      }
      if (source == PSEUDO_MAP_FD || source == PSEUDO_MAP_VALUE) {
        d.set(Wire.INT, at + 4, files.applyAsInt(number));
      }
      at += Bpf.INSTRUCTION_BYTES; // its second half
    }
    return 0;
  }

  /**
   * Copies back what the call wrote.
   *
   * @param done the call, with its result
   * @return what to answer, if there is no more to do
   */
  public long decode(Call done) {
    long r = done.result;
    MemorySegment d = done.data;
    boolean tellsAnyhow =
        switch (command) {
          case BpfCommands.PROG_LOAD,
              BpfCommands.BTF_LOAD,
              BpfCommands.PROG_TEST_RUN,
              BpfCommands.PROG_QUERY,
              BpfCommands.MAP_LOOKUP_BATCH,
              BpfCommands.MAP_LOOKUP_AND_DELETE_BATCH ->
              true;
          default -> r >= 0;
        };
    long got =
        BpfCommands.batch(command)
            ? HostMarshaller.clamp(d.get(Wire.INT, BpfCommands.BATCH_COUNT), piece)
            : 0;
    for (Placed p : placed) {
      if (tellsAnyhow && p.pointer().out()) {
        long error = give(p, d, r, got);
        if (error < 0 && r >= 0) {
          return error;
        }
      }
    }
    if (infoBytes > 0 && (r >= 0 || (r == -Errno.EINVAL && object.kind() == Kind.PROGRAM))) {
      long error = giveInformation(d);
      if (error < 0) {
        return error;
      }
    }
    return results(d, r, got);
  }

  private long give(Placed p, MemorySegment d, long r, long got) {
    long bytes = p.bytes();
    if (command == BpfCommands.PROG_TEST_RUN) {
      bytes = Math.min(bytes, tested(p.pointer().at(), d, r));
    } else if (BpfCommands.batch(command) && p.pointer().at() >= BpfCommands.BATCH_KEYS) {
      bytes = got * (p.values() ? object.valueSpan() : object.keyBytes());
    }
    if (!p.values() || !object.perCpu()) {
      return bytes == 0 ? 0 : memory.write(p.address(), d, p.at(), bytes);
    }
    int span = object.valueSpan();
    for (long i = 0; i < bytes / span; i++) {
      long to = p.address() + i * programSpan();
      long error = memory.write(to, d, p.at() + i * span, span);
      // The device has no such processors: their values are zero.
      info.fill((byte) 0);
      for (long at = span; at < programSpan() && error == 0; at += info.byteSize()) {
        error = memory.write(to + at, info, 0, Math.min(info.byteSize(), programSpan() - at));
      }
      if (error < 0) {
        return error;
      }
    }
    return 0;
  }

  /**
   * How much a run of a program had to say: what a kernel does not write, the caller need not have
   * room for. {@code net/bpf/test_run.c}, {@code bpf_test_finish} and {@code bpf_ctx_finish}.
   */
  private long tested(int pointer, MemorySegment d, long r) {
    long packet = BpfCommands.unsigned(d, BpfCommands.TEST_SIZE_OUT);
    boolean ofPacket = pointer == BpfCommands.TEST_OUT;
    // Where the packet has no room, the context is not told.
    boolean cut =
        r == -Errno.ENOSPC
            && (ofPacket || packet <= BpfCommands.unsigned(sent, BpfCommands.TEST_SIZE_OUT));
    return r < 0 && !cut
        ? 0
        : ofPacket ? packet : BpfCommands.unsigned(d, BpfCommands.TEST_CONTEXT_SIZE_OUT);
  }

  private long giveInformation(MemorySegment d) {
    long length = HostMarshaller.clamp(d.get(Wire.INT, BpfCommands.INFO_LENGTH), infoBytes);
    for (Pointer p : BpfCommands.infoPointers(object, info)) {
      if (p.at() + Long.BYTES <= infoBytes) {
        d.set(Wire.LONG, infoAt + p.at(), info.get(Wire.LONG, p.at()));
      }
    }
    return length == 0 ? 0 : memory.write(infoAddress, d, infoAt, length);
  }

  private long results(MemorySegment d, long r, long got) {
    for (int at : BpfCommands.results(command)) {
      int value = d.get(Wire.INT, at);
      boolean batch = BpfCommands.batch(command);
      boolean written =
          switch (at) {
            case BpfCommands.LOAD_LOG_TRUE_BYTES -> size >= at + Integer.BYTES && !quiet;
            case BpfCommands.BTF_LOG_TRUE_BYTES ->
                command != BpfCommands.BTF_LOAD || (size >= at + Integer.BYTES && !quiet);
            default -> true;
          };
      if (batch) {
        // Once it has been written, what was asked for is not what the program has there.
        value = (int) (done + got);
        written &= done > 0 || value != asked.get(Wire.INT, at);
      } else {
        written &= value != sent.get(Wire.INT, at);
      }
      if (written) {
        // The tail of the information is a place for it: that has been given back.
        info.set(Wire.INT, 0, value);
        long error = memory.write(address + at, info, 0, Integer.BYTES);
        if (error < 0 && r >= 0) {
          return error;
        }
      }
    }
    return r;
  }

  /**
   * After {@link #decode}: whether there is more of a batch to be done, by another {@link #encode}.
   *
   * @param result the call's
   */
  public boolean goesOn(Call call, long result) {
    if (!BpfCommands.batch(command) || result < 0) {
      return false;
    }
    long got = HostMarshaller.clamp(call.data.get(Wire.INT, BpfCommands.BATCH_COUNT), piece);
    done += got;
    return got > 0
        && got == piece
        && done < BpfCommands.unsigned(asked, BpfCommands.BATCH_COUNT)
        && (done == got || asked.get(Wire.LONG, BpfCommands.BATCH_OUT) != 0 || !looks());
  }

  private boolean looks() {
    return command == BpfCommands.MAP_LOOKUP_BATCH
        || command == BpfCommands.MAP_LOOKUP_AND_DELETE_BATCH;
  }

  /**
   * What a batch comes to whose last part came to {@code result}: a part may have too little room
   * for the next bucket of a hash, which says so only if it is the first.
   */
  public long whole(long result) {
    return done > 0 && result == -Errno.ENOSPC ? 0 : result;
  }

  /**
   * Whether the log had to be cut. If the call then failed with ENOSPC, the kernel has judged the
   * log, which has its end in the program's memory, and nothing else: {@link #silence} and once
   * more.
   */
  public boolean logCut() {
    return logCut && !quiet;
  }

  /** From now on without a log. */
  public void silence() {
    quiet = true;
  }

  /** The object that the call has made. */
  public static BpfObject made(Call done) {
    MemorySegment d = done.data;
    int kind = d.get(Wire.INT, BpfCommands.OBJECT);
    BpfObject object =
        new BpfObject(
            Kind.of(kind),
            d.get(Wire.INT, BpfCommands.OBJECT + 4),
            d.get(Wire.INT, BpfCommands.OBJECT + 8),
            d.get(Wire.INT, BpfCommands.OBJECT + 12));
    return object.bounded() ? object : BpfObject.NONE;
  }
}
