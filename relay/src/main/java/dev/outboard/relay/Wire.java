// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;

/**
 * A connected stream of bytes to the other end of a session, whatever it is made of.
 *
 * <p>One thread reads, one at a time writes; {@link #stop} may be called by any thread and makes
 * both return. All block the thread that calls them, but for {@link #offer}. The reader does not
 * write otherwise: who writes may have to wait for what is read.
 */
public interface Wire extends AutoCloseable {
  /**
   * Reads what has come, at least one byte.
   *
   * @param into a direct buffer with room
   * @return how many bytes, or -1 if the other end has closed the stream
   * @throws IOException if the stream has failed, or was stopped
   */
  int read(ByteBuffer into) throws IOException;

  /**
   * Writes all of a direct buffer.
   *
   * @throws IOException if the stream has failed, or was stopped
   */
  void write(ByteBuffer from) throws IOException;

  /**
   * Takes all of a direct buffer, which may stay here until the next {@link #write} by whomever, or
   * {@link #push}. The caller calls that, or {@link #keep}, before it waits for anything.
   *
   * @throws IOException as {@link #write}
   */
  default void put(ByteBuffer from) throws IOException {
    write(from);
  }

  /** Whether {@link #put} costs no more than copying: what is to go together need not be one. */
  default boolean gathers() {
    return false;
  }

  /**
   * Sends what {@link #put} has left here.
   *
   * @throws IOException as {@link #write}
   */
  default void push() throws IOException {}

  /** Sends what {@link #put} has left here within a few milliseconds, if nothing else does. */
  default void keep() {}

  /**
   * Takes all of a direct buffer if it need not wait for anybody, and sends it, or has it sent
   * soon: for who reads.
   *
   * @return false if it has taken nothing
   */
  default boolean offer(ByteBuffer from) {
    return false;
  }

  /** Whether {@link #offer} would take so many bytes now. */
  default boolean offers(int bytes) {
    return false;
  }

  /**
   * Lets the other end have what was written so far, then ends the stream as {@link #stop} does;
   * what is written from here on is lost. Does not wait.
   */
  default void finish() {
    stop();
  }

  /**
   * Is called now and then, and asks whether the stream itself sees to it that the other end is
   * there.
   *
   * @param limit how long the other end may be silent
   * @return false if that is the caller's to do
   */
  default boolean silent(Duration limit) {
    return false;
  }

  /**
   * Writing has failed, as it does once the other end has gone: nothing more is written, and what
   * the other end said last can still be read, where the stream allows that. Its end comes by
   * itself, or by {@link #stop}. Does not wait.
   */
  default void writingFailed() {
    stop();
  }

  /** Ends both directions: who reads or writes comes back. Repeatable. */
  void stop();

  /** Gives back what the stream holds. The reader must be out, or be the caller. */
  @Override
  void close();
}
