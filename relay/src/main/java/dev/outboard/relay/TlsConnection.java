// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.io.EOFException;
import java.io.IOException;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;

/**
 * A connection by TLS.
 *
 * <p>The engine is used by the reader and a writer at a time, and never while it is waited for the
 * socket.
 */
final class TlsConnection implements Connection {
  /** Several records of TLS, 16 KiB and a little each: so many cross in one system call. */
  private static final int BUFFER_BYTES = 144 * 1024;

  private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

  private final SocketChannel channel;
  private final SSLEngine engine;

  // The JDK's ciphers work on a record as a whole where it is in an array; what is beyond the heap
  // they copy to arrays and back, 512 bytes at a time. So records are in arrays. What a system call
  // carries is copied by us: the JDK would keep a buffer for each thread that writes.

  // The reader's.
  private final ByteBuffer socketIn = ByteBuffer.allocateDirect(BUFFER_BYTES);
  private final ByteBuffer cipherIn = ByteBuffer.allocate(BUFFER_BYTES);
  private final ByteBuffer plainIn = ByteBuffer.allocateDirect(BUFFER_BYTES).flip();
  private boolean over;

  // The writer's.
  private final ByteBuffer cipherOut = ByteBuffer.allocate(BUFFER_BYTES);
  private final ByteBuffer socketOut = ByteBuffer.allocateDirect(BUFFER_BYTES);
  private final ByteBuffer[] pair = {NOTHING, NOTHING};

  /**
   * @param channel connected and blocking; owned by this object from here on
   * @param engine fresh
   */
  TlsConnection(SocketChannel channel, SSLEngine engine) throws IOException {
    this.channel = channel;
    this.engine = engine;
    channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
  }

  /**
   * Agrees on keys with the other end, before anything is read or written. Takes as long as the
   * other end does: the caller closes the connection when that is too long.
   *
   * @throws SSLException if one of the two ends does not accept the other, or does not speak TLS
   */
  void handshake() throws IOException {
    try {
      engine.beginHandshake();
      HandshakeStatus status = engine.getHandshakeStatus();
      while (status != HandshakeStatus.NOT_HANDSHAKING && status != HandshakeStatus.FINISHED) {
        status =
            switch (status) {
              case NEED_TASK -> runTasks();
              case NEED_WRAP -> wrap();
              default -> unwrap();
            };
      }
    } catch (SSLException e) {
      sendAlert();
      throw e;
    }
  }

  private HandshakeStatus runTasks() {
    for (Runnable task; (task = engine.getDelegatedTask()) != null; ) {
      task.run();
    }
    return engine.getHandshakeStatus();
  }

  /** Sends what the engine itself has to say. */
  private HandshakeStatus wrap() throws IOException {
    cipherOut.clear();
    SSLEngineResult result = engine.wrap(NOTHING, cipherOut);
    send();
    if (result.getStatus() == SSLEngineResult.Status.CLOSED) {
      throw new EOFException("the other side closed the connection");
    }
    return result.getHandshakeStatus();
  }

  private HandshakeStatus unwrap() throws IOException {
    cipherIn.flip();
    plainIn.clear();
    SSLEngineResult result;
    try {
      result = engine.unwrap(cipherIn, plainIn);
    } finally {
      cipherIn.compact();
      plainIn.flip();
    }
    switch (result.getStatus()) {
      case BUFFER_UNDERFLOW -> fill();
      case CLOSED -> throw new EOFException("the other side closed the connection");
      default -> {}
    }
    HandshakeStatus status = result.getHandshakeStatus();
    return status == HandshakeStatus.FINISHED ? status : engine.getHandshakeStatus();
  }

  private void fill() throws IOException {
    if (!receive()) {
      throw new EOFException("the other side closed the connection");
    }
  }

  /** Reads what comes into {@link #cipherIn}, which has room; false at the end. */
  private boolean receive() throws IOException {
    socketIn.clear().limit(cipherIn.remaining());
    if (channel.read(socketIn) < 0) {
      return false;
    }
    cipherIn.put(socketIn.flip());
    return true;
  }

  /** The other end is to know why; it may be slow or gone. */
  private void sendAlert() {
    try {
      for (int i = 0; i < 4 && engine.getHandshakeStatus() == HandshakeStatus.NEED_WRAP; i++) {
        wrap();
      }
    } catch (IOException e) {
      // It will not know, then.
    }
  }

  /**
   * Before {@link #close}, where the other end is to get what was sent last: waits until it has
   * closed the connection. The caller sees to it that this does not take long.
   */
  void drain() {
    try {
      channel.shutdownOutput();
      do {
        cipherIn.clear();
      } while (receive());
    } catch (IOException e) {
      // That is as good.
    }
  }

  @Override
  public @Nullable ByteBuffer read() throws IOException {
    if (plainIn.hasRemaining()) {
      return plainIn;
    }
    plainIn.clear();
    try {
      while (!over) {
        if (decrypt()) {
          break;
        }
        if (!over && !receive()) {
          over = true;
        }
      }
    } finally {
      plainIn.flip();
    }
    return plainIn.hasRemaining() ? plainIn : null;
  }

  /** Decrypts what is there and whole; whether that was any bytes. */
  private boolean decrypt() throws IOException {
    cipherIn.flip();
    try {
      while (cipherIn.hasRemaining()) {
        SSLEngineResult result = engine.unwrap(cipherIn, plainIn);
        if (result.getHandshakeStatus() == HandshakeStatus.NEED_TASK) {
          runTasks();
        }
        if (result.getStatus() == SSLEngineResult.Status.CLOSED) {
          over = true;
          break;
        }
        if (result.getStatus() != SSLEngineResult.Status.OK) {
          break; // not whole, or no more room
        }
        if (result.bytesConsumed() == 0 && result.bytesProduced() == 0) {
          // Nothing is read before something is said; a new key is told so. Rare enough.
          throw new SSLException("the connection has to agree on new keys first");
        }
      }
    } finally {
      cipherIn.compact();
    }
    return plainIn.position() > 0;
  }

  @Override
  public void write(ByteBuffer first, ByteBuffer second) throws IOException {
    pair[0] = first;
    pair[1] = second;
    int record = engine.getSession().getPacketBufferSize();
    do {
      cipherOut.clear();
      do {
        if (engine.wrap(pair, cipherOut).getStatus() != SSLEngineResult.Status.OK) {
          throw new EOFException("the other side closed the connection");
        }
      } while ((first.hasRemaining() || second.hasRemaining()) && cipherOut.remaining() >= record);
      send();
    } while (first.hasRemaining() || second.hasRemaining());
  }

  private void send() throws IOException {
    socketOut.clear().put(cipherOut.flip()).flip();
    while (socketOut.hasRemaining()) {
      channel.write(socketOut);
    }
  }

  @Override
  public void stopReading() {
    try {
      channel.shutdownInput();
    } catch (IOException e) {
      // Then it is over already.
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      // There is nothing else that one could do to it.
    }
  }
}
