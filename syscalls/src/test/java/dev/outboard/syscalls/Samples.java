// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Fcntl;
import dev.outboard.abi.MessageHeader;
import dev.outboard.abi.Socket;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** Makes up calls of a program: arguments, and in its memory what they point to. */
final class Samples {
  /** A range of the program's memory that a call may write. */
  record Range(long from, long bytes) {}

  /** No memory is there. */
  static final long BAD = 0x10;

  private final FakeProgram program;
  private final Random random;

  /** What the call made last may write. */
  final List<Range> outputs = new ArrayList<>();

  Samples(FakeProgram program, Random random) {
    this.program = program;
    this.random = random;
  }

  /** A call of {@code r}; some pointers are null or bad if {@code faults}. */
  long[] call(Row r, boolean faults) {
    outputs.clear();
    long[] a = new long[6];
    for (int i = 0; i < r.argCount(); i++) {
      a[i] = random.nextInt(1 << 20); // lengths follow below
    }
    for (int i = 0; i < r.argCount(); i++) {
      fill(r, i, a, faults);
    }
    switch (r.name()) {
      case "socket" -> {
        a[0] = Socket.AF_INET;
        a[2] = 0;
      }
      case "fcntl" -> a[1] = random.nextBoolean() ? Fcntl.F_GETFL : Fcntl.F_SETFL;
      case "setsockopt", "getsockopt" -> {
        List<SocketOptions.Option> options = SocketOptions.rows();
        option(r, options.get(random.nextInt(options.size())), a, faults);
      }
      case "ioctl" -> {
        List<IoctlRequests.Request> requests = IoctlRequests.rows();
        IoctlRequests.Request q = requests.get(random.nextInt(requests.size()));
        while (random.nextBoolean() && q.form() == IoctlRequests.Form.INOUT) {
          q = requests.get(random.nextInt(requests.size())); // most lines are of that form
        }
        request(q, a, faults);
      }
      default -> {}
    }
    return a;
  }

  private long out(long bytes) {
    long address = program.allocate(bytes);
    outputs.add(new Range(address, bytes));
    return address;
  }

  /** {@code address}, or now and then one that faults. */
  private long maybe(long address, boolean faults) {
    return faults && random.nextInt(8) == 0 ? (random.nextBoolean() ? 0 : BAD) : address;
  }

  private void fill(Row r, int i, long[] a, boolean faults) {
    Arg arg = r.arg(i);
    int n = random.nextInt(8) == 0 ? 0 : random.nextInt(3000);
    switch (arg.kind()) {
      case SCALAR, NEW_FD, FCNTL, IOCTL, OPTION_IN, OPTION_OUT -> {}
      case FD -> a[i] = random.nextInt(1000);
      case FLAGS -> a[i] = random.nextInt() & ~Socket.MSG_TRUNC;
      case IN -> {
        a[i] = maybe(program.allocate(arg.lengthArg() < 0 ? arg.bytes() : n), faults);
        length(arg, a, n);
      }
      case OUT, INOUT -> {
        a[i] = maybe(out(arg.lengthArg() < 0 ? arg.bytes() : n), faults);
        length(arg, a, n);
      }
      case IOVEC_IN, IOVEC_OUT -> {
        int count = random.nextInt(5);
        a[i] = maybe(vector(count, arg.kind() == Arg.Kind.IOVEC_OUT, faults), faults);
        length(arg, a, count);
      }
      case SOCKADDR_IN -> {
        boolean wrong = faults && random.nextInt(8) == 0;
        int length = wrong ? 129 - 2 * random.nextInt(2) * 65 : random.nextInt(129);
        a[i] = random.nextInt(5) == 0 ? 0 : maybe(program.allocate(128), faults);
        length(arg, a, length);
      }
      case SOCKADDR_OUT -> a[i] = random.nextInt(5) == 0 ? 0 : maybe(out(128), faults);
      case SOCKLEN -> {
        a[i] = out(4);
        program.put(a[i], faults && random.nextInt(8) == 0 ? -1 : random.nextInt(150));
        a[i] = maybe(a[i], faults);
      }
      case MSGHDR_IN -> a[i] = maybe(message(false, faults), faults);
      case MSGHDR_OUT -> a[i] = maybe(message(true, faults), faults);
      case PATH -> a[i] = maybe(program.string("/proc/sys/net/" + "x".repeat(n)), faults);
      case STRING -> a[i] = maybe(program.string("y".repeat(n)), faults);
      case POINTER -> throw new AssertionError(arg + " of " + r);
    }
  }

  private static void length(Arg arg, long[] a, long n) {
    if (arg.lengthArg() >= 0) {
      a[arg.lengthArg()] = n;
    }
  }

