// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static dev.outboard.abi.Errno.EFAULT;
import static dev.outboard.abi.Errno.EINVAL;
import static dev.outboard.abi.Errno.EMSGSIZE;
import static dev.outboard.abi.Errno.ENOPROTOOPT;
import static dev.outboard.abi.Errno.ENOTTY;

import dev.outboard.abi.MessageHeader;
import dev.outboard.syscalls.Space.Fault;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/**
 * What Linux's entry code does with user memory, call by call, as net/socket.c, fs/read_write.c and
 * net/core/dev_ioctl.c have it. Results and bytes come from a random generator, so that the same
 * call can be made twice: natively with the program's memory, and through both marshallers with the
 * device's. Both must read the same and leave the program's memory the same.
 */
final class ModelKernel {
  private final Space space;
  private final Random random;
  private final List<String> seen;

  /**
   * @param space the user memory
   * @param random where results come from
   * @param seen gets all that the kernel read
   */
  ModelKernel(Space space, Random random, List<String> seen) {
    this.space = space;
    this.random = random;
    this.seen = seen;
  }

  /** Makes one call. */
  long call(Row r, long[] a) {
    try {
      return switch (r.name()) {
        case "read", "pread64" -> receive(a[1], a[2]);
        case "write", "pwrite64" -> send(a[1], a[2]);
        case "readv", "preadv", "preadv2" -> scatter(a[1], a[2], vector(a[1], a[2], EINVAL));
        case "writev", "pwritev", "pwritev2" -> gather(a[1], a[2], vector(a[1], a[2], EINVAL));
        case "sendto" -> sendTo(a);
        case "recvfrom" -> receiveFrom(a);
        case "sendmsg" -> sendMessage(a[1]);
        case "recvmsg" -> receiveMessage(a[1]);
        case "bind", "connect" -> {
          see(address(a[1], (int) a[2]));
          yield 0;
        }
        case "accept", "accept4" -> {
          if (a[1] != 0) {
            toUser(a[1], a[2]);
          }
          yield 17;
        }
        case "getsockname", "getpeername" -> {
          toUser(a[1], a[2]);
          yield 0;
        }
        case "setsockopt" -> setOption(a);
        case "getsockopt" -> getOption(a);
        case "ioctl" -> request(a);
        case "sendfile" -> sendFile(a);
        case "listen", "shutdown", "socket", "fcntl", "close" -> {
          for (int i = 0; i < r.argCount(); i++) {
            seen.add(Integer.toString((int) a[i]));
          }
          yield random.nextInt(100);
        }
        default -> plain(r, a);
      };
    } catch (Fault e) {
      return -EFAULT;
    } catch (Refusal e) {
      return -e.errno;
    }
  }

  /** A call that reads and writes what its arguments say, one after the other. */
  private long plain(Row r, long[] a) throws Fault {
    long result = r.result() == ResultKind.ZERO ? 0 : random.nextInt(100);
    for (int i = 0; i < r.argCount(); i++) {
      Arg arg = r.arg(i);
      boolean transfer = r.result() == ResultKind.BYTES && arg.lengthArg() >= 0;
      long bytes = arg.lengthArg() < 0 ? arg.bytes() : a[arg.lengthArg()] * arg.bytes();
      switch (arg.kind()) {
        case SCALAR, FLAGS -> {
          seen.add(Long.toString(a[i]));
          boolean asks = arg.name().equals("count") || arg.name().equals("len");
          if (asks && r.result() == ResultKind.BYTES) {
            result = Math.clamp(result, 0, Math.max(0, a[i]));
          }
        }
        case FD -> {}
        case PATH, STRING -> {
          boolean path = arg.kind() == Arg.Kind.PATH;
          if (a[i] != 0) {
            see(string(a[i]));
          } else if (path && (i == 0 || r.arg(i - 1).kind() != Arg.Kind.FD)) {
            throw new Fault();
          }
        }
        case IN, INOUT -> {
          if (a[i] != 0) {
            see(space.get(a[i], bytes));
          }
          if (a[i] != 0 && arg.kind() == Arg.Kind.INOUT) {
            space.put(a[i], noise((int) bytes));
          }
        }
        case OUT -> {
          if (transfer) {
            result = receive(a[i], bytes);
          } else if (a[i] != 0) {
            space.put(a[i], noise((int) bytes));
          }
        }
        default -> throw new AssertionError("no model of " + r);
      }
    }
    return result;
  }

