// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.channel.ServiceStatus;
import dev.outboard.posix.Linux;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.StandardSocketOptions;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
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
 * The device's end of links by TCP and TLS: accepts connections of hosts that it knows, and carries
 * a session over each stream that they begin. A stream lives on for a while when its connection has
 * broken, until the host goes on with it over another one.
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
     * Begins a session.
     *
     * @param host by which key it has shown who it is
     * @param name the same for a log
     * @return a connected Unix stream socket whose other end the device serves; the caller's
     * @throws IOException if there is none to be had; the message is for the host's user
     */
    int open(PeerKey host, String name) throws IOException;

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

  private final ServerSocketChannel listener;
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
  private final Deque<SocketChannel> strangers = new ArrayDeque<>();
  private final Set<TlsConnection> asking = new HashSet<>();
  private long complaintsSince = System.nanoTime();
  private long complaintsTaken;
  private int complaintsLeftOut;
  private boolean closed;

  private TcpDevice(
      ServerSocketChannel listener,
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
    ServerSocketChannel listener = ServerSocketChannel.open();
    boolean bound = false;
    try {
      listener.setOption(StandardSocketOptions.SO_REUSEADDR, true);
      listener.bind(at, BACKLOG);
      bound = true;
    } finally {
      if (!bound) {
        listener.close();
      }
    }
    TcpDevice device =
        new TcpDevice(listener, identity, hosts, sessions, patience, log, maxStreams, silence);
    Thread.ofPlatform().daemon().name("tcp-acceptor").start(device::accept);
    return device;
  }

  /** Where it listens. */
  public InetSocketAddress address() throws IOException {
    return (InetSocketAddress) listener.getLocalAddress();
  }

  /** Streams that there are, with a connection or without one. */
  public synchronized int streams() {
    return streams.size();
  }

  private void accept() {
    while (true) {
      try {
        SocketChannel channel = listener.accept();
        if (!admit(channel)) {
          return;
        }
        Thread.ofPlatform().daemon().name("tcp-link").start(() -> serve(channel));
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

  private synchronized boolean admit(SocketChannel channel) {
    if (closed) {
      closeQuietly(channel);
      return false;
    }
    while (strangers.size() >= MAX_STRANGERS) {
      closeQuietly(strangers.removeFirst());
    }
    strangers.addLast(channel);
    return true;
  }

  private synchronized void known(SocketChannel channel) {
    strangers.remove(channel);
  }

  /** A host that has shown a key which is known, and what it wants. */
  private record Guest(
      TlsConnection connection, PeerKey key, String from, Opening.Request request) {
    String name() {
      return key.name() + " at " + from;
    }
  }

  private void serve(SocketChannel channel) {
    String from = "a connection";
    Guest guest = null;
    try {
      from = text(channel.getRemoteAddress());
      guest = greet(channel, from);
      known(channel);
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
    } catch (IOException e) {
      String message = e.getMessage();
      complain(from + ": " + (message == null ? e.getClass().getSimpleName() : message));
      closeQuietly(channel);
      if (guest != null) {
        guest.connection().close();
      }
    } finally {
      known(channel);
    }
  }

  /** The connection of who is no guest is closed. */
  private Guest greet(SocketChannel channel, String from) throws IOException {
    Trust trust = new Trust(hosts.known());
    TlsConnection connection = new TlsConnection(channel, trust, identity, false);
    Deadline deadline = new Deadline(HANDSHAKE, connection::close);
    boolean welcome = false;
    try {
      connection.handshake();
      PeerKey key = trust.matched();
      if (key == null) {
        throw new IOException("no key was shown");
      }
      Guest guest = new Guest(connection, key, from, Opening.receiveRequest(connection));
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
              guest.request().version(), status, Duration.ZERO, Opening.NONE, 0, text));
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
    if (stream != null && own && stream.isOld(guest)) {
      refuse(guest, Opening.NOT_NOW, "the stream has gone on over a newer connection");
    } else if (stream == null || !own || !stream.take(guest)) {
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
      answer(guest, Opening.NONE, Duration.ZERO, 0);
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

  private static void answer(Guest guest, String stream, Duration granted, long received)
      throws IOException {
    TlsConnection connection = guest.connection();
    Deadline deadline = new Deadline(HANDSHAKE, connection::close);
    try {
      Opening.send(
          connection,
          new Opening.Answer(guest.request().version(), Opening.OK, granted, stream, received, ""));
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
    try {
      if (!holds(stream)) {
        refuse(guest, Opening.NOT_NOW, "the device has " + maxStreams + " sessions, its limit");
        return;
      }
      int session;
      try {
        session = sessions.open(guest.key(), guest.name());
      } catch (IOException e) {
        refuse(guest, Opening.NOT_NOW, String.valueOf(e.getMessage()));
        return;
      }
      stream.carry(guest, session);
    } finally {
      synchronized (this) {
        streams.remove(stream.id);
        notifyAll();
      }
    }
  }

  private synchronized boolean holds(Stream stream) {
    return streams.containsKey(stream.id);
  }

  /** One stream of a host, and the session behind it. */
  private final class Stream implements Renewal, LinkEvents {
    private final String id;
    private final PeerKey key;
    private final String name;
    private final Duration granted;

    // Guarded by this.
    private @Nullable ResumableWire wire;
    private @Nullable Guest guest;
    private boolean over;

    Stream(String id, PeerKey key, String name, Duration granted) {
      this.id = id;
      this.key = key;
      this.name = name;
      this.granted = granted;
    }

    /**
     * Carries the session until its end.
     *
     * @param session a connected Unix socket, this method's
     */
    void carry(Guest first, int session) throws IOException {
      ResumableWire made = new ResumableWire(first.connection(), this, granted, this);
      synchronized (this) {
        wire = made;
      }
      try {
        answer(first, id, granted, 0);
      } catch (IOException e) {
        made.close();
        Linux.close(session);
        throw e;
      }
      log.accept(name + " begins a session");
      log.accept(name + " has ended its session: " + DeviceRelay.serve(made, session));
    }

    /**
     * Whether a connection was made before one over which the host has said to have more: the
     * network has brought it late, and its host has given it up.
     */
    private boolean isOld(Guest other) {
      ResumableWire current;
      synchronized (this) {
        current = wire;
      }
      return current != null && other.request().received() < current.acknowledged();
    }

    /** Goes on with another connection; false if it is too late. */
    boolean take(Guest other) {
      ResumableWire current;
      Connection before;
      synchronized (this) {
        current = wire;
        if (current == null || over) {
          return false;
        }
        before = current.connection();
        if (guest != null) {
          guest.connection().close();
        }
        guest = other;
        notifyAll();
      }
      // This end may not have noticed yet that it is of no use any more.
      if (before != null) {
        current.breaks(before, "the host has made another connection");
      }
      return true;
    }

    @Override
    public Renewed renew(long received, long deadline) throws IOException {
      while (true) {
        Guest next = await(deadline);
        if (isOld(next)) {
          next.connection().close(); // what the host said since has come meanwhile
          continue;
        }
        try {
          answer(next, id, granted, received);
          return new Renewed(next.connection(), next.request().received());
        } catch (IOException e) {
          next.connection().close(); // it will try again
        }
      }
    }

    private synchronized Guest await(long deadline) throws IOException {
      while (guest == null) {
        long left = deadline - System.nanoTime();
        if (over || left <= 0) {
          boolean late = !over;
          over = true;
          throw new IOException(
              late
                  ? "the host did not come back within " + granted.toMillis() / 1e3 + " s"
                  : "closed on this side");
        }
        try {
          TimeUnit.NANOSECONDS.timedWait(this, left);
        } catch (InterruptedException e) {
          throw new IOException("interrupted", e);
        }
      }
      Guest next = guest;
      guest = null;
      return next;
    }

    @Override
    public synchronized void abandon() {
      over = true;
      if (guest != null) {
        guest.connection().close();
        guest = null;
      }
      notifyAll();
    }

    void stop() {
      ResumableWire current;
      synchronized (this) {
        current = wire;
      }
      if (current != null) {
        current.stop();
      }
    }

    @Override
    public void broken(String why) {
      log.accept(
          name + ": " + why + "; the session is kept for " + granted.toMillis() / 1e3 + " s");
    }

    @Override
    public void resumed(Duration down, long bytesAgain) {
      log.accept(
          "%s goes on after %d ms; %d bytes again".formatted(name, down.toMillis(), bytesAgain));
    }
  }

  private static String text(SocketAddress address) {
    return address instanceof InetSocketAddress a
        ? new TcpAddress(a.getAddress().getHostAddress(), a.getPort()).toString()
        : String.valueOf(address);
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
    List<SocketChannel> unknown;
    synchronized (this) {
      closed = true;
      unknown = new ArrayList<>(strangers);
    }
    try {
      listener.close();
    } catch (IOException e) {
      log.accept("closing the port: " + e.getMessage());
    }
    unknown.forEach(TcpDevice::closeQuietly);
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
    left.forEach(Stream::stop);
    curious.forEach(TlsConnection::close);
  }

  private static void closeQuietly(SocketChannel channel) {
    try {
      channel.close();
    } catch (IOException e) {
      // It is gone, then.
    }
  }
}
