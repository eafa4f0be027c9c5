// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.io.IOException;
import java.security.GeneralSecurityException;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A session of a host that comes by TCP, in the process of its kernel. Its connections come here
 * from the {@link TcpDevice} that has made sure whose they are, with a key for each and that of the
 * host; TLS begins anew on them.
 *
 * <p>Any thread may call any method, but for {@link #begin}, which is called once.
 */
public final class CarriedSession {
  /** How long a connection may take until it can be used. */
  private static final Duration HANDSHAKE = Duration.ofSeconds(10);

  private final Duration patience;
  private final Consumer<String> log;
  private final Renewal renewal = new Connections();

  // Guarded by this.
  private @Nullable ResumableWire wire;
  private @Nullable TlsConnection greeted;
  private @Nullable Arrived arrived;
  private String failure = "";
  private boolean over;

  /** There was a connection that could be used. */
  private boolean begun;

  /**
   * A connection that can be used.
   *
   * @param peerReceived bytes of the stream that the host has received
   */
  private record Arrived(TlsConnection connection, long peerReceived) {}

  /**
   * @param patience how long the session is kept without a connection
   * @param log is told how the link fares
   */
  public CarriedSession(Duration patience, Consumer<String> log) {
    this.patience = patience;
    this.log = log;
  }

  /**
   * Begins with a connection, or goes on with it if it is not the first. Returns at once.
   *
   * @param fd a connected TCP socket; this object's from here on
   * @param ownKey this end's for the connection: a private key as PKCS #8 in Base64
   * @param hostKey the host's for it, as {@link PeerKey#base64} says
   */
  public void connect(int fd, String ownKey, String hostKey) {
    DescriptorTransport transport = new DescriptorTransport(fd);
    TlsConnection made;
    try {
      PeerKey host = new PeerKey(hostKey, "");
      Identity own = Identity.of(Base64.getDecoder().decode(ownKey));
      made = TlsConnection.over(transport, new Trust(List.of(host)), own, false);
    } catch (IOException | GeneralSecurityException | RuntimeException e) {
      transport.close();
      failed(e);
      return;
    }
    TlsConnection before;
    synchronized (this) {
      before = greeted;
      greeted = made;
      if (over) {
        made.close();
        return;
      }
    }
    if (before != null) {
      before.close(); // The host has given it up, or there would not be another.
    }
    Thread.ofPlatform().daemon().name("tcp-link").start(() -> greet(made));
  }

  private void greet(TlsConnection made) {
    Deadline deadline = new Deadline(HANDSHAKE, made::close);
    try {
      made.handshake();
      long peerReceived = Opening.receiveReceived(made);
      deadline.met();
      arrives(new Arrived(made, peerReceived));
    } catch (IOException | RuntimeException e) {
      deadline.met();
      made.close();
      failed(e);
    }
  }

  private void arrives(Arrived next) {
    ResumableWire current;
    Connection before;
    synchronized (this) {
      if (next.connection().equals(greeted)) {
        greeted = null;
      }
      current = wire;
      // Not later: another one may be in its place then, which is newer than this.
      before = current == null ? null : current.connection();
      if (over || isOld(next)) {
        next.connection().close();
        return;
      }
      if (arrived != null) {
        arrived.connection().close();
      }
      arrived = next;
      begun = true;
      notifyAll();
    }
    if (current != null && before != null) {
      // This end may not have noticed yet that it is of no use any more.
      current.breaks(before, "the host has made another connection");
    }
  }

  private synchronized void failed(Exception e) {
    String message = e.getMessage();
    if (!begun) {
      failure = message == null ? e.getClass().getSimpleName() : message;
      over = true; // The host begins another session, if at all.
      notifyAll();
    }
  }

  /**
   * Whether a connection was made before one over which the host has said to have more: the network
   * has brought it late, and its host has given it up.
   */
  private synchronized boolean isOld(Arrived other) {
    return wire != null && other.peerReceived() < wire.acknowledged();
  }

  /**
   * Waits for the first connection.
   *
   * @return the stream, which lives on for {@code patience} when its connection has broken; the
   *     caller's
   * @throws IOException if none can be used
   */
  public Wire begin() throws IOException {
    Arrived first = await(2 * HANDSHAKE.toNanos() + System.nanoTime(), "the host does not go on");
    Opening.sendReceived(first.connection(), 0);
    ResumableWire made = new ResumableWire(first.connection(), renewal, patience, new Told());
    boolean closed;
    synchronized (this) {
      wire = made;
      closed = over;
    }
    if (closed) {
      made.close();
      throw new IOException("closed on this side");
    }
    return made;
  }

  private synchronized Arrived await(long deadline, String late) throws IOException {
    while (arrived == null) {
      long left = deadline - System.nanoTime();
      if (over || left <= 0) {
        String why = !over ? late : failure.isEmpty() ? "closed on this side" : failure;
        over = true;
        throw new IOException(why);
      }
      try {
        TimeUnit.NANOSECONDS.timedWait(this, left);
      } catch (InterruptedException e) {
        throw new IOException("interrupted", e);
      }
    }
    Arrived next = arrived;
    arrived = null;
    return next;
  }

  /** Ends the stream, if there is one, and takes no more connections. Repeatable. */
  public void close() {
    renewal.abandon();
    ResumableWire current;
    synchronized (this) {
      current = wire;
    }
    if (current != null) {
      current.stop();
    }
  }

  /** Where the stream's next connection comes from. */
  private final class Connections implements Renewal {
    @Override
    public Renewed renew(long received, long deadline) throws IOException {
      while (true) {
        Arrived next =
            await(
                deadline, "the host did not come back within " + patience.toMillis() / 1e3 + " s");
        if (isOld(next)) {
          next.connection().close(); // what the host said since has come meanwhile
          continue;
        }
        Deadline sending = new Deadline(HANDSHAKE, next.connection()::close);
        try {
          Opening.sendReceived(next.connection(), received);
          return new Renewed(next.connection(), next.peerReceived());
        } catch (IOException e) {
          next.connection().close(); // it will try again
        } finally {
          sending.met();
        }
      }
    }

    @Override
    public void abandon() {
      synchronized (CarriedSession.this) {
        over = true;
        if (arrived != null) {
          arrived.connection().close();
          arrived = null;
        }
        if (greeted != null) {
          greeted.close();
        }
        CarriedSession.this.notifyAll();
      }
    }
  }

  private final class Told implements LinkEvents {
    @Override
    public void broken(String why) {
      log.accept(why + "; the session is kept for " + patience.toMillis() / 1e3 + " s");
    }

    @Override
    public void resumed(Duration down, long bytesAgain) {
      log.accept("goes on after %d ms; %d bytes again".formatted(down.toMillis(), bytesAgain));
    }
  }
}
