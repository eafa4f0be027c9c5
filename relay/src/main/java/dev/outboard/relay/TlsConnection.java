// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.io.EOFException;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.SocketChannel;
import org.jspecify.annotations.Nullable;

/**
 * A connection by TLS.
 *
 * <p>The engine is used by the reader and a writer in turn, each for a few records at a time, and
 * never while one of them waits for the socket. It is freed by whoever comes out last of {@link
 * #close} and what was under way then.
 */
final class TlsConnection implements Connection {
  private final Transport transport;
  private final Object lock = new Object();

  // Guarded by lock.
  private final TlsEngine engine;
  private int users;
  private boolean closed;

  // The reader's.
  private final ByteBuffer plainIn = ByteBuffer.allocateDirect(TlsEngine.RING_BYTES).limit(0);
  private final long plainInAddress = MemorySegment.ofBuffer(plainIn).address();

  /** Whether there may be something to open. */
  private boolean more;

  private boolean over;
  private @Nullable TlsException failure;

  // The writer's: a record that is put together.
  private final ByteBuffer record = ByteBuffer.allocateDirect(TlsEngine.RECORD_BYTES);
  private final long recordAddress = MemorySegment.ofBuffer(record).address();

  /**
   * @param channel connected and blocking; owned by this object from here on
   */
  TlsConnection(SocketChannel channel, Trust trust, Identity own, boolean client)
      throws IOException {
    this(new ChannelTransport(channel), trust, own, client);
  }

  /**
   * @param transport owned by this object from here on
   * @param trust whom to accept
   * @param own what to show
   * @param client whether this end begins
   */
  TlsConnection(Transport transport, Trust trust, Identity own, boolean client) throws IOException {
    this.transport = transport;
    this.engine = new TlsEngine(trust, own, client);
  }

  /** One over a transport that is closed if there is none. */
  static TlsConnection over(Transport transport, Trust trust, Identity own, boolean client)
      throws IOException {
    boolean made = false;
    try {
      TlsConnection it = new TlsConnection(transport, trust, own, client);
      made = true;
      return it;
    } finally {
      if (!made) {
        transport.close();
      }
    }
  }

  /**
   * Ends TLS, and leaves what it went over to whoever calls; the two ends have agreed on that, and
   * have read all that was sent so far.
   *
   * @throws IOException if more has come than that, or the connection is closed
   */
  Transport release() throws IOException {
    synchronized (lock) {
      if (closed) {
        throw new ClosedChannelException();
      }
      if (plainIn.hasRemaining() || engine.hasMore()) {
        throw new IOException("the other side said more than was agreed on");
      }
      closed = true;
      freeIfUnused();
    }
    return transport;
  }

  /** Before the engine is used, and to be followed by {@link #leave}. */
  private void enter() throws IOException {
    synchronized (lock) {
      if (closed) {
        throw new ClosedChannelException();
      }
      users++;
    }
  }

  private void leave() {
    synchronized (lock) {
      users--;
      freeIfUnused();
    }
  }

  /** Who calls has the lock. */
  private void freeIfUnused() {
    if (closed && users == 0) {
      engine.free();
    }
  }

  /**
   * Agrees on keys with the other end, before anything is read or written. Takes as long as the
   * other end does: the caller closes the connection when that is too long.
   *
   * @throws TlsException if one of the two ends does not accept the other, or does not speak TLS
   */
  void handshake() throws IOException {
    enter();
    try {
      while (true) {
        boolean done;
        try {
          synchronized (lock) {
            done = engine.handshake();
          }
        } catch (TlsException e) {
          sendAlert();
          throw e;
        }
        send();
        if (done) {
          more = true;
          return;
        }
        if (!receive()) {
          throw new EOFException("the other side closed the connection");
        }
      }
    } finally {
      leave();
    }
  }

  /** The other end is to know why; it may be slow or gone. */
  private void sendAlert() {
    try {
      send();
    } catch (IOException e) {
      // It will not know, then.
    }
  }

  /** Takes what comes; false at the end. */
  private boolean receive() throws IOException {
    ByteBuffer vacant;
    synchronized (lock) {
      vacant = engine.vacant();
    }
    int bytes = transport.read(vacant);
    if (bytes < 0) {
      return false;
    }
    synchronized (lock) {
      engine.arrived(bytes);
    }
    more = true;
    return true;
  }

