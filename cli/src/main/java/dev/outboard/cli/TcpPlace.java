// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.channel.ConnectionTaker;
import dev.outboard.channel.ServiceStatus;
import dev.outboard.channel.SessionFate;
import dev.outboard.relay.Identity;
import dev.outboard.relay.PeerKey;
import dev.outboard.relay.TcpAddress;
import dev.outboard.relay.TcpDevice;
import dev.outboard.service.Asking;
import dev.outboard.service.Guest;
import dev.outboard.service.Service;
import dev.outboard.service.ServiceException;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.channels.UnresolvedAddressException;
import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;

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
              address, identity, this::known, sessions(service), patience, terminal::say);
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

  private TcpDevice.Sessions sessions(Service service) {
    return new TcpDevice.Sessions() {
      @Override
      public ConnectionTaker open(
          PeerKey host, String name, @Nullable String share, Duration kept, SessionFate fate)
          throws IOException {
        try {
          return service.open(guest(host, name), share, kept, fate);
        } catch (ServiceException e) {
          throw new IOException(e.getMessage(), e);
        }
      }

      @Override
      public TcpDevice.Questions ask(PeerKey host, String name) throws IOException {
        try {
          return questions(service.ask(guest(host, name), operator(host)), host);
        } catch (ServiceException e) {
          throw new IOException(e.getMessage(), e);
        }
      }
    };
  }

  /** The files of keys say at each question what the host may know then. */
  private TcpDevice.Questions questions(Asking asking, PeerKey host) {
    return new TcpDevice.Questions() {
      @Override
      public ServiceStatus answer() throws IOException {
        return asking.status(operator(host));
      }

      @Override
      public void close() {
        asking.close();
      }
    };
  }

  private static Guest guest(PeerKey host, String name) {
    return new Guest(host.base64(), name);
  }

  /** Whether it may know what other hosts do; refuses one that may not even come any more. */
  private boolean operator(PeerKey host) throws IOException {
    try {
      for (KeyFiles.Host known : keys.hosts()) {
        if (known.key().sameKey(host)) {
          return known.operator();
        }
      }
    } catch (Failure e) {
      throw new IOException("who may know what cannot be read now", e);
    }
    throw new IOException("this host may not come any more");
  }
}