  private byte[] string(long address) throws Fault {
    int length = 0;
    while (space.get(address + length, 1)[0] != 0) {
      length++;
    }
    return space.get(address, length);
  }

  private static final class Refusal extends RuntimeException {
    private static final long serialVersionUID = 1;
    private final int errno;

    Refusal(int errno) {
      this.errno = errno;
    }
  }

  private void see(byte[] bytes) {
    seen.add(bytes.length + ":" + Arrays.hashCode(bytes));
  }

  private byte[] noise(int n) {
    byte[] bytes = new byte[n];
    random.nextBytes(bytes);
    return bytes;
  }

  private long receive(long address, long length) throws Fault {
    byte[] bytes = noise(random.nextInt((int) length + 1));
    space.put(address, bytes);
    return bytes.length;
  }

  private long send(long address, long length) throws Fault {
    see(space.get(address, length));
    return random.nextInt((int) length + 1);
  }

  /** import_iovec(): the sum of the lengths. */
  private long vector(long iov, long count, int tooMany) throws Fault {
    if (count < 0 || count > 1024) {
      throw new Refusal(tooMany);
    }
    long sum = 0;
    for (int i = 0; i < count; i++) {
      space.quad(iov + 16L * i);
      sum += space.quad(iov + 16L * i + 8);
    }
    return sum;
  }

  private long scatter(long iov, long count, long length) throws Fault {
    byte[] bytes = noise(random.nextInt((int) length + 1));
    int at = 0;
    for (int i = 0; i < count && at < bytes.length; i++) {
      int n = (int) Math.min(space.quad(iov + 16L * i + 8), bytes.length - at);
      space.put(space.quad(iov + 16L * i), Arrays.copyOfRange(bytes, at, at + n));
      at += n;
    }
    return bytes.length;
  }

  private long gather(long iov, long count, long length) throws Fault {
    byte[] whole = new byte[(int) length];
    int at = 0;
    for (int i = 0; i < count; i++) {
      byte[] part = space.get(space.quad(iov + 16L * i), space.quad(iov + 16L * i + 8));
      System.arraycopy(part, 0, whole, at, part.length);
      at += part.length;
    }
    see(whole);
    return random.nextInt((int) length + 1);
  }

  /** move_addr_to_kernel(). */
  private byte[] address(long address, int length) throws Fault {
    if (length < 0 || length > 128) {
      throw new Refusal(EINVAL);
    }
    return length == 0 ? new byte[0] : space.get(address, length);
  }

  /** move_addr_to_user(). */
  private void toUser(long address, long lengthAddress) throws Fault {
    byte[] actual = noise(random.nextInt(129));
    int length = Math.min(space.word(lengthAddress), actual.length);
    if (length < 0) {
      throw new Refusal(EINVAL);
    }
    space.put(address, Arrays.copyOf(actual, length));
    space.putWord(lengthAddress, actual.length);
  }

  private long sendTo(long[] a) throws Fault {
    see(a[4] == 0 ? new byte[0] : address(a[4], (int) a[5]));
    seen.add(Integer.toString((int) a[3]));
    return send(a[1], a[2]);
  }

  private long receiveFrom(long[] a) throws Fault {
    seen.add(Integer.toString((int) a[3]));
    long n = receive(a[1], a[2]);
    if (a[4] != 0) {
      toUser(a[4], a[5]);
    }
    return n;
  }

