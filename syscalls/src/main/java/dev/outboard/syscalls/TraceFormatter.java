// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.MessageHeader;
import dev.outboard.abi.Socket;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * Calls as text in strace's style, from the table: {@code sendto(5, "GET / HTTP/1.1\r\n"..., 74,
 * MSG_NOSIGNAL, NULL, 0) = 74}.
 *
 * <p>Formats a call that is complete, so that what it wrote can be shown. What cannot be read from
 * the program is shown as its address. An instance has memory of its own and one user at a time.
 */
public final class TraceFormatter {
  /** Longest piece of a buffer that is shown, as strace's default. */
  private static final int SHOWN_BYTES = 32;

  private static final int SHOWN_ELEMENTS = 8;
  private static final int SCRATCH_BYTES = 4096;

  private static final ValueLayout.OfShort NETWORK_SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);

  private final MemorySegment scratch = Arena.ofAuto().allocate(SCRATCH_BYTES, 16);

  /** An instance for one user. */
  public TraceFormatter() {}

  /**
   * One line without an end of line.
   *
   * @param args the six arguments as the program passed them
   * @param result what the program was answered: a result or {@code -errno}
   */
  public String format(Row r, long[] args, ProgramMemory m, long result) {
    StringBuilder s = new StringBuilder(128);
    call(s, r, args, m, result);
    s.append(" = ");
    result(s, r, result);
    return s.toString();
  }

  /** As {@link #format}, for a call whose result is not known: one that was continued. */
  public String formatContinued(Row r, long[] args, ProgramMemory m) {
    StringBuilder s = new StringBuilder(128);
    call(s, r, args, m, Long.MIN_VALUE);
    return s.append(" = ? (host)").toString();
  }

  private void call(StringBuilder s, Row r, long[] args, ProgramMemory m, long result) {
    s.append(r.name()).append('(');
    for (int i = 0; i < r.argCount(); i++) {
      s.append(i == 0 ? "" : ", ");
      argument(s, r, i, args, m, result);
    }
    s.append(')');
  }

  private static void result(StringBuilder s, Row r, long result) {
    if (result < 0 && result > -4096) {
      int errno = (int) -result;
      s.append(errno >= Errno.ERESTARTSYS ? "? " : "-1 ").append(Errno.name(errno));
    } else if (r.result() == ResultKind.ADDRESS) {
      hex(s, result);
    } else {
      s.append(result);
    }
  }

  private void argument(StringBuilder s, Row r, int i, long[] a, ProgramMemory m, long result) {
    Arg arg = r.arg(i);
    long value = a[i];
    boolean done = result >= 0;
    if (arg.kind().pointer() && value == 0) {
      s.append("NULL");
      return;
    }
    switch (arg.kind()) {
      case FD ->
          s.append((int) value == Fcntl.AT_FDCWD ? "AT_FDCWD" : Integer.toString((int) value));
      case NEW_FD -> s.append((int) value);
      case SCALAR -> number(s, value);
      case FLAGS -> flags(s, arg.set(), a, i);
      case PATH, STRING -> path(s, value, m);
      case POINTER -> hex(s, value);
      case IN -> memory(s, arg, a, value, length(arg, a), m);
      case INOUT -> memory(s, arg, a, value, length(arg, a), m);
      case OUT -> {
        if (done) {
          long length = length(arg, a);
          boolean counted = r.result() == ResultKind.BYTES || r.result() == ResultKind.COUNT;
          long unit = Math.max(1, arg.bytes());
          memory(s, arg, a, value, counted ? Math.min(length, result * unit) : length, m);
        } else {
          hex(s, value);
        }
      }
      case IOVEC_IN -> vector(s, value, a[arg.lengthArg()], done ? result : SHOWN_BYTES, m);
      case IOVEC_OUT -> vector(s, value, a[arg.lengthArg()], done ? result : 0, m);
      case MSGHDR_IN -> message(s, value, done ? result : SHOWN_BYTES, m);
      case MSGHDR_OUT -> {
        if (done) {
          message(s, value, result, m);
        } else {
          hex(s, value);
        }
      }
      case SOCKADDR_IN -> address(s, value, a[arg.lengthArg()], m);
      case SOCKADDR_OUT -> {
        if (done && m.read(a[arg.lengthArg()], scratch, 0, Integer.BYTES) >= 0) {
          address(s, value, scratch.get(Wire.INT, 0), m);
        } else {
          hex(s, value);
        }
      }
      case SOCKLEN -> word(s, value, m);
      case OPTION_IN -> option(s, a, (int) a[arg.lengthArg()], m);
      case OPTION_OUT -> {
        if (done && m.read(a[arg.lengthArg()], scratch, 0, Integer.BYTES) >= 0) {
          option(s, a, scratch.get(Wire.INT, 0), m);
        } else {
          hex(s, value);
        }
      }
      case IOCTL -> request(s, a, done, m);
      case FCNTL -> {
        if ((int) a[1] == Fcntl.F_SETFL) {
          s.append(Names.format("O", value));
        } else {
          number(s, value);
        }
      }
    }
  }

  private static long length(Arg arg, long[] a) {
    if (arg.lengthArg() < 0) {
      return arg.bytes();
    }
    long count = a[arg.lengthArg()];
    return count < 0 || count > Integer.MAX_VALUE ? 0 : count * arg.bytes();
  }

  private static void number(StringBuilder s, long value) {
    // An int is passed in a register whose upper half does not count.
    if (value >>> 32 == 0 || value >> 31 == -1) {
      s.append(value >>> 31 == 1 ? (int) value : value);
    } else if (value < 1L << 40 && value > 0) {
      s.append(value);
    } else {
      hex(s, value);
    }
  }

  private static void hex(StringBuilder s, long value) {
    if (value == 0) {
      s.append("NULL");
    } else {
      s.append("0x").append(Long.toHexString(value));
    }
  }

  private static void flags(StringBuilder s, String set, long[] a, int i) {
    switch (set) {
      case "SO" -> {
        SocketOptions.Option o = SocketOptions.find((int) a[1], (int) a[2]);
        s.append(o == null ? Integer.toString((int) a[2]) : o.cName());
      }
      case "IOCTL" -> {
        IoctlRequests.Request q = IoctlRequests.find((int) a[1]);
        s.append(q == null ? "0x" + Integer.toHexString((int) a[1]) : q.name());
      }
      default -> s.append(Names.format(set, a[i]));
    }
  }

  private void path(StringBuilder s, long address, ProgramMemory m) {
    long n = m.readString(address, scratch, 0, SCRATCH_BYTES);
    if (n < 0) {
      hex(s, address);
    } else {
      quote(s, 0, n, n);
    }
  }

  private void memory(
      StringBuilder s, Arg arg, long[] a, long address, long length, ProgramMemory m) {
    switch (arg.set()) {
      case "" -> buffer(s, address, length, length, m);
      case "timespec", "timeval" -> {
        if (m.read(address, scratch, 0, 16) < 0) {
          hex(s, address);
          return;
        }
        s.append("{tv_sec=").append(scratch.get(Wire.LONG, 0));
        s.append(arg.set().equals("timespec") ? ", tv_nsec=" : ", tv_usec=");
        s.append(scratch.get(Wire.LONG, 8)).append('}');
      }
      case "pollfd" -> polls(s, address, a[arg.lengthArg()], m);
      case "epoll_event" -> events(s, address, arg.lengthArg() < 0 ? 1 : length / arg.bytes(), m);
      case "fd_set" -> descriptors(s, address, (int) a[0], m);
      default -> hex(s, address);
    }
  }

  private void buffer(StringBuilder s, long address, long shown, long whole, ProgramMemory m) {
    long n = Math.min(shown, SHOWN_BYTES);
    if (n > 0 && m.read(address, scratch, 0, n) < 0) {
      hex(s, address);
    } else {
      quote(s, 0, n, whole);
    }
  }

  /** Bytes of the scratch memory between quotes, and dots if there are more. */
  private void quote(StringBuilder s, long at, long n, long whole) {
    s.append('"');
    for (long i = at; i < at + n; i++) {
      int b = Byte.toUnsignedInt(scratch.get(ValueLayout.JAVA_BYTE, i));
      switch (b) {
        case '\n' -> s.append("\\n");
        case '\r' -> s.append("\\r");
        case '\t' -> s.append("\\t");
        case '"' -> s.append("\\\"");
        case '\\' -> s.append("\\\\");
        default -> {
          if (b >= ' ' && b < 0x7f) {
            s.append((char) b);
          } else {
            // Three digits where a digit follows, as in C.
            int next = i + 1 < at + n ? scratch.get(ValueLayout.JAVA_BYTE, i + 1) : 0;
            String octal = Integer.toOctalString(b);
            s.append('\\');
            s.append(next >= '0' && next <= '7' ? "0".repeat(3 - octal.length()) : "");
            s.append(octal);
          }
        }
      }
    }
    s.append(whole > n ? "\"..." : "\"");
  }

  private void word(StringBuilder s, long address, ProgramMemory m) {
    if (m.read(address, scratch, 0, Integer.BYTES) < 0) {
      hex(s, address);
    } else {
      s.append('[').append(scratch.get(Wire.INT, 0)).append(']');
    }
  }

  private void vector(StringBuilder s, long address, long count, long bytes, ProgramMemory m) {
    long n = HostMarshaller.clamp(count, SHOWN_ELEMENTS);
    long left = bytes;
    s.append('[');
    for (long i = 0; i < n; i++) {
      s.append(i == 0 ? "" : ", ");
      if (m.read(address + i * MessageHeader.IOV_BYTES, scratch, 0, MessageHeader.IOV_BYTES) < 0) {
        hex(s, address);
        break;
      }
      long base = scratch.get(Wire.LONG, MessageHeader.IOV_BASE);
      long length = scratch.get(Wire.LONG, MessageHeader.IOV_LEN);
      s.append("{iov_base=");
      buffer(s, base, Math.min(length, left), length, m);
      s.append(", iov_len=").append(length).append('}');
      left = Math.max(0, left - length);
    }
    s.append(count > n ? ", ...]" : "]");
  }

  private void message(StringBuilder s, long address, long bytes, ProgramMemory m) {
    if (m.read(address, scratch, 0, MessageHeader.BYTES) < 0) {
      hex(s, address);
      return;
    }
    long name = scratch.get(Wire.LONG, MessageHeader.NAME);
    int nameBytes = scratch.get(Wire.INT, MessageHeader.NAME_BYTES);
    long iov = scratch.get(Wire.LONG, MessageHeader.IOV);
    long count = scratch.get(Wire.LONG, MessageHeader.IOV_COUNT);
    long controlBytes = scratch.get(Wire.LONG, MessageHeader.CONTROL_BYTES);
    int flags = scratch.get(Wire.INT, MessageHeader.FLAGS);
    s.append("{msg_name=");
    if (name == 0) {
      s.append("NULL");
    } else {
      address(s, name, nameBytes, m);
    }
    s.append(", msg_namelen=").append(nameBytes).append(", msg_iov=");
    vector(s, iov, count, bytes, m);
    s.append(", msg_iovlen=").append(count);
    s.append(", msg_controllen=").append(controlBytes);
    s.append(", msg_flags=").append(Names.format("MSG", flags)).append('}');
  }

  private void address(StringBuilder s, long address, long length, ProgramMemory m) {
    long n = HostMarshaller.clamp(length, Wire.ADDRESS_BYTES);
    if (n < Short.BYTES || m.read(address, scratch, 0, n) < 0) {
      hex(s, address);
      return;
    }
    int family = scratch.get(Wire.SHORT, 0);
    s.append("{sa_family=").append(Names.format("AF", family));
    if (family == Socket.AF_INET && n >= 8) {
      s.append(", sin_port=htons(").append(port()).append("), sin_addr=inet_addr(\"");
      for (int i = 4; i < 8; i++) {
        s.append(i == 4 ? "" : ".").append(octet(i));
      }
      s.append("\")");
    } else if (family == Socket.AF_INET6 && n >= 24) {
      s.append(", sin6_port=htons(").append(port()).append("), sin6_addr=\"");
      address6(s);
      s.append('"');
      if (n >= 28 && scratch.get(Wire.INT, 24) != 0) {
        s.append(", sin6_scope_id=").append(scratch.get(Wire.INT, 24));
      }
    } else if (family == Socket.AF_NETLINK && n >= 12) {
      s.append(", nl_pid=").append(scratch.get(Wire.INT, 4));
      s.append(", nl_groups=0x").append(Integer.toHexString(scratch.get(Wire.INT, 8)));
    } else if (family == Socket.AF_PACKET && n >= 8) {
      s.append(", sll_protocol=htons(0x").append(Integer.toHexString(port()));
      s.append("), sll_ifindex=").append(scratch.get(Wire.INT, 4));
    } else if (family == Socket.AF_UNIX) {
      s.append(", sun_path=");
      long end = 2;
      while (end < n && (end == 2 || scratch.get(ValueLayout.JAVA_BYTE, end) != 0)) {
        end++;
      }
      quote(s, 2, end - 2, end - 2);
    } else if (n > Short.BYTES) {
      s.append(", sa_data=");
      quote(s, 2, Math.min(n - 2, SHOWN_BYTES), n - 2);
    }
    s.append('}');
  }

  private int port() {
    return Short.toUnsignedInt(scratch.get(NETWORK_SHORT, 2));
  }

  private int octet(long at) {
    return Byte.toUnsignedInt(scratch.get(ValueLayout.JAVA_BYTE, at));
  }

  /** An IPv6 address at offset 8, its longest run of zeros left out. */
  private void address6(StringBuilder s) {
    int from = -1;
    int to = -1;
    for (int i = 0; i < 8; i++) {
      int j = i;
      while (j < 8 && scratch.get(NETWORK_SHORT, 8 + 2L * j) == 0) {
        j++;
      }
      if (j - i > Math.max(1, to - from)) {
        from = i;
        to = j;
      }
      i = Math.max(i, j - 1);
    }
    for (int i = 0; i < 8; i++) {
      if (i == from) {
        s.append("::");
        i = to - 1;
        continue;
      }
      s.append(i == 0 || i == to ? "" : ":");
      s.append(Integer.toHexString(Short.toUnsignedInt(scratch.get(NETWORK_SHORT, 8 + 2L * i))));
    }
  }

  private void polls(StringBuilder s, long address, long count, ProgramMemory m) {
    long n = HostMarshaller.clamp(count, SHOWN_ELEMENTS);
    s.append('[');
    for (long i = 0; i < n; i++) {
      s.append(i == 0 ? "" : ", ");
      if (m.read(address + i * 8, scratch, 0, 8) < 0) {
        hex(s, address);
        break;
      }
      s.append("{fd=").append(scratch.get(Wire.INT, 0));
      s.append(", events=").append(Names.format("POLL", scratch.get(Wire.SHORT, 4) & 0xffff));
      int seen = scratch.get(Wire.SHORT, 6) & 0xffff;
      s.append(seen == 0 ? "" : ", revents=" + Names.format("POLL", seen)).append('}');
    }
    s.append(count > n ? ", ...]" : "]");
  }

  private void events(StringBuilder s, long address, long count, ProgramMemory m) {
    long n = HostMarshaller.clamp(count, SHOWN_ELEMENTS);
    s.append('[');
    for (long i = 0; i < n; i++) {
      s.append(i == 0 ? "" : ", ");
      if (m.read(address + i * 12, scratch, 0, 12) < 0) {
        hex(s, address);
        break;
      }
      s.append("{events=").append(Names.format("EPOLL", scratch.get(Wire.INT, 0)));
      s.append(", data=0x").append(Long.toHexString(scratch.get(Wire.LONG, 4))).append('}');
    }
    s.append(count > n ? ", ...]" : "]");
  }

  private void descriptors(StringBuilder s, long address, int n, ProgramMemory m) {
    int count = HostMarshaller.clamp(n, SCRATCH_BYTES * Byte.SIZE);
    if (m.read(address, scratch, 0, (count + 63) / 64 * 8L) < 0) {
      hex(s, address);
      return;
    }
    s.append('[');
    boolean first = true;
    for (int fd = 0; fd < count; fd++) {
      if ((octet(fd / 8) >> fd % 8 & 1) != 0) {
        s.append(first ? "" : " ").append(fd);
        first = false;
      }
    }
    s.append(']');
  }

  private void option(StringBuilder s, long[] a, int length, ProgramMemory m) {
    SocketOptions.Option o = SocketOptions.find((int) a[1], (int) a[2]);
    if (o != null && o.secret()) {
      s.append("<a key, ").append(length).append(" bytes>");
      return;
    }
    boolean integer = o != null && o.form() == SocketOptions.Form.INTEGER && length >= 4;
    if (integer) {
      word(s, a[3], m);
    } else {
      buffer(s, a[3], length, length, m);
    }
  }

  private void request(StringBuilder s, long[] a, boolean done, ProgramMemory m) {
    IoctlRequests.Request q = IoctlRequests.find((int) a[1]);
    if (q == null || a[2] == 0 || q.form() == IoctlRequests.Form.REFUSED) {
      hex(s, a[2]);
      return;
    }
    switch (q.form()) {
      case IN, OUT, INOUT -> {
        if (!done && q.form() == IoctlRequests.Form.OUT) {
          hex(s, a[2]);
        } else if (q.bytes() == Integer.BYTES) {
          word(s, a[2], m);
        } else if (q.bytes() == IoctlRequests.IFREQ_BYTES) {
          interfaceName(s, a[2], m);
        } else {
          buffer(s, a[2], q.bytes(), q.bytes(), m);
        }
      }
      case ETHTOOL, HWTSTAMP -> interfaceName(s, a[2], m);
      case VALUE -> number(s, a[2]);
      case DESCRIPTOR -> {
        if (q.bytes() == 0) {
          number(s, a[2]);
        } else {
          buffer(s, a[2], q.bytes(), q.bytes(), m);
        }
      }
      case IFCONF, ROUTE, FIEMAP, REFUSED -> hex(s, a[2]);
    }
  }

  private void interfaceName(StringBuilder s, long address, ProgramMemory m) {
    if (m.read(address, scratch, 0, IoctlRequests.IFR_DATA) < 0) {
      hex(s, address);
      return;
    }
    int end = 0;
    while (end < IoctlRequests.IFR_DATA && octet(end) != 0) {
      end++;
    }
    byte[] name = scratch.asSlice(0, end).toArray(ValueLayout.JAVA_BYTE);
    s.append("{ifr_name=\"").append(new String(name, StandardCharsets.ISO_8859_1));
    s.append("\", ...}");
  }
}
