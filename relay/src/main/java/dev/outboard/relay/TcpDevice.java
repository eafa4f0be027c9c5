// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.channel.ConnectionTaker;
import dev.outboard.channel.ServiceStatus;
import dev.outboard.channel.SessionFate;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.channels.ClosedChannelException;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The device's end of links by TCP and TLS: accepts connections of hosts that it knows, and hands
 * each to the process of the session that its host begins or goes on with, which holds no key that
 * anybody would know. A session lives on for a while when its connection has broken, until the host
 * comes with another one.
 *
 * <p>Who has not shown a known key gets nothing but TLS's handshake, not long, and not many at a
 * time: of too many the oldest gives way.
 */
public final class TcpDevice implements AutoCloseable {
  private static final int BACKLOG = 64;
  private static final int MAX_STREAMS = 64;
  private static final int MAX_STRANGERS = 32;
  private static final Duration HANDSHAKE = Duration.ofSeconds(10);

  /** How long one that is refused may take to fetch the reason. */
  private static final Duration FAREWELL = Duration.ofSeconds(1);

  /** How long a host that asks what the device does may be silent. */
  private static final Duration SILENCE = Duration.ofSeconds(30);

  private static final long ACCEPT_PAUSE_MILLIS = 100;

  /** Lines about others that the log takes at once, and how long until it takes one more. */
  private static final int COMPLAINTS = 10;

  private static final long COMPLAINT_NANOS = TimeUnit.SECONDS.toNanos(1);
  private static final Duration PARTING = Duration.ofSeconds(2);
  private static final int ID_BYTES = 16;

  /** Where sessions come from, and what is known of them. Any thread. */
  public interface Sessions {
    /**
     * Begins a session, for which a connection follows.
     *
     * @param host by which key it has shown who it is
     * @param name the same for a log
     * @param share the kernel that it is to share with others; null for none
     * @param patience how long it is to be kept without a connection
     * @param fate is told what becomes of it
     * @throws IOException if there is none to be had; the message is for the host's user
     */
    ConnectionTaker open(
        PeerKey host, String name, @Nullable String share, Duration patience, SessionFate fate)
        throws IOException;

    /**
     * Lets a host ask what the device does.
     *
     * @throws IOException if it may not; the message is for the host's user
     */
    default Questions ask(PeerKey host, String name) throws IOException {
      throw new IOException("this device tells nobody what it does");
    }
  }

  /** What one host asks. One thread. */
  public interface Questions extends AutoCloseable {
    /**
     * What that host may know, now.
     *
     * @throws IOException if that is nothing any more; the message is for the host's user
     */
    ServiceStatus answer() throws IOException;

    /** It asks no more. */
    @Override
    void close();
  }

  /** Who may come: asked anew for each connection. */
  public interface Hosts {
    /**
     * The keys of those who may.
     *
     * @throws IOException if they cannot be known now: then nobody may
     */
    List<PeerKey> known() throws IOException;
  }

  private final TcpListener listener;
  private final Identity identity;
  private final Hosts hosts;
  private final Sessions sessions;
  private final Duration patience;
  private final Consumer<String> log;
  private final int maxStreams;
  private final Duration silence;
  private final SecureRandom random = new SecureRandom();

  // Guarded by this.
  private final Map<String, Stream> streams = new HashMap<>();
  private final Deque<DescriptorTransport> strangers = new ArrayDeque<>();
  private final Set<TlsConnection> asking = new HashSet<>();
  private long complaintsSince = System.nanoTime();
  private long complaintsTaken;
  private int complaintsLeftOut;
  private boolean closed;

  private TcpDevice(
      TcpListener listener,
      Identity identity,
      Hosts hosts,
      Sessions sessions,
      Duration patience,
      Consumer<String> log,
      int maxStreams,
      Duration silence) {
    this.silence = silence;
    this.maxStreams = maxStreams;
    this.listener = listener;
    this.identity = identity;
    this.hosts = hosts;
    this.sessions = sessions;
    this.patience = patience;
    this.log = log;
  }