  private long sendMessage(long message) throws Fault {
    byte[] header = space.get(message, MessageHeader.BYTES);
    long name = Space.view(header).getLong(MessageHeader.NAME);
    int nameBytes = name == 0 ? 0 : Space.view(header).getInt(MessageHeader.NAME_BYTES);
    if (nameBytes < 0) {
      throw new Refusal(EINVAL);
    }
    see(address(name, Math.min(nameBytes, 128)));
    long iov = Space.view(header).getLong(MessageHeader.IOV);
    long count = Space.view(header).getLong(MessageHeader.IOV_COUNT);
    long length = vector(iov, count, EMSGSIZE);
    see(
        space.get(
            Space.view(header).getLong(MessageHeader.CONTROL),
            Space.view(header).getLong(MessageHeader.CONTROL_BYTES)));
    return gather(iov, count, length);
  }

  private long receiveMessage(long message) throws Fault {
    byte[] header = space.get(message, MessageHeader.BYTES);
    long name = Space.view(header).getLong(MessageHeader.NAME);
    if (name != 0 && Space.view(header).getInt(MessageHeader.NAME_BYTES) < 0) {
      throw new Refusal(EINVAL);
    }
    long iov = Space.view(header).getLong(MessageHeader.IOV);
    long count = Space.view(header).getLong(MessageHeader.IOV_COUNT);
    long result = scatter(iov, count, vector(iov, count, EMSGSIZE));
    long control = Space.view(header).getLong(MessageHeader.CONTROL);
    long room = control == 0 ? 0 : Space.view(header).getLong(MessageHeader.CONTROL_BYTES);
    byte[] messages = noise(random.nextInt((int) room + 1));
    long written = messages.length;
    try {
      space.put(control, messages);
    } catch (Fault e) {
      written = 0; // put_cmsg() leaves out what it cannot write
    }
    if (name != 0) {
      toUser(name, message + MessageHeader.NAME_BYTES);
    }
    space.putWord(message + MessageHeader.FLAGS, random.nextInt());
    space.putQuad(message + MessageHeader.CONTROL_BYTES, written);
    return result;
  }

  private long setOption(long[] a) throws Fault {
    int length = (int) a[4];
    if (length < 0) {
      return -EINVAL;
    }
    SocketOptions.Option o = SocketOptions.find((int) a[1], (int) a[2]);
    if (o == null) {
      return -ENOPROTOOPT;
    }
    switch (o.form()) {
      case HOOK, REFUSED -> {
        return -o.errno();
      }
      case DESCRIPTOR -> {
        return -ENOPROTOOPT;
      }
      case PROGRAM -> {
        return length == 4 ? 0 : -EINVAL;
      }
      case FILTER -> {
        if (length != 16) {
          return -EINVAL;
        }
        byte[] program = space.get(a[3], 16);
        int instructions = Short.toUnsignedInt(Space.view(program).getShort(0));
        if (instructions > 4096) {
          return -EINVAL;
        }
        see(space.get(Space.view(program).getLong(8), instructions * 8L));
      }
      case INTEGER, STRUCTURE, VARIABLE -> {
        int read = Math.min(length, o.bytes());
        see(a[3] == 0 ? new byte[0] : space.get(a[3], read));
        seen.add(length > o.bytes() ? "too long" : Integer.toString(length));
        if (o.writes() && a[3] != 0) {
          space.put(a[3], noise(Math.min(read, 4)));
        }
      }
    }
    return 0;
  }

  private long getOption(long[] a) throws Fault {
    int room = space.word(a[4]);
    if (room < 0) {
      return -EINVAL;
    }
    SocketOptions.Option o = SocketOptions.find((int) a[1], (int) a[2]);
    if (o == null) {
      return -ENOPROTOOPT;
    }
    if (!o.crosses()) {
      return -o.errno();
    }
    if (o.form() == SocketOptions.Form.PROGRAM) {
      return -ENOPROTOOPT;
    }
    if (o.reads() && room > 0) {
      see(space.get(a[3], Math.min(room, o.bytes())));
    }
    int actual = random.nextInt(o.bytes() + 1);
    int unit = o.form() == SocketOptions.Form.FILTER ? 8 : 1;
    byte[] value = noise(Math.min(room, actual) * unit);
    space.put(a[3], value);
    space.putWord(a[4], actual);
    return 0;
  }

