// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/** One netlink socket of a guest, and requests on it. */
final class Netlink implements AutoCloseable {
  static final int ROUTE = 0;
  static final int SOCK_DIAG = 4;
  static final int GENERIC = 16;

  static final int NLM_F_REQUEST = 1;
  static final int NLM_F_ACK = 4;
  static final int NLM_F_DUMP = 0x300;
  static final int NLM_F_CREATE = 0x400;
  static final int NLM_F_EXCL = 0x200;

  private static final int NLMSG_ERROR = 2;
  private static final int NLMSG_DONE = 3;

  private final Guest g;
  private final int fd;
  private final MemorySegment out;
  private final MemorySegment in;
  private final Deque<Long> open = new ArrayDeque<>();
  private long at;

  Netlink(Guest g, int protocol) {
    this.g = g;
    fd = (int) g.ok(Nr.SOCKET, 16, 3, protocol);
    out = g.allocate(4096);
    in = g.allocate(32768);
  }

  /** Starts a request. */
  Netlink begin(int type, int flags) {
    out.fill((byte) 0);
    out.set(ValueLayout.JAVA_SHORT, 4, (short) type);
    out.set(ValueLayout.JAVA_SHORT, 6, (short) (flags | NLM_F_REQUEST));
    out.set(ValueLayout.JAVA_INT, 8, 1);
    at = 16;
    return this;
  }

  Netlink bytes(int... values) {
    for (int v : values) {
      out.set(ValueLayout.JAVA_BYTE, at++, (byte) v);
    }
    return this;
  }

  Netlink word(int v) {
    out.set(ValueLayout.JAVA_INT, at, v);
    at += 4;
    return this;
  }

  /** A struct ifinfomsg. */
  Netlink link(int index, int flags, int change) {
    return bytes(0, 0, 0, 0).word(index).word(flags).word(change);
  }

  private void align() {
    at = (at + 3) & ~3;
  }

  Netlink attribute(int type, byte[] value) {
    align();
    out.set(ValueLayout.JAVA_SHORT, at, (short) (value.length + 4));
    out.set(ValueLayout.JAVA_SHORT, at + 2, (short) type);
    MemorySegment.copy(value, 0, out, ValueLayout.JAVA_BYTE, at + 4, value.length);
    at += value.length + 4;
    align();
    return this;
  }

  Netlink attribute(int type, String value) {
    return attribute(type, (value + "\0").getBytes(StandardCharsets.UTF_8));
  }

  Netlink attribute(int type, int value) {
    return attribute(
        type,
        new byte[] {(byte) value, (byte) (value >> 8), (byte) (value >> 16), (byte) (value >> 24)});
  }

  Netlink attributeShort(int type, int value) {
    return attribute(type, new byte[] {(byte) value, (byte) (value >> 8)});
  }

  /** Opens a nested attribute. */
  Netlink nest(int type) {
    align();
    open.push(at);
    out.set(ValueLayout.JAVA_SHORT, at + 2, (short) type);
    at += 4;
    return this;
  }

  Netlink end() {
    long start = open.pop();
    out.set(ValueLayout.JAVA_SHORT, start, (short) (at - start));
    return this;
  }

  private void send() {
    out.set(ValueLayout.JAVA_INT, 0, (int) at);
    g.ok(Nr.SENDTO, fd, out.address(), at, 0, 0, 0);
  }

  /** Sends the request; 0 or -errno of its acknowledgement. */
  int acknowledged() {
    out.set(ValueLayout.JAVA_SHORT, 6, (short) (out.get(ValueLayout.JAVA_SHORT, 6) | NLM_F_ACK));
    send();
    g.ok(Nr.RECVFROM, fd, in.address(), in.byteSize(), 0, 0, 0);
    if (in.get(ValueLayout.JAVA_SHORT, 4) != NLMSG_ERROR) {
      throw new AssertionError("no acknowledgement");
    }
    return in.get(ValueLayout.JAVA_INT, 16);
  }

  /** Sends the request and returns the bodies of all messages of the answer to a dump. */
  List<byte[]> dump() {
    send();
    List<byte[]> bodies = new ArrayList<>();
    while (true) {
      long n = g.ok(Nr.RECVFROM, fd, in.address(), in.byteSize(), 0, 0, 0);
      for (long m = 0; m < n; ) {
        int length = in.get(ValueLayout.JAVA_INT, m);
        int type = in.get(ValueLayout.JAVA_SHORT, m + 4);
        if (type == NLMSG_DONE) {
          return bodies;
        }
        if (type == NLMSG_ERROR) {
          throw new AssertionError("netlink error " + in.get(ValueLayout.JAVA_INT, m + 16));
        }
        bodies.add(in.asSlice(m + 16, length - 16).toArray(ValueLayout.JAVA_BYTE));
        m += (length + 3) & ~3;
      }
    }
  }

  @Override
  public void close() {
    g.ok(Nr.CLOSE, fd);
  }
}
