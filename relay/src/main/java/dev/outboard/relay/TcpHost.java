// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.channel.LinkException;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The host's end of a link by TCP and TLS to a {@link TcpDevice}: connects, and connects again when
 * the connection has broken.
 */
public final class TcpHost {
  /** How long one attempt to go on may take, from the connection to the device's answer. */
  private static final Duration ATTEMPT = Duration.ofSeconds(10);

  /** The same for the first: the device may have to start a kernel before it answers. */
  private static final Duration BEGINNING = Duration.ofMinutes(2);

  private static final Duration CONNECT = Duration.ofSeconds(10);
  private static final long FIRST_PAUSE_MILLIS = 20;
  private static final long LONGEST_PAUSE_MILLIS = 1000;

  private final TcpAddress address;
  private final Identity identity;
  private final List<PeerKey> known;

  private TcpHost(TcpAddress address, Identity identity, List<PeerKey> known) {
    this.address = address;
    this.identity = identity;
    this.known = List.copyOf(known);
  }

  /**
   * A stream to a device.
   *
   * @param wire to be closed by its user
   * @param patience how long after a break the stream can be taken up again: as was asked for, or
   *     less
   */
  public record Stream(Wire wire, Duration patience) {}

  /**
   * Connects to a device and begins a stream.
   *
   * @param known keys of which the device must hold one
   * @param patience how long the stream is to live on without a connection; zero: not at all
   * @param share the kernel of a service that the session is to share with others; null for none
   * @throws LinkException if there is no such device, or one of the two does not know the other
   */
  public static Stream connect(
      TcpAddress address,
      Identity identity,
      List<PeerKey> known,
      Duration patience,
      @Nullable String share,
      LinkEvents events)
      throws LinkException {
    TcpHost host = new TcpHost(address, identity, known);
    Attempt attempt = host.new Attempt();
    Opening.Answer answer;
    try {
      answer =
          attempt.carry(
              Opening.Kind.BEGIN, patience, Opening.NONE, share == null ? "" : share, 0, BEGINNING);
    } catch (Failed e) {
      throw new LinkException(String.valueOf(e.getMessage()), e);
    }
    Duration granted = answer.patience().compareTo(patience) < 0 ? answer.patience() : patience;
    return new Stream(
        new ResumableWire(
            attempt.connection(), host.new Again(answer.stream(), granted), granted, events),
        granted);
  }

  /**
   * Connects to a device to ask what it does.
   *
   * @param known keys of which the device must hold one
   * @throws LinkException as for {@link #connect}; also if the device tells nobody on another
   *     machine
   */
  public static StatusLink status(TcpAddress address, Identity identity, List<PeerKey> known)
      throws LinkException {
    TcpHost host = new TcpHost(address, identity, known);
    Attempt attempt = host.new Attempt();
    try {
      attempt.ask();
    } catch (Failed e) {
      throw new LinkException(String.valueOf(e.getMessage()), e, e.last || e.unwelcome);
    }
    return new StatusLink(attempt.connection(), host.at());
  }

  /** Why an attempt was in vain: one sentence for the user. */
  private static final class Failed extends Exception {
    private static final long serialVersionUID = 1L;

    private final boolean last;
    private final boolean late;

    /** One of the two ends does not know the other's key; its user may change that. */
    private final boolean unwelcome;

    /**
     * Made of what is wrong.
     *
     * @param last whether another attempt would be in vain, too
     */
    Failed(String message, boolean last) {
      this(message, last, false);
    }

    private Failed(String message, boolean last, boolean unwelcome) {
      super(message);
      this.last = last;
      this.late = false;
      this.unwelcome = unwelcome;
    }

    private Failed(Duration limit, String at) {
      super(at + " has not answered within %.1f s.".formatted(limit.toMillis() / 1e3));
      this.last = false;
      this.late = true;
      this.unwelcome = false;
    }
  }

  /** Takes up a stream that has begun. */
  private final class Again implements Renewal {
    private final String stream;
    private final Duration patience;

    // Guarded by this.
    private @Nullable Attempt current;
    private boolean abandoned;

    Again(String stream, Duration patience) {
      this.stream = stream;
      this.patience = patience;
    }