  /** Sends what is sealed. */
  private void send() throws IOException {
    while (true) {
      ByteBuffer sealed;
      synchronized (lock) {
        sealed = engine.sealed();
      }
      int bytes = sealed.remaining();
      if (bytes == 0) {
        return;
      }
      transport.write(sealed);
      synchronized (lock) {
        engine.sent(bytes);
      }
    }
  }

  /**
   * Before {@link #close}, where the other end is to get what was sent last: waits until it has
   * closed the connection. The caller sees to it that this does not take long.
   */
  void drain() {
    try {
      transport.shutdownOutput();
      ByteBuffer nothing = ByteBuffer.allocateDirect(TlsEngine.RECORD_BYTES);
      while (transport.read(nothing.clear()) >= 0) {
        // It is of no interest.
      }
    } catch (IOException e) {
      // That is as good.
    }
  }

  @Override
  public @Nullable ByteBuffer read() throws IOException {
    if (plainIn.hasRemaining()) {
      return plainIn;
    }
    enter();
    plainIn.clear();
    try {
      while (!over && !open()) {
        over = over || !receive();
      }
    } finally {
      plainIn.flip();
      leave();
    }
    return plainIn.hasRemaining() ? plainIn : null;
  }

  /** Opens what is there and whole; whether that was any bytes. */
  private boolean open() throws IOException {
    if (failure != null) {
      throw failure;
    }
    try {
      while (more && plainIn.hasRemaining()) {
        int room = plainIn.remaining();
        int bytes;
        synchronized (lock) {
          bytes = engine.open(plainInAddress + plainIn.position(), room);
          more = bytes > 0 && (bytes == room || engine.hasMore());
        }
        over = bytes < 0;
        plainIn.position(plainIn.position() + Math.max(bytes, 0));
      }
    } catch (TlsException e) {
      failure = e;
      if (plainIn.position() == 0) {
        throw e;
      }
    }
    return plainIn.position() > 0;
  }

  @Override
  public void write(ByteBuffer first, ByteBuffer second) throws IOException {
    if (!second.isDirect()) {
      throw new IllegalArgumentException("a buffer of the heap has no address");
    }
    enter();
    try {
      int waiting = 0;
      while (first.hasRemaining() || second.hasRemaining()) {
        int room = TlsEngine.RING_BYTES - TlsEngine.OVERHEAD_BYTES - waiting;
        if (room < TlsEngine.RECORD_BYTES) {
          send();
          waiting = 0;
          room = TlsEngine.RING_BYTES - TlsEngine.OVERHEAD_BYTES;
        }
        int bytes;
        if (first.hasRemaining()) {
          // Both in one record, up to its end.
          record.clear();
          move(first, record);
          move(second, record);
          bytes = record.position();
          seal(recordAddress, bytes);
        } else {
          // Full records, but for the last bytes.
          int most = Math.min(TlsEngine.SEAL_BYTES, room - room % TlsEngine.RECORD_BYTES);
          bytes = Math.min(second.remaining(), most);
          seal(MemorySegment.ofBuffer(second).address(), bytes);
          second.position(second.position() + bytes);
        }
        waiting += bytes + TlsEngine.OVERHEAD_BYTES;
      }
      send();
    } finally {
      leave();
    }
  }

  private static void move(ByteBuffer from, ByteBuffer to) {
    int bytes = Math.min(from.remaining(), to.remaining());
    to.put(to.position(), from, from.position(), bytes);
    from.position(from.position() + bytes);
    to.position(to.position() + bytes);
  }

  private void seal(long address, int bytes) throws IOException {
    while (true) {
      synchronized (lock) {
        if (engine.seal(address, bytes)) {
          return;
        }
      }
      send();
    }
  }

  @Override
  public boolean hasRoom() {
    return transport.hasRoom();
  }

  @Override
  public void stopReading() {
    try {
      transport.shutdownInput();
    } catch (IOException e) {
      // Then it is over already.
    }
  }

  @Override
  public void close() {
    synchronized (lock) {
      if (closed) {
        return; // or somebody else's by now
      }
      closed = true;
      freeIfUnused();
    }
    transport.close();
  }
}
