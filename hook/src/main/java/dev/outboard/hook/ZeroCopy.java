// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.MessageHeader;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * What a socket's sends with MSG_ZEROCOPY have come to, and how the program is told.
 *
 * <p>The program's pages do not cross: each send copies its bytes before it returns, as the kernel
 * itself does where the network cannot send from pages, and tells that it was so (its code is
 * SO_EE_CODE_ZEROCOPY_COPIED). So a send is complete when it returns, and what waits to be told is
 * always one range of numbers, as {@code skb_zerocopy_notify_extend()} would have joined them. The
 * device knows nothing of all this: without SO_ZEROCOPY its kernel takes no notice of the flag.
 *
 * <p>Source: {@code net/core/skbuff.c}, {@code ip_recv_error()}, {@code ipv6_recv_error()}, {@code
 * include/uapi/linux/errqueue.h}. Any thread may call any method.
 */
final class ZeroCopy {
  private static final int SOL_IP = 0;
  private static final int SOL_IPV6 = 41;
  private static final int IP_RECVERR = 11;
  private static final int IPV6_RECVERR = 25;

  private static final byte ORIGIN_ZEROCOPY = 5;
  private static final byte CODE_COPIED = 1;

  // struct sock_extended_err: errno, origin, type, code, pad, info, data; the offender behind it.
  private static final int ORIGIN = 4;
  private static final int CODE = 6;
  private static final int INFO = 8;
  private static final int DATA = 12;
  private static final int ERROR_BYTES = 16;
  private static final int SOCKADDR_IN_BYTES = 16;
  private static final int SOCKADDR_IN6_BYTES = 28;

  private boolean on;

  /** The number of the next send, and of the first of which the program was not told. */
  private int next;

  private int first;

  /** Whether the program has set SO_ZEROCOPY. */
  synchronized boolean on() {
    return on;
  }

  synchronized void set(boolean is) {
    on = is;
  }

  /** A send with MSG_ZEROCOPY has moved bytes. */
  synchronized void sent() {
    next++;
  }

  /** Whether there is something to tell. */
  synchronized boolean pending() {
    return first != next;
  }

  /** What poll says of it. */
  int pinned() {
    return pending() ? Poll.POLLERR : 0;
  }

  /**
   * Answers a receive under MSG_ERRQUEUE, if there is something to tell.
   *
   * @param message the address of the program's {@code struct msghdr}
   * @param family AF_INET or AF_INET6
   * @return the result of the call: 0, since the message has no bytes, or {@code -errno}
   */
  synchronized long tell(ProcessMemory memory, MemorySegment scratch, long message, int family) {
    long r = memory.read(message, scratch, 0, MessageHeader.BYTES);
    if (r < 0) {
      return r;
    }
    long name = scratch.get(ValueLayout.JAVA_LONG, MessageHeader.NAME);
    long control = scratch.get(ValueLayout.JAVA_LONG, MessageHeader.CONTROL);
    long room = control == 0 ? 0 : scratch.get(ValueLayout.JAVA_LONG, MessageHeader.CONTROL_BYTES);
    boolean six = family == Socket.AF_INET6;
    int length =
        MessageHeader.CMSG_BYTES + ERROR_BYTES + (six ? SOCKADDR_IN6_BYTES : SOCKADDR_IN_BYTES);
    int flags = Socket.MSG_ERRQUEUE;
    long used = 0;
    if (Long.compareUnsigned(room, length) < 0) {
      flags |= Socket.MSG_CTRUNC;
    }
    if (Long.compareUnsigned(room, MessageHeader.CMSG_BYTES) >= 0) {
      int shown = (int) (Long.compareUnsigned(room, length) < 0 ? room : length);
      int space = length + 7 & ~7;
      used = Long.compareUnsigned(room, space) < 0 ? room : space;
      scratch.asSlice(0, length).fill((byte) 0);
      scratch.set(ValueLayout.JAVA_LONG, MessageHeader.CMSG_LEN, shown);
      scratch.set(ValueLayout.JAVA_INT, MessageHeader.CMSG_LEVEL, six ? SOL_IPV6 : SOL_IP);
      scratch.set(ValueLayout.JAVA_INT, MessageHeader.CMSG_TYPE, six ? IPV6_RECVERR : IP_RECVERR);
      long at = MessageHeader.CMSG_BYTES;
      scratch.set(ValueLayout.JAVA_BYTE, at + ORIGIN, ORIGIN_ZEROCOPY);
      scratch.set(ValueLayout.JAVA_BYTE, at + CODE, CODE_COPIED);
      scratch.set(ValueLayout.JAVA_INT, at + INFO, first);
      scratch.set(ValueLayout.JAVA_INT, at + DATA, next - 1);
      r = memory.write(control, scratch, 0, shown);
    }
    scratch.set(ValueLayout.JAVA_LONG, 0, used);
    scratch.set(ValueLayout.JAVA_INT, Long.BYTES, flags);
    if (r == 0) {
      r =
          memory.write(
              message + MessageHeader.CONTROL_BYTES, scratch, 0, Long.BYTES + Integer.BYTES);
    }
    if (r == 0 && name != 0) {
      scratch.set(ValueLayout.JAVA_INT, 0, 0);
      r = memory.write(message + MessageHeader.NAME_BYTES, scratch, 0, Integer.BYTES);
    }
    first = next; // Told or not, it is off the queue.
    return r;
  }

  /** The same for a call that can be told of no more than that there was something. */
  synchronized void drop() {
    first = next;
  }

  /**
   * Sets the option.
   *
   * @param possible whether it is a socket of TCP or UDP
   * @param address of its value, of {@code length} bytes
   * @return what {@code setsockopt} answers
   */
  long set(
      ProcessMemory memory, MemorySegment scratch, boolean possible, long address, int length) {
    if (length < Integer.BYTES) {
      return -Errno.EINVAL;
    }
    long r = memory.read(address, scratch, 0, Integer.BYTES);
    if (r < 0) {
      return r;
    }
    int value = scratch.get(ValueLayout.JAVA_INT, 0);
    if (!possible) {
      return -Errno.EOPNOTSUPP;
    }
    if (value < 0 || value > 1) {
      return -Errno.EINVAL;
    }
    set(value == 1);
    return 0;
  }

  /**
   * Tells the option.
   *
   * @param address of its value, and
   * @param lengthAt of the length that there is room for
   * @return what {@code getsockopt} answers
   */
  long get(ProcessMemory memory, MemorySegment scratch, long address, long lengthAt) {
    long r = memory.read(lengthAt, scratch, 0, Integer.BYTES);
    if (r < 0) {
      return r;
    }
    int length = scratch.get(ValueLayout.JAVA_INT, 0);
    if (length < 0) {
      return -Errno.EINVAL;
    }
    length = Math.min(length, Integer.BYTES);
    scratch.set(ValueLayout.JAVA_INT, 0, on() ? 1 : 0);
    r = memory.write(address, scratch, 0, length);
    if (r < 0) {
      return r;
    }
    scratch.set(ValueLayout.JAVA_INT, 0, length);
    return memory.write(lengthAt, scratch, 0, Integer.BYTES);
  }
}
