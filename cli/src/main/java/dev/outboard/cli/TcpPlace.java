// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.relay.Identity;
import dev.outboard.relay.PeerKey;
import dev.outboard.relay.TcpAddress;
import dev.outboard.relay.TcpDevice;
import dev.outboard.service.Service;
import dev.outboard.service.ServiceException;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.channels.UnresolvedAddressException;
import java.time.Duration;
import java.util.List;

/**
 * Where a service listens for hosts on other machines: {@code --listen tcp:[ADDR:]PORT}.
 *
 * @param text as the user wrote it
 * @param address what it means
 * @param identity this machine's
 * @param keys of those who may come
 * @param patience how long at most a session is kept without a connection
 */
record TcpPlace(
    String text, InetSocketAddress address, Identity identity, KeyFiles keys, Duration patience) {
  /** What such a place begins with. */
  static final String TCP = "tcp:";

  static final String RECONNECT = "--reconnect";
  private static final Duration DEFAULT_RECONNECT = Duration.ofMinutes(10);

  /**
   * @param listen begins with {@link #TCP}
   * @throws Failure if it makes no sense, or if this user has no key here
   */
  static TcpPlace of(String listen, Arguments arguments, Syntax syntax) {
    String place = listen.substring(TCP.length());
    boolean everywhere = place.indexOf(':') < 0;
    TcpAddress at = TcpAddress.parse(everywhere ? "any:" + place : place);
    if (at == null) {
      throw syntax.usageError("--listen takes tcp:[ADDR:]PORT, not '" + listen + "'");
    }
    String reconnect = arguments.value(RECONNECT);
    KeyFiles keys = KeyFiles.ofThisUser();
    return new TcpPlace(
        listen,
        everywhere ? new InetSocketAddress(at.port()) : new InetSocketAddress(at.host(), at.port()),
        keys.requireIdentity(),
        keys,
        reconnect == null ? DEFAULT_RECONNECT : Durations.parse(RECONNECT, reconnect, syntax));
  }

  /**
   * Begins to listen; hosts that may come get sessions of the service.
   *
   * @throws Failure if that cannot be listened at
   */
  TcpDevice listen(Service service, Terminal terminal) {
    try {
      TcpDevice device =
          TcpDevice.listen(
              address, identity, this::known, host -> open(service, host), patience, terminal::say);
      if (keys.authorizedHosts().isEmpty()) {
        terminal.say(
            "no host may come yet; with the line that 'outboard keys' prints there: outboard keys"
                + " add KEY");
      }
      return device;
    } catch (IOException | UnresolvedAddressException e) {
      String why = e.getMessage() == null ? "there is no such address" : e.getMessage();
      throw new Failure("cannot listen at " + text + ": " + why);
    }
  }

  private List<PeerKey> known() throws IOException {
    try {
      return keys.authorizedHosts();
    } catch (Failure e) {
      throw new IOException(String.valueOf(e.getMessage()).replace('\n', ' '), e);
    }
  }

  private static int open(Service service, String host) throws IOException {
    try {
      return service.open(host);
    } catch (ServiceException e) {
      throw new IOException(e.getMessage(), e);
    }
  }
}