  /**
   * Begins to listen.
   *
   * @param at where
   * @param patience how long a stream without a connection is kept at most
   * @param log takes lines, from any thread
   * @throws IOException if that cannot be listened at
   */
  public static TcpDevice listen(
      InetSocketAddress at,
      Identity identity,
      Hosts hosts,
      Sessions sessions,
      Duration patience,
      Consumer<String> log)
      throws IOException {
    return listen(at, identity, hosts, sessions, patience, log, MAX_STREAMS, SILENCE);
  }

  /** With another number of streams at a time, and another patience with who asks nothing. */
  static TcpDevice listen(
      InetSocketAddress at,
      Identity identity,
      Hosts hosts,
      Sessions sessions,
      Duration patience,
      Consumer<String> log,
      int maxStreams,
      Duration silence)
      throws IOException {
    TcpListener listener = TcpListener.open(at, BACKLOG);
    TcpDevice device =
        new TcpDevice(listener, identity, hosts, sessions, patience, log, maxStreams, silence);
    Thread.ofPlatform().daemon().name("tcp-acceptor").start(device::accept);
    return device;
  }

  /** Where it listens. */
  public InetSocketAddress address() throws IOException {
    return listener.address();
  }

  /** Streams that there are, with a connection or without one. */
  public synchronized int streams() {
    return streams.size();
  }

  private void accept() {
    while (true) {
      try {
        TcpListener.Accepted accepted = listener.accept();
        DescriptorTransport transport = new DescriptorTransport(accepted.fd());
        if (!admit(transport)) {
          return;
        }
        String from = text(accepted.from());
        Thread.ofPlatform().daemon().name("tcp-link").start(() -> serve(transport, from));
      } catch (ClosedChannelException e) {
        return;
      } catch (IOException e) {
        complain("no connection accepted: " + e.getMessage());
        try {
          TimeUnit.MILLISECONDS.sleep(ACCEPT_PAUSE_MILLIS);
        } catch (InterruptedException i) {
          return;
        }
      }
    }
  }

  private synchronized boolean admit(DescriptorTransport transport) {
    if (closed) {
      transport.close();
      return false;
    }
    while (strangers.size() >= MAX_STRANGERS) {
      strangers.removeFirst().close();
    }
    strangers.addLast(transport);
    return true;
  }

  private synchronized void known(DescriptorTransport transport) {
    strangers.remove(transport);
  }

  /** A host that has shown a key which is known, and what it wants. */
  private record Guest(
      DescriptorTransport transport,
      TlsConnection connection,
      PeerKey key,
      String from,
      Opening.Request request) {
    String name() {
      return key.name() + " at " + from;
    }
  }

  private void serve(DescriptorTransport transport, String from) {
    Guest guest = null;
    try {
      guest = greet(transport, from);
      known(transport);
      if (guest.request().highestVersion() < Opening.LOWEST_VERSION
          || guest.request().lowestVersion() > Opening.HIGHEST_VERSION) {
        refuse(
            guest,
            Opening.OTHER_VERSION,
            "versions " + Opening.LOWEST_VERSION + " to " + Opening.HIGHEST_VERSION);
      } else {
        switch (guest.request().kind()) {
          case BEGIN -> begin(guest);
          case GO_ON -> goOn(guest);
          case STATUS -> tell(guest);
        }
      }
    } catch (IOException | RuntimeException e) {
      String message = e.getMessage();
      complain(from + ": " + (message == null ? e.getClass().getSimpleName() : message));
      transport.close();
      if (guest != null) {
        guest.connection().close();
      }
    } finally {
      known(transport);
    }
  }