  private long sendFile(long[] a) throws Fault {
    if (a[2] != 0) {
      see(space.get(a[2], 8));
      space.put(a[2], noise(8));
    }
    return random.nextInt(Math.clamp(a[3], 0, 999) + 1);
  }

  private long request(long[] a) throws Fault {
    IoctlRequests.Request q = IoctlRequests.find((int) a[1]);
    if (q == null) {
      return -ENOTTY;
    }
    switch (q.form()) {
      case REFUSED -> {
        return -q.errno();
      }
      case VALUE -> seen.add(Long.toString(a[2]));
      case IN -> see(space.get(a[2], q.bytes()));
      case OUT -> space.put(a[2], noise(q.bytes()));
      case INOUT -> {
        see(space.get(a[2], q.bytes()));
        space.put(a[2], noise(q.bytes()));
      }
      case IFCONF -> {
        byte[] conf = space.get(a[2], 16);
        long buffer = Space.view(conf).getLong(8);
        int room = Math.max(0, Space.view(conf).getInt(0));
        int n = buffer == 0 ? 400 : Math.min(room, 40 * random.nextInt(10));
        if (buffer != 0) {
          space.put(buffer, noise(n));
        }
        space.putWord(a[2], n);
      }
      case ETHTOOL -> ethtool(a[2]);
      case HWTSTAMP -> {
        byte[] ifreq = space.get(a[2], 40);
        see(Arrays.copyOf(ifreq, 16));
        see(space.get(Space.view(ifreq).getLong(16), 12));
        space.put(Space.view(ifreq).getLong(16), noise(12));
      }
      case FIEMAP -> {
        byte[] head = space.get(a[2], 32);
        int count = Space.view(head).getInt(24);
        see(Arrays.copyOf(head, 20));
        int mapped = random.nextInt(count + 1);
        byte[] extents = noise(56 * mapped);
        space.put(a[2] + 32, extents);
        space.putWord(a[2] + 16, random.nextInt());
        space.putWord(a[2] + 20, mapped);
      }
      case DESCRIPTOR -> {
        if (q.bytes() > 0) {
          see(Arrays.copyOfRange(space.get(a[2], q.bytes()), 8, q.bytes()));
        }
      }
      case ROUTE -> {
        byte[] route = space.get(a[2], 120);
        see(Arrays.copyOf(route, 88));
        see(Arrays.copyOfRange(route, 96, 120));
        long device = Space.view(route).getLong(88);
        see(device == 0 ? new byte[0] : space.get(device, 15));
      }
    }
    return 0;
  }

  private void ethtool(long ifreq) throws Fault {
    byte[] head = space.get(ifreq, 40);
    see(Arrays.copyOf(head, 16));
    long at = Space.view(head).getLong(16);
    int command = space.word(at);
    switch (command) {
      case 0x03 -> { // GDRVINFO
        see(space.get(at, 196));
        space.put(at, noise(196));
      }
      case 0x08 -> see(space.get(at, 8)); // SMSGLVL
      case 0x20 -> { // GPERMADDR
        int size = space.word(at + 4);
        see(space.get(at, 8));
        space.put(at + 8, noise(Math.min(size, 6)));
      }
      case 0x4c -> { // GLINKSETTINGS
        byte[] base = space.get(at, 48);
        see(base);
        int words = base[15];
        space.put(at, noise(15));
        space.put(at + 16, noise(words == 4 ? 32 + 3 * 4 * 4 : 32));
      }
      default -> throw new AssertionError("no model of ethtool " + command);
    }
  }
}
