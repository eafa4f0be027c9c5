// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Socket;
import dev.outboard.channel.CallSlot;
import dev.outboard.channel.Credentials;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.LinkException;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A program thread as the device sees it: makes canonical calls through a slot. Pointers are
 * offsets into the slot's data, as on the wire.
 */
final class TestProgram implements AutoCloseable {
  static final long NULL = Call.NULL;
  private static final int OPENAT = 56;
  private static final int AT_FDCWD = -100;
  private static final AtomicInteger TIDS = new AtomicInteger(1000);
  private static final long PATIENCE_NANOS = 20_000_000_000L;

  final DeviceLink link;
  final CallSlot slot;

  TestProgram(DeviceLink link) throws LinkException {
    this(link, -1, Credentials.root());
  }

  TestProgram(DeviceLink link, int like, Credentials credentials) throws LinkException {
    this.link = link;
    int tid = TIDS.incrementAndGet();
    this.slot = link.attach(tid, tid, like, credentials);
  }

  MemorySegment data() {
    return slot.call().data;
  }

  /** Submits a call without waiting for it. */
  void submit(int number, long... args) {
    Call call = slot.call();
    call.number = number;
    call.flags = 0;
    call.extent = call.data.byteSize();
    for (int i = 0; i < 6; i++) {
      call.args[i] = i < args.length ? args[i] : 0;
    }
    slot.submit();
  }

  /** Waits for the call submitted. */
  long await() {
    assertThat(slot.await(PATIENCE_NANOS)).as("the call ends").isTrue();
    return slot.result();
  }

  /** A whole call. */
  long call(int number, long... args) {
    submit(number, args);
    return await();
  }

  /** A call that must not fail. */
  int expect(int number, long... args) {
    long r = call(number, args);
    assertThat(r).as("call %d", number).isNotNegative();
    return (int) r;
  }

  /** Opens a path for reading: a handle, or {@code -errno}. */
  long open(String path) {
    data().setString(0, path);
    return call(OPENAT, AT_FDCWD, 0, Fcntl.O_RDONLY, 0);
  }

  int socket(int type) {
    return expect(Canonical.SOCKET, Socket.AF_INET, type, 0);
  }

  int socketOf(int family, int type, int protocol) {
    return expect(Canonical.SOCKET, family, type, protocol);
  }

  /** Writes a sockaddr_in of the loopback at offset 0. */
  void address(int port) {
    data().set(ValueLayout.JAVA_SHORT, 0, (short) Socket.AF_INET);
    data().set(ValueLayout.JAVA_BYTE, 2, (byte) (port >> 8));
    data().set(ValueLayout.JAVA_BYTE, 3, (byte) port);
    data().set(ValueLayout.JAVA_INT, 4, 0x0100_007f);
    data().set(ValueLayout.JAVA_LONG, 8, 0);
  }

  /** A listening TCP socket on a free port of the loopback. */
  int listener(int backlog) {
    int fd = socket(Socket.SOCK_STREAM);
    address(0);
    expect(Canonical.BIND, fd, 0, 16);
    expect(Canonical.LISTEN, fd, backlog);
    return fd;
  }

  int port(int fd) {
    data().set(ValueLayout.JAVA_INT, 128, 128);
    expect(Canonical.GETSOCKNAME, fd, 0, 128);
    return (data().get(ValueLayout.JAVA_BYTE, 2) & 0xff) << 8
        | (data().get(ValueLayout.JAVA_BYTE, 3) & 0xff);
  }

  long connect(int fd, int port) {
    address(port);
    return call(Canonical.CONNECT, fd, 0, 16);
  }

  int accept(int fd) {
    return expect(Canonical.ACCEPT4, fd, NULL, NULL, Socket.SOCK_CLOEXEC);
  }

  /** Two ends of a TCP connection over the loopback. */
  int[] pair() {
    int listener = listener(1);
    int client = socket(Socket.SOCK_STREAM);
    assertThat(connect(client, port(listener))).isZero();
    int server = accept(listener);
    close(listener);
    return new int[] {client, server};
  }

  void close(int fd) {
    assertThat(call(Canonical.CLOSE, fd)).isZero();
  }

  long send(int fd, byte[] bytes) {
    MemorySegment.copy(bytes, 0, data(), ValueLayout.JAVA_BYTE, 4096, bytes.length);
    return call(Canonical.SENDTO, fd, 4096, bytes.length, Socket.MSG_NOSIGNAL, NULL, 0);
  }

  long receive(int fd, int bytes, int flags) {
    long r = call(Canonical.RECVFROM, fd, 4096, bytes, flags, NULL, NULL);
    slot.settle();
    return r;
  }

  byte[] received(long bytes) {
    return data().asSlice(4096, bytes).toArray(ValueLayout.JAVA_BYTE);
  }

  void watch(int fd) {
    assertThat(call(PseudoCall.WATCH, fd, 1)).isZero();
  }

  @Override
  public void close() {
    link.detach(slot);
  }
}