    @Override
    public Renewed renew(long received, long deadline) throws IOException {
      String why = "";
      for (long pause = FIRST_PAUSE_MILLIS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MILLIS)) {
        long left = deadline - System.nanoTime();
        if (left <= 0) {
          throw new IOException("within %.1f s: %s".formatted(patience.toMillis() / 1e3, why));
        }
        Attempt attempt = begin();
        try {
          attempt.carry(
              Opening.Kind.GO_ON,
              patience,
              stream,
              "",
              received,
              Duration.ofNanos(Math.min(left, ATTEMPT.toNanos())));
          succeeded();
          return new Renewed(attempt.connection(), attempt.peerReceived());
        } catch (Failed e) {
          // The last one may have had too little time to find out anything.
          if (!e.late || why.isEmpty()) {
            why = String.valueOf(e.getMessage());
          }
          if (e.last) {
            throw new IOException(why, e);
          }
        }
        pause(Math.min(pause, TimeUnit.NANOSECONDS.toMillis(left) + 1));
      }
    }

    private synchronized Attempt begin() throws IOException {
      if (abandoned) {
        throw new IOException("closed on this side");
      }
      Attempt attempt = new Attempt();
      current = attempt;
      return attempt;
    }

    /** The connection is the stream's from here on, which has something to say on it at its end. */
    private synchronized void succeeded() {
      current = null;
    }