  /** The connection of who is no guest is closed. */
  private Guest greet(DescriptorTransport transport, String from) throws IOException {
    Trust trust = new Trust(hosts.known());
    TlsConnection connection = new TlsConnection(transport, trust, identity, false);
    Deadline deadline = new Deadline(HANDSHAKE, connection::close);
    boolean welcome = false;
    try {
      connection.handshake();
      PeerKey key = trust.matched();
      if (key == null) {
        throw new IOException("no key was shown");
      }
      Guest guest = new Guest(transport, connection, key, from, Opening.receiveRequest(connection));
      welcome = true;
      return guest;
    } catch (IOException e) {
      if (deadline.passed()) {
        throw new IOException("said nothing for " + HANDSHAKE.toSeconds() + " s", e);
      }
      // What it gets to know must not be lost by what has not been read.
      drain(connection);
      PeerKey seen = trust.seen();
      if (seen == null && String.valueOf(e.getMessage()).contains("alert")) {
        throw new IOException("it broke off; it may not know the key of this device", e);
      }
      if (seen != null && trust.matched() == null) {
        throw new IOException(
            "its key is not authorised; to do that: outboard keys add " + seen.line(), e);
      }
      throw e;
    } finally {
      deadline.met();
      if (!welcome) {
        connection.close();
      }
    }
  }

  private static void drain(TlsConnection connection) {
    Deadline deadline = new Deadline(FAREWELL, connection::close);
    connection.drain();
    deadline.met();
  }

  private void refuse(Guest guest, int status, String text) throws IOException {
    complain(guest.name() + " is refused: " + text);
    try {
      Opening.send(
          guest.connection(),
          new Opening.Answer(
              guest.request().version(), status, Duration.ZERO, Opening.NONE, text, null));
      drain(guest.connection());
    } finally {
      guest.connection().close();
    }
  }

  private void goOn(Guest guest) throws IOException {
    Stream stream;
    synchronized (this) {
      stream = streams.get(guest.request().stream());
    }
    // Whose it is not gets the same answer as for one that there is not.
    boolean own = stream != null && stream.key.sameKey(guest.key());
    if (stream == null || !own || !stream.connect(guest)) {
      refuse(guest, Opening.NO_STREAM, "the session has ended, or the device was started anew");
    }
  }

  private void tell(Guest guest) throws IOException {
    Questions questions;
    try {
      questions = sessions.ask(guest.key(), guest.name());
    } catch (IOException e) {
      refuse(guest, Opening.NOT_NOW, String.valueOf(e.getMessage()));
      return;
    }
    TlsConnection connection = guest.connection();
    try (questions) {
      synchronized (this) {
        if (closed) {
          return;
        }
        asking.add(connection);
      }
      answer(guest, Opening.NONE, Duration.ZERO, null);
      complain(guest.name() + " asks for the status");
      String why = new StatusTeller(connection, silence).tell(questions);
      complain(guest.name() + " asks no more: " + why);
    } finally {
      synchronized (this) {
        asking.remove(connection);
      }
      connection.close();
    }
  }

  private static void answer(Guest guest, String stream, Duration granted, @Nullable PeerKey key)
      throws IOException {
    TlsConnection connection = guest.connection();
    Deadline deadline = new Deadline(HANDSHAKE, connection::close);
    try {
      Opening.send(
          connection,
          new Opening.Answer(guest.request().version(), Opening.OK, granted, stream, "", key));
    } finally {
      deadline.met();
    }
  }

  private void begin(Guest guest) throws IOException {
    byte[] id = new byte[ID_BYTES];
    random.nextBytes(id);
    Duration asked = guest.request().patience();
    Stream stream =
        new Stream(
            HexFormat.of().formatHex(id),
            guest.key(),
            guest.name(),
            asked.compareTo(patience) < 0 ? asked : patience);
    synchronized (this) {
      if (!closed && streams.size() < maxStreams) {
        streams.put(stream.id, stream);
      }
    }
    boolean begun = false;
    try {
      if (!holds(stream)) {
        refuse(guest, Opening.NOT_NOW, "the device has " + maxStreams + " sessions, its limit");
        return;
      }
      String share = guest.request().share();
      try {
        stream.session =
            sessions.open(
                guest.key(), guest.name(), share.isEmpty() ? null : share, stream.granted, stream);
      } catch (IOException e) {
        refuse(guest, Opening.NOT_NOW, String.valueOf(e.getMessage()));
        return;
      }
      begun = stream.connect(guest);
      if (!begun) {
        refuse(guest, Opening.NOT_NOW, "its kernel has just ended");
      }
    } finally {
      if (!begun) {
        stream.end();
        remove(stream);
      }
    }
  }