  private long vector(int count, boolean output, boolean faults) {
    long iov = program.allocate(16L * count);
    for (int i = 0; i < count; i++) {
      int n = random.nextInt(700);
      program.put(iov + 16L * i, maybe(output ? out(n) : program.allocate(n), faults));
      program.put(iov + 16L * i + 8, (long) n);
    }
    return iov;
  }

  private long message(boolean output, boolean faults) {
    long m = output ? out(MessageHeader.BYTES) : program.allocate(MessageHeader.BYTES);
    int vectors = random.nextInt(5);
    int control = random.nextInt(3) == 0 ? 0 : 16 + random.nextInt(300);
    long name = output ? out(128) : program.allocate(150);
    long messages = output ? out(control) : program.allocate(control);
    if (!output && control > 0) {
      // One message of a harmless kind that fills the room.
      program.put(messages + MessageHeader.CMSG_LEN, (long) control);
      program.put(messages + MessageHeader.CMSG_LEVEL, 0);
      program.put(messages + MessageHeader.CMSG_TYPE, 8);
    }
    boolean wrong = faults && random.nextInt(8) == 0;
    program.put(m + MessageHeader.NAME, random.nextInt(4) == 0 ? 0L : maybe(name, faults));
    program.put(m + MessageHeader.NAME_BYTES, wrong ? -5 : random.nextInt(150));
    program.put(m + MessageHeader.IOV, maybe(vector(vectors, output, faults), faults));
    program.put(m + MessageHeader.IOV_COUNT, wrong ? 2000L : vectors);
    program.put(m + MessageHeader.CONTROL, maybe(messages, faults));
    program.put(m + MessageHeader.CONTROL_BYTES, (long) control);
    return m;
  }

  /** A call of getsockopt or setsockopt with that option. */
  void option(Row r, SocketOptions.Option o, long[] a, boolean faults) {
    outputs.clear();
    a[1] = o.level();
    a[2] = o.name();
    int n = o.bytes();
    if (random.nextInt(3) == 0) {
      n = random.nextInt(Math.min(o.bytes(), 2000) + 6);
    }
    if (r.name().equals("setsockopt")) {
      if (o.form() == SocketOptions.Form.FILTER) {
        int instructions = random.nextInt(20);
        a[3] = program.allocate(16);
        program.put(a[3], (long) instructions);
        program.put(a[3] + 8, maybe(program.allocate(8L * instructions), faults));
        a[4] = 16;
      } else {
        a[3] = o.writes() ? out(n) : program.allocate(n);
        a[4] = n;
      }
    } else {
      int unit = o.form() == SocketOptions.Form.FILTER ? 8 : 1;
      a[3] = out((long) n * unit);
      a[4] = out(4);
      program.put(a[4], n);
      a[4] = maybe(a[4], faults);
    }
    a[3] = maybe(a[3], faults);
  }

  /** A call of ioctl with that request. */
  void request(IoctlRequests.Request q, long[] a, boolean faults) {
    outputs.clear();
    a[1] = q.number();
    a[2] = maybe(out(q.bytes()), faults);
    long at = a[2];
    if (at < FakeProgram.BASE) {
      return;
    }
    switch (q.form()) {
      case VALUE, IN, OUT, INOUT, DESCRIPTOR, REFUSED -> {}
      case FIEMAP -> {
        // As many as cross; that a longer array gets no more is tested by itself.
        int count = random.nextInt(IoctlRequests.FIEMAP_EXTENTS + 1);
        long map = out(32 + 56L * count);
        program.put(map + 24, count);
        a[2] = maybe(map, faults);
      }
      case IFCONF -> {
        int room = random.nextInt(600);
        program.put(at, room);
        program.put(at + 8, random.nextInt(4) == 0 ? 0L : maybe(out(room), faults));
      }
      case HWTSTAMP -> program.put(at + 16, maybe(out(12), faults));
      case ROUTE ->
          program.put(at + 88, random.nextInt(4) == 0 ? 0L : maybe(program.allocate(15), faults));
      case ETHTOOL -> {
        int[] commands = {0x03, 0x08, 0x20, 0x4c};
        int command = commands[random.nextInt(commands.length)];
        long c = out(200);
        program.put(c, command);
        if (command == 0x20) {
          program.put(c + 4, random.nextInt(32));
        }
        if (command == 0x4c) {
          program.bytes.set(Wire.BYTE, c - FakeProgram.BASE + 15, (byte) (random.nextInt(6) - 1));
        }
        program.put(at + 16, maybe(c, faults));
      }
    }
  }
}
