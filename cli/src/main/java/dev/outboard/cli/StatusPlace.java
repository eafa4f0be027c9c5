// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.channel.LinkException;
import dev.outboard.channel.ServiceStatus;
import dev.outboard.relay.Identity;
import dev.outboard.relay.PeerKey;
import dev.outboard.relay.StatusLink;
import dev.outboard.relay.TcpAddress;
import dev.outboard.relay.TcpHost;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A service that can be asked what it does. One thread. */
sealed interface StatusPlace extends AutoCloseable {
  /**
   * Asks, and waits for the answer.
   *
   * @throws LinkException if there is none; another question may be answered
   */
  ServiceStatus ask() throws LinkException;

  @Override
  void close();

  /** At a socket of this machine's. */
  record Near(Path socket) implements StatusPlace {
    @Override
    public ServiceStatus ask() throws LinkException {
      return ServiceStatus.ask(socket);
    }

    @Override
    public void close() {}
  }

  /** On another machine: one connection for all questions, as long as it lasts. */
  final class Far implements StatusPlace {
    private final TcpAddress address;
    private final Identity identity;
    private final KeyFiles keys;
    private @Nullable StatusLink link;

    /**
     * @throws Failure if this machine has no key
     */
    Far(TcpAddress address, KeyFiles keys) {
      this.address = address;
      this.identity = keys.requireIdentity();
      this.keys = keys;
    }

    @Override
    public ServiceStatus ask() throws LinkException {
      StatusLink now = link;
      if (now == null) {
        List<PeerKey> known = keys.keysOf(address);
        now = TcpHost.status(address, identity, known);
        link = now;
      }
      try {
        return now.ask();
      } catch (LinkException e) {
        close();
        throw e;
      }
    }

    @Override
    public void close() {
      StatusLink now = link;
      if (now != null) {
        now.close();
        link = null;
      }
    }
  }
}