    private synchronized void pause(long millis) throws IOException {
      long until = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis);
      for (long left; !abandoned && (left = until - System.nanoTime()) > 0; ) {
        try {
          TimeUnit.NANOSECONDS.timedWait(this, left);
        } catch (InterruptedException e) {
          throw new IOException("interrupted", e);
        }
      }
    }

    @Override
    public synchronized void abandon() {
      abandoned = true;
      if (current != null) {
        current.close();
      }
      notifyAll();
    }
  }

  /** One connection to be, up to the device's answer. */
  private final class Attempt {
    private final Trust trust = new Trust(known);

    // Guarded by this.
    private @Nullable SocketChannel channel;
    private @Nullable TlsConnection connection;
    private boolean closed;

    // Of who opens it.
    private long peerReceived;

    synchronized void close() {
      closed = true;
      if (connection != null) {
        connection.close();
        return;
      }
      try {
        if (channel != null) {
          channel.close();
        }
      } catch (IOException e) {
        // It is of no use either way.
      }
    }

    synchronized TlsConnection connection() {
      if (connection == null) {
        throw new IllegalStateException("there was no answer");
      }
      return connection;
    }

    private synchronized SocketChannel channel() throws IOException {
      if (closed) {
        throw new IOException("closed on this side");
      }
      SocketChannel made = SocketChannel.open();
      channel = made;
      return made;
    }

    /** How much of the stream the device has received. */
    long peerReceived() {
      return peerReceived;
    }

    /** Connects, and asks what the device does. */
    void ask() throws Failed {
      open(
          new Opening.Request(Opening.Kind.STATUS, Duration.ZERO, Opening.NONE, null, ""),
          ATTEMPT,
          null,
          0);
    }

    /**
     * Connects, and begins a stream or goes on with one.
     *
     * @param received how much of it has come here
     */
    Opening.Answer carry(
        Opening.Kind kind,
        Duration patience,
        String stream,
        String share,
        long received,
        Duration limit)
        throws Failed {
      Identity own = Identity.create("");
      return open(
          new Opening.Request(kind, patience, stream, own.key(), share), limit, own, received);
    }

    /**
     * @param own what this end shows behind the answer; null if nothing follows
     */
    private Opening.Answer open(
        Opening.Request request, Duration limit, @Nullable Identity own, long received)
        throws Failed {
      boolean done = false;
      Deadline deadline = new Deadline(limit, this::close);
      try {
        TlsConnection made = connect(limit);
        boolean known = false;
        Opening.Answer answer = null;
        try {
          made.handshake();
          known = true;
          Opening.send(made, request);
          answer = Opening.receiveAnswer(made, request.kind());
          if (own != null && answer.key() != null) {
            begin(made, own, answer.key(), received);
          }
        } catch (IOException e) {
          throw deadline.passed()
              ? new Failed(limit, at())
              : !known ? distrust(e) : answer == null ? refusal(e) : closed(e);
        }
        if (answer.status() != Opening.OK) {
          throw new Failed(refusal(request, answer), answer.status() != Opening.NOT_NOW);
        }
        if (answer.version() < Opening.LOWEST_VERSION
            || answer.version() > Opening.HIGHEST_VERSION) {
          throw new Failed(versions("version " + answer.version()), true);
        }
        done = true;
        return answer;
      } finally {
        deadline.met();
        if (!done) {
          close();
        }
      }
    }

    /** Begins TLS anew, with what the two ends have told each other to expect. */
    private void begin(TlsConnection before, Identity own, PeerKey other, long received)
        throws IOException {
      TlsConnection made;
      synchronized (this) {
        Transport transport = before.release();
        made = TlsConnection.over(transport, new Trust(List.of(other)), own, true);
        connection = made;
      }
      made.handshake();
      Opening.sendReceived(made, received);
      peerReceived = Opening.receiveReceived(made);
    }

    private TlsConnection connect(Duration limit) throws Failed {
      try {
        InetSocketAddress to = new InetSocketAddress(address.host(), address.port());
        if (to.isUnresolved()) {
          throw new Failed("There is no machine called " + address.host() + ".", false);
        }
        SocketChannel socket = channel();
        socket
            .socket()
            .connect(to, (int) Math.max(1, Math.min(limit.toMillis(), CONNECT.toMillis())));
        return connection(socket);
      } catch (ConnectException e) {
        throw new Failed(
            "Nothing listens at "
                + at()
                + "; start a device there with: outboard device --listen tcp:"
                + address.port(),
            false);
      } catch (IOException e) {
        throw new Failed("No connection to " + at() + ": " + message(e) + ".", false);
      }
    }

    private synchronized TlsConnection connection(SocketChannel socket) throws IOException {
      TlsConnection made = new TlsConnection(socket, trust, identity, true);
      connection = made;
      return made;
    }

    /** Why the two ends have not come to terms. */
    private Failed distrust(IOException e) {
      PeerKey seen = trust.seen();
      if (trust.matched() != null || seen == null) {
        return new Failed(
            e instanceof TlsException
                ? "What listens at "
                    + at()
                    + " does not speak TLS as a device does ("
                    + message(e)
                    + "): is it 'outboard device --listen tcp:"
                    + address.port()
                    + "'?"
                : at() + " closed the connection: " + message(e) + ".",
            false);
      }
      if (known.isEmpty()) {
        return new Failed(
            "The device at "
                + at()
                + " is not known to this machine. Its key is "
                + seen.fingerprint()
                + ".\nIf 'outboard keys' prints the same there, trust it with: outboard keys add "
                + address
                + " "
                + seen.line(),
            false,
            true);
      }
      return new Failed(
          "The device at "
              + at()
              + " has another key than the one that is trusted: it may be somebody else's!"
              + "\nIt shows "
              + seen.fingerprint()
              + ", expected is "
              + known.getFirst().fingerprint()
              + ".\nIf the device is known to have a new key: outboard keys remove "
              + address
              + ", then add the new one.",
          false,
          true);
    }

    /** The device has let this machine in as far as TLS goes, or has just refused to. */
    private Failed refusal(IOException e) {
      return e instanceof TlsException
          ? new Failed(
              "The device at "
                  + at()
                  + " does not let this machine in.\nAuthorise it there with: outboard keys add "
                  + identity.key().line(),
              false,
              true)
          : closed(e);
    }

    private Failed closed(IOException e) {
      return new Failed(at() + " closed the connection: " + message(e) + ".", false);
    }

    private String refusal(Opening.Request request, Opening.Answer answer) {
      if (answer.status() == Opening.OTHER_VERSION
          && request.kind() == Opening.Kind.STATUS
          && answer.version() < Opening.STATUS_VERSION) {
        return "The device at "
            + at()
            + " is of an older version of Outboard, which tells its status at a Unix socket on its"
            + " own machine alone ("
            + answer.text()
            + " of the protocol): install the same version on both machines.";
      }
      return answer.status() == Opening.OTHER_VERSION
          ? versions(answer.text())
          : "The device refuses: " + answer.text();
    }

    private String versions(String theirs) {
      return "The device at "
          + at()
          + " speaks another version of the protocol ("
          + theirs
          + "; this side "
          + Opening.LOWEST_VERSION
          + " to "
          + Opening.HIGHEST_VERSION
          + "): install the same version of Outboard on both machines.";
    }
  }

  private String at() {
    return "tcp://" + address;
  }

  private static String message(IOException e) {
    String message = e.getMessage();
    return message == null ? e.getClass().getSimpleName() : message;
  }
}
