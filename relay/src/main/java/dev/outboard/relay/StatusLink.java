// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.channel.FrameCodec;
import dev.outboard.channel.LinkException;
import dev.outboard.channel.ServiceFrame;
import dev.outboard.channel.ServiceStatus;
import java.io.IOException;
import java.time.Duration;

/**
 * A host's connection to a device that is asked what it does, as often as one likes; see {@link
 * TcpHost#status}. One thread at a time. A device that is silent for long is given up.
 */
public final class StatusLink implements AutoCloseable {
  private static final Duration ANSWER = Duration.ofSeconds(10);

  private final TlsConnection connection;
  private final ConnectionFrames frames;
  private final String at;
  private long questions;

  /**
   * @param connection open for questions; owned by this object
   * @param at where it leads, for people
   */
  StatusLink(TlsConnection connection, String at) {
    this.connection = connection;
    this.frames = new ConnectionFrames(connection, FrameCodec.MAX_BYTES);
    this.at = at;
  }

  /**
   * Asks, and waits for the answer.
   *
   * @throws LinkException if there is none; this link is of no use any more then
   */
  public ServiceStatus ask() throws LinkException {
    Deadline deadline = new Deadline(ANSWER, connection::close);
    try {
      frames.send(new ServiceFrame.StatusRequest(++questions));
      return ServiceStatus.receive(frames::receive, at);
    } catch (LinkException e) {
      throw deadline.passed() ? late(e) : e;
    } catch (IOException e) {
      throw deadline.passed()
          ? late(e)
          : new LinkException(at + " closed the connection: " + e.getMessage() + ".", e);
    } finally {
      deadline.met();
    }
  }

  private LinkException late(Exception e) {
    return new LinkException(at + " has not answered within " + ANSWER.toSeconds() + " s.", e);
  }

  @Override
  public void close() {
    connection.close();
  }
}
