// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

/**
 * Requests of the hook to the device that are no system calls, but travel in call slots like them.
 *
 * <p>A readiness sample is 16 bytes, little-endian, at offset {@code 16 n} of the call's data:
 *
 * <pre>
 *   0        4          8                16
 *   +--------+----------+----------------+
 *   | handle | pollMask |     stamp      |
 *   +--------+----------+----------------+
 * </pre>
 *
 * <p>Above the mask's 16 bits is how many edges the handle has had, modulo {@link #EDGES}: an edge
 * may be told by a Ready frame and by any number of SYNCs, and counts once. A mask that comes with
 * a call's result says nothing of edges.
 */
public final class PseudoCall {
  /** Lowest number of a pseudo call; system call numbers are below it. */
  public static final int FIRST = 0x10000;

  /**
   * {@code args[0]} handle, {@code args[1]} {@link #WATCHED} to watch its readiness, {@link
   * #WATCHED_PROMPTLY} to tell of each edge as soon as there is one, from now on whoever watches
   * it, and 0 to stop. The result is 0; mask and stamp of a handle that is watched come with the
   * result, as with every call.
   */
  public static final int WATCH = FIRST;

  public static final int WATCHED = 1;
  public static final int WATCHED_PROMPTLY = 2;

  /**
   * Samples, in data, of all watched handles that changed; the result is how many. {@code args[0]}
   * is the time of the caller's last SYNC, 0 for all watched handles; the time of this one comes in
   * the place of the stamp. No Ready frame tells of edges that a SYNC was the first to tell, so the
   * caller must count them even if the sample is out of date.
   */
  public static final int SYNC = FIRST + 1;

  /** {@code args[0]} handle; the result is its poll mask now. */
  public static final int SAMPLE = FIRST + 2;

  /** Does nothing; the result is 0. */
  public static final int PING = FIRST + 3;

  /**
   * The thread's credentials from now on: {@code args[0]} bytes of data, whose form is the
   * channel's business. The result is 0 or {@code -errno}.
   */
  public static final int CREDENTIALS = FIRST + 4;

  /**
   * Takes messages out of a socket, as {@code recvmsg(2)} would one after the other, into data: the
   * first at 0, each in the form of {@link ReceivedMessage}. {@code args[0]} handle, {@code
   * args[1]} how many bytes of each message are wanted at most, {@code args[2]} 1 to wait for the
   * first if there is none. The result is how many bytes of data they take; or, if there is not
   * even one, {@code -errno}: EAGAIN when nothing was to be waited for. The call ends when there is
   * no more message, or no room for the next one; an error that comes after the first message is
   * left to the next call.
   */
  public static final int RECEIVE = FIRST + 5;

  /**
   * Sends bytes of data to a stream, whether or not its socket waits by itself. {@code args[0]}
   * handle, {@code args[1]} where they begin, {@code args[2]} how many, {@code args[3]} flags of
   * {@code send(2)}, {@code args[4]} 1 to wait until it takes some, {@code args[5]} 1 to set {@code
   * TCP_CORK} first (tcp(7)). The result is how many it has taken; or, if none, {@code -errno}:
   * EAGAIN when nothing was to be waited for.
   */
  public static final int SEND = FIRST + 6;

  /**
   * Copies bytes out of a stream's queue, which stay there, to the start of data. {@code args[0]}
   * handle, {@code args[1]} how many of the queue to pass over, {@code args[2]} how many bytes at
   * most. The result is how many it has copied, 0 if there are no more; or {@code -errno}. It never
   * waits, and never takes an error off the socket. A host at the other end of a stream makes this
   * call with the handle alone: then what has come for it is on its way before the result, 0.
   */
  public static final int LOOK = FIRST + 7;

  /**
   * Takes bytes out of a stream's queue that were looked at, and throws them away. {@code args[0]}
   * handle, {@code args[1]} how many. The result is how many it has taken; or {@code -errno}. Of a
   * handle that is watched the poll mask comes with it.
   */
  public static final int TAKE = FIRST + 8;