  private synchronized boolean holds(Stream stream) {
    return streams.containsKey(stream.id);
  }

  private synchronized boolean remove(Stream stream) {
    notifyAll();
    return streams.remove(stream.id, stream);
  }

  /** One stream of a host, and the session behind it. */
  private final class Stream implements SessionFate {
    private final String id;
    private final PeerKey key;
    private final String name;
    private final Duration granted;

    private volatile @Nullable ConnectionTaker session;
    private volatile boolean begun;

    Stream(String id, PeerKey key, String name, Duration granted) {
      this.id = id;
      this.key = key;
      this.name = name;
      this.granted = granted;
    }

    /**
     * Begins or goes on with a connection: the session's process has it from then on.
     *
     * @return false if it is too late; the host has not been answered then
     */
    boolean connect(Guest guest) throws IOException {
      ConnectionTaker carried = session;
      PeerKey host = guest.request().key();
      if (carried == null || host == null || !holds(this)) {
        return false;
      }
      Identity own = Identity.create("");
      answer(guest, id, granted, own.key());
      guest.connection().release();
      if (!begun) {
        begun = true;
        log.accept(name + " begins a session");
      }
      String secret = Base64.getEncoder().encodeToString(own.privateKey());
      guest.transport().handOn(fd -> carried.connect(fd, secret, host.base64()));
      return true;
    }

    @Override
    public void says(String line) {
      log.accept(name + ": " + line);
    }

    @Override
    public void ended(String why) {
      if (remove(this) && begun) {
        log.accept(name + " has ended its session: " + why);
      }
    }

    void end() {
      ConnectionTaker carried = session;
      if (carried != null) {
        carried.end();
      }
    }
  }

  private static String text(InetSocketAddress address) {
    return new TcpAddress(address.getAddress().getHostAddress(), address.getPort()).toString();
  }

  /** A line for the log about somebody, but not as many as strangers please. */
  private void complain(String line) {
    int leftOut;
    synchronized (this) {
      long given = COMPLAINTS + (System.nanoTime() - complaintsSince) / COMPLAINT_NANOS;
      // What was not used up long ago does not add up.
      complaintsTaken = Math.max(complaintsTaken, given - COMPLAINTS);
      if (complaintsTaken >= given) {
        complaintsLeftOut++;
        return;
      }
      complaintsTaken++;
      leftOut = complaintsLeftOut;
      complaintsLeftOut = 0;
    }
    log.accept(leftOut == 0 ? line : line + " (and " + leftOut + " more such lines)");
  }

  /** Accepts no more; streams go on. */
  public void stopListening() {
    List<DescriptorTransport> unknown;
    synchronized (this) {
      closed = true;
      unknown = new ArrayList<>(strangers);
    }
    listener.close();
    unknown.forEach(DescriptorTransport::close);
  }

  /**
   * Ends what there is, after a moment in which streams whose sessions have ended may tell their
   * hosts.
   */
  @Override
  public void close() {
    stopListening();
    List<Stream> left;
    List<TlsConnection> curious;
    synchronized (this) {
      long until = System.nanoTime() + PARTING.toNanos();
      try {
        for (long rest; !streams.isEmpty() && (rest = until - System.nanoTime()) > 0; ) {
          TimeUnit.NANOSECONDS.timedWait(this, rest);
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      left = List.copyOf(streams.values());
      curious = List.copyOf(asking);
    }
    left.forEach(Stream::end);
    curious.forEach(TlsConnection::close);
  }
}
