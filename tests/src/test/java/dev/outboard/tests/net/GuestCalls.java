// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

import java.lang.foreign.MemorySegment;

/** System calls of the kernel under test, in the asm-generic ABI, by threads that are its tasks. */
interface GuestCalls {
  int IOCTL = 29;
  int CLOSE = 57;
  int READ = 63;
  int WRITE = 64;
  int PPOLL = 73;
  int SOCKET = 198;
  int BIND = 200;
  int LISTEN = 201;
  int ACCEPT = 202;
  int CONNECT = 203;
  int GETSOCKNAME = 204;
  int SENDTO = 206;
  int RECVFROM = 207;
  int SETSOCKOPT = 208;
  int GETSOCKOPT = 209;
  int SHUTDOWN = 210;

  /** Makes a call as the calling thread's task; its result, or {@code -errno}. */
  long call(int number, long a0, long a1, long a2, long a3, long a4, long a5);

  /** Zeroed memory that calls may point to; never freed. Any thread. */
  MemorySegment allocate(long bytes);

  /** Runs {@code body} on a new thread that is a task sharing files with the first. */
  Thread task(String name, Runnable body);
}
