// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.channel.Decoded;
import dev.outboard.channel.Frame;
import dev.outboard.channel.ServiceFrame;
import dev.outboard.channel.ServiceStatus;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The device's end of a connection on which a host asks what the device does. The host may be
 * hostile: it is heard in frames of one length, is answered so often and no oftener, and does not
 * keep the connection by silence, nor by not taking what it has asked for.
 */
final class StatusTeller {
  /** A question's, which no other frame that is due here exceeds. */
  private static final int MOST_BYTES = 16;

  /** How long it may take to fetch an answer. */
  private static final Duration ANSWER = Duration.ofSeconds(10);

  private static final Duration FAREWELL = Duration.ofSeconds(1);

  /** From one answer to the next. */
  private static final long PACE_NANOS = TimeUnit.MILLISECONDS.toNanos(100);

  private final TlsConnection connection;
  private final ConnectionFrames frames;
  private final Duration silence;

  /**
   * @param connection answered, and nothing said since; the caller's to close
   * @param silence how long it may ask nothing
   */
  StatusTeller(TlsConnection connection, Duration silence) {
    this.connection = connection;
    this.frames = new ConnectionFrames(connection, MOST_BYTES);
    this.silence = silence;
  }

  /**
   * Answers until the connection ends.
   *
   * @return why it has, for a log
   */
  String tell(TcpDevice.Questions questions) {
    long next = System.nanoTime();
    while (true) {
      Deadline deadline = new Deadline(silence, connection::stopReading);
      Decoded asked = frames.receive();
      deadline.met();
      if (deadline.passed()) {
        return leave("nothing was asked for " + silence.toMillis() / 1e3 + " s");
      }
      switch (asked) {
        case Decoded.Received(ServiceFrame.StatusRequest(long id)) -> {
          String over = pause(next);
          next = System.nanoTime() + PACE_NANOS;
          if (over == null) {
            over = answer(questions, id);
          }
          if (over != null) {
            return over;
          }
        }
        case Decoded.Received(Frame other) -> {
          return leave(other.getClass().getSimpleName() + " is no question");
        }
        case Decoded.Malformed(String why) -> {
          return leave(why);
        }
        case Decoded.Ended(String why) -> {
          return why;
        }
      }
    }
  }

  private static @Nullable String pause(long until) {
    try {
      long left = until - System.nanoTime();
      if (left > 0) {
        TimeUnit.NANOSECONDS.sleep(left);
      }
      return null;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return "interrupted";
    }
  }

  /** Null, or why that was the last one. */
  private @Nullable String answer(TcpDevice.Questions questions, long id) {
    ServiceStatus status;
    try {
      status = questions.answer();
    } catch (IOException e) {
      return leave(String.valueOf(e.getMessage()));
    }
    Deadline deadline = new Deadline(ANSWER, connection::close);
    try {
      frames.send(status.service());
      for (ServiceFrame.KernelStatus kernel : status.kernels()) {
        frames.send(kernel.answering(id));
      }
      return null;
    } catch (IOException e) {
      return deadline.passed()
          ? "it does not take its answer"
          : "the connection failed: " + e.getMessage();
    } finally {
      deadline.met();
    }
  }

  /** The other end is to know why, if it listens. */
  private String leave(String why) {
    Deadline deadline = new Deadline(FAREWELL, connection::close);
    try {
      frames.send(new Frame.Bye(why));
      connection.drain();
    } catch (IOException e) {
      // It is gone, then.
    } finally {
      deadline.met();
    }
    return why;
  }
}