  /**
   * The host has bytes of the socket that come before what the device has: receives by slots that
   * are lent end there from now on as those that the host is to make. {@code args[0]} handle; the
   * result is 0.
   */
  public static final int KEEPS = FIRST + 9;

  /**
   * Gives an XDP socket memory, which is the device's own, as XDP_UMEM_REG would. {@code args[0]}
   * handle. The result, as of all calls about such sockets, is 0 or {@code -errno}, and EINVAL or
   * ENOSYS where there are none.
   */
  public static final int XDP_MEMORY = FIRST + 10;

  /** Gives an XDP socket a ring. {@code args[0]} handle, {@code args[1]} the option's number. */
  public static final int XDP_RING = FIRST + 11;

  /**
   * Binds an XDP socket. {@code args[0]} handle, {@code args[1]} the interface's index, {@code
   * args[2]} the queue's number, {@code args[3]} flags, of which none shares memory.
   */
  public static final int XDP_BIND = FIRST + 12;

  /**
   * Takes frames out of an XDP socket, as many as there are and data have room for, each in the
   * form of {@link XdpFrame}. {@code args[0]} handle, {@code args[1]} 1 to wait for the first. The
   * result is how many bytes of data they take; EAGAIN if there is none and nothing was to be
   * waited for.
   */
  public static final int XDP_RECEIVE = FIRST + 13;

  /**
   * Sends frames by an XDP socket, as {@code sendmsg(2)} on it would, from the start of data in the
   * form of {@link XdpFrame}. {@code args[0]} handle, {@code args[1]} how many bytes they take,
   * {@code args[2]} flags of {@code sendmsg(2)}. The result is how many are sent, the first ones;
   * if none, what that call says.
   */
  public static final int XDP_SEND = FIRST + 14;

  /**
   * Closes handles, an int each in data; {@code args[0]} how many, at most {@link #MAX_CLOSES}. The
   * result is how many of them there were.
   */
  public static final int CLOSES = FIRST + 15;

  public static final int MAX_CLOSES = 256;

  /** Edges are counted modulo this number, a power of two. */
  public static final int EDGES = 1 << 14;

  private static final int MASK_BITS = 0xffff;
  private static final int EDGES_SHIFT = 16;
  private static final int EDGES_TOLD = 1 << 30;

  public static final int SAMPLE_BYTES = 16;
  public static final int SAMPLE_HANDLE = 0;
  public static final int SAMPLE_MASK = 4;
  public static final int SAMPLE_STAMP = 8;

  private PseudoCall() {}

  /** A mask with the number of edges that there have been. */
  public static int withEdges(int mask, int edges) {
    return (mask & MASK_BITS) | (edges & EDGES - 1) << EDGES_SHIFT | EDGES_TOLD;
  }

  /** The poll bits of a sample's mask. */
  public static int pollBits(int mask) {
    return mask & MASK_BITS;
  }

  /** The edges that a sample's mask tells of, below {@link #EDGES}; -1 if it tells of none. */
  public static int edges(int mask) {
    return (mask & EDGES_TOLD) == 0 ? -1 : mask >>> EDGES_SHIFT & EDGES - 1;
  }

  /** Whether {@code number} is a pseudo call's, known or not. */
  public static boolean isPseudo(int number) {
    return number >= FIRST;
  }

  /** Its name, for traces and statistics. */
  public static String name(int number) {
    return switch (number) {
      case WATCH -> "watch";
      case SYNC -> "sync";
      case SAMPLE -> "sample";
      case PING -> "ping";
      case CREDENTIALS -> "credentials";
      case RECEIVE -> "receive";
      case SEND -> "send";
      case LOOK -> "look";
      case TAKE -> "take";
      case KEEPS -> "keeps";
      case XDP_MEMORY -> "xdp_memory";
      case XDP_RING -> "xdp_ring";
      case XDP_BIND -> "xdp_bind";
      case XDP_RECEIVE -> "xdp_receive";
      case XDP_SEND -> "xdp_send";
      case CLOSES -> "closes";
      default -> "pseudo_" + Integer.toHexString(number);
    };
  }
}
