// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** TLS by OpenSSL at both ends, and at one of them with the JDK's at the other. */
@Timeout(120)
class TlsConnectionTest {
  private static final Identity HOST = Identity.create("the host");
  private static final Identity DEVICE = Identity.create("the device");
  private static final Identity OTHER = Identity.create("somebody else");
  private static final ByteBuffer NOTHING = ByteBuffer.allocateDirect(0);

  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final List<AutoCloseable> open = new ArrayList<>();
  private final int before = TlsEngine.live();

  @AfterEach
  void closeAll() throws Exception {
    for (AutoCloseable it : open.reversed()) {
      it.close();
    }
    threads.shutdownNow();
    assertThat(threads.awaitTermination(20, TimeUnit.SECONDS)).isTrue();
    assertThat(TlsEngine.live()).as("engines that nobody has freed").isLessThanOrEqualTo(before);
  }

  /** What TLS is made by at one end. */
  private enum By {
    OPENSSL,
    JDK
  }

  private record Ends(Connection host, Connection device) {}

  /** Two connected sockets, the host's first. */
  private List<SocketChannel> sockets() throws IOException {
    try (ServerSocketChannel server =
        ServerSocketChannel.open()
            .bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))) {
      SocketChannel host = SocketChannel.open(server.getLocalAddress());
      open.add(host);
      SocketChannel device = server.accept();
      open.add(device);
      return List.of(host, device);
    }
  }

  private Connection agree(
      By by, SocketChannel channel, Identity own, List<PeerKey> accepts, boolean client)
      throws Exception {
    return by == By.OPENSSL
        ? agree(channel, new Trust(accepts), own, client)
        : agree(new JsseConnection(channel, JsseConnection.engine(accepts, own, client)));
  }

  private TlsConnection agree(SocketChannel channel, Trust trust, Identity own, boolean client)
      throws Exception {
    TlsConnection made = new TlsConnection(channel, trust, own, client);
    open.add(made::close);
    made.handshake();
    return made;
  }

  private JsseConnection agree(JsseConnection made) throws Exception {
    open.add(made::close);
    made.handshake();
    return made;
  }

  private Ends ends(By host, By device, SocketChannel hosts, SocketChannel devices)
      throws Exception {
    Future<Connection> far =
        threads.submit(() -> agree(device, devices, DEVICE, List.of(HOST.key()), false));
    Connection near = agree(host, hosts, HOST, List.of(DEVICE.key()), true);
    return new Ends(near, far.get());
  }

  private Ends ends(By host, By device) throws Exception {
    List<SocketChannel> sockets = sockets();
    return ends(host, device, sockets.getFirst(), sockets.getLast());
  }

  private static ByteBuffer bytes(int count) {
    ByteBuffer all = ByteBuffer.allocateDirect(count);
    for (int i = 0; i < count; i++) {
      all.put(i, (byte) i);
    }
    return all;
  }

  /** All that comes until there are so many bytes. */
  private static ByteBuffer receive(Connection from, int count) throws IOException {
    ByteBuffer all = ByteBuffer.allocate(count);
    while (all.hasRemaining()) {
      ByteBuffer some = from.read();
      if (some == null) {
        throw new IOException("the end after " + all.position() + " bytes");
      }
      move(some, all);
    }
    return all.flip();
  }

  private static void move(ByteBuffer from, ByteBuffer to) {
    int n = Math.min(from.remaining(), to.remaining());
    to.put(to.position(), from, from.position(), n);
    to.position(to.position() + n);
    from.position(from.position() + n);
  }

  private static Throwable failure(Future<?> of) throws InterruptedException {
    try {
      of.get();
    } catch (ExecutionException e) {
      return Objects.requireNonNull(e.getCause());
    }
    throw new AssertionError("it did not fail");
  }

  /** Pieces of all lengths around those of records, in two parts, both ways at once. */
  private void exchange(Ends ends, long seed) throws Exception {
    Callable<?> hostWrites = () -> write(ends.host, seed);
    Callable<?> deviceWrites = () -> write(ends.device, seed + 1);
    Callable<?> hostReads = () -> read(ends.host, seed + 1);
    Callable<?> deviceReads = () -> read(ends.device, seed);
    List<Future<?>> all = new ArrayList<>();
    for (Callable<?> part : List.of(hostWrites, deviceWrites, hostReads, deviceReads)) {
      all.add(threads.submit(part));
    }
    for (Future<?> part : all) {
      part.get();
    }
  }

  private static final int[] LENGTHS = {
    1, 12, 100, 16_371, 16_372, 16_373, 16_383, 16_384, 16_385, 65_548, 131_084, 400_000
  };
  private static final int PIECES = 60;

  private static @Nullable Void write(Connection to, long seed) throws IOException {
    Random random = new Random(seed);
    for (int i = 0; i < PIECES; i++) {
      byte[] piece = new byte[LENGTHS[random.nextInt(LENGTHS.length)]];
      random.nextBytes(piece);
      int cut = random.nextInt(Math.min(piece.length, 20_000) + 1);
      ByteBuffer first = ByteBuffer.allocateDirect(cut).put(piece, 0, cut).flip();
      int rest = piece.length - cut;
      to.write(first, ByteBuffer.allocateDirect(rest).put(piece, cut, rest).flip());
    }
    return null;
  }

  private static @Nullable Void read(Connection from, long seed) throws IOException {
    Random random = new Random(seed);
    for (int i = 0; i < PIECES; i++) {
      byte[] piece = new byte[LENGTHS[random.nextInt(LENGTHS.length)]];
      random.nextBytes(piece);
      random.nextInt(Math.min(piece.length, 20_000) + 1);
      ByteBuffer got = ByteBuffer.allocate(piece.length);
      while (got.hasRemaining()) {
        move(Objects.requireNonNull(from.read(), "the end"), got);
      }
      assertThat(got.array()).as("piece %d", i).isEqualTo(piece);
    }
    return null;
  }

  @Test
  void bytesOfAllLengthsCrossBothWaysAtOnceWithNewKeysNowAndThen() throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    exchange(ends(By.OPENSSL, By.OPENSSL), seed);
    exchange(ends(By.OPENSSL, By.JDK), seed);
    exchange(ends(By.JDK, By.OPENSSL), seed);
  }

  /** What is not accepted is so at once, and the other end is told, whoever that is. */
  @Test
  void whoIsNotAcceptedIsToldSo() throws Exception {
    for (By other : By.values()) {
      // The host does not know the device.
      for (List<PeerKey> known : List.of(List.<PeerKey>of(), List.of(OTHER.key(), HOST.key()))) {
        List<SocketChannel> sockets = sockets();
        Future<Connection> far =
            threads.submit(
                () -> agree(other, sockets.getLast(), DEVICE, List.of(HOST.key()), false));
        Trust trust = new Trust(known);
        assertThatThrownBy(() -> agree(sockets.getFirst(), trust, HOST, true))
            .isInstanceOf(TlsException.class);
        assertThat(Objects.requireNonNull(trust.seen()).sameKey(DEVICE.key())).isTrue();
        assertThat(trust.matched()).isNull();
        // OpenSSL says it in plain, which the JDK does not expect, but understands.
        assertThat(failure(far))
            .isInstanceOf(other == By.JDK ? SSLException.class : TlsException.class)
            .hasStackTraceContaining("alert");
      }
      // The device does not know the host, which has said all that it has to by then.
      List<SocketChannel> sockets = sockets();
      Trust trust = new Trust(List.of(OTHER.key()));
      Future<TlsConnection> near =
          threads.submit(() -> agree(sockets.getLast(), trust, DEVICE, false));
      Connection host = agree(other, sockets.getFirst(), HOST, List.of(DEVICE.key()), true);
      assertThat(failure(near)).isInstanceOf(TlsException.class);
      assertThat(Objects.requireNonNull(trust.seen()).sameKey(HOST.key())).isTrue();
      assertThat(trust.matched()).isNull();
      assertThatThrownBy(host::read)
          .isInstanceOf(other == By.JDK ? SSLException.class : TlsException.class)
          .hasMessageContaining("alert");
    }
    // A device of before does not know the host.
    List<SocketChannel> sockets = sockets();
    Future<Connection> far =
        threads.submit(() -> agree(By.JDK, sockets.getLast(), DEVICE, List.of(OTHER.key()), false));
    Connection host = agree(By.OPENSSL, sockets.getFirst(), HOST, List.of(DEVICE.key()), true);
    assertThat(failure(far)).isInstanceOf(SSLException.class);
    assertThatThrownBy(host::read).isInstanceOf(TlsException.class).hasMessageContaining("alert");
  }

  /** What a host shows that has not the key that is accepted. */
  private Throwable refused(byte[] privateKey, List<byte[]> chain) throws Exception {
    List<SocketChannel> sockets = sockets();
    Trust trust = new Trust(List.of(HOST.key()));
    Future<TlsConnection> device =
        threads.submit(() -> agree(sockets.getLast(), trust, DEVICE, false));
    Future<JsseConnection> host =
        threads.submit(() ->
            agree(
                new JsseConnection(
                    sockets.getFirst(),
                    JsseConnection.engine(List.of(DEVICE.key()), privateKey, chain, true))));
    Throwable why = failure(device);
    try {
      host.get();
    } catch (ExecutionException e) {
      // It was told before it was done.
    }
    return why;
  }

  @Test
  void aCertificateIsNotEnough() throws Exception {
    assertThat(refused(HOST.privateKey(), List.of()))
        .isInstanceOf(TlsException.class)
        .hasMessageContaining("did not return a certificate");
    assertThat(refused(OTHER.privateKey(), List.of(HOST.certificate())))
        .as("the right certificate, another's key")
        .isInstanceOf(TlsException.class)
        .hasMessageContaining("signature");
    assertThat(refused(OTHER.privateKey(), List.of(OTHER.certificate(), HOST.certificate())))
        .as("the right certificate behind one's own")
        .isInstanceOf(TlsException.class)
        .hasMessageContaining("certificate verify failed");
  }

  /**
   * Hands on what the host sends: as it comes, or from some time on changed, when all of it has
   * come. The other way as it is.
   */
  private final class Between {
    private final SocketChannel host;
    private final SocketChannel device;
    private volatile @Nullable UnaryOperator<byte[]> change;

    Between() throws IOException {
      List<SocketChannel> one = sockets();
      List<SocketChannel> other = sockets();
      host = one.getFirst();
      device = other.getLast();
      threads.execute(() -> carry(one.getLast(), other.getFirst(), true));
      threads.execute(() -> carry(other.getFirst(), one.getLast(), false));
    }

    private void carry(SocketChannel from, SocketChannel to, boolean fromHost) {
      ByteArrayOutputStream kept = new ByteArrayOutputStream();
      ByteBuffer some = ByteBuffer.allocate(1 << 16);
      try {
        while (from.read(some.clear()) >= 0) {
          some.flip();
          if (fromHost && change != null) {
            kept.write(some.array(), 0, some.limit());
          } else {
            send(some, to);
          }
        }
        UnaryOperator<byte[]> last = change;
        if (fromHost && last != null) {
          send(ByteBuffer.wrap(last.apply(kept.toByteArray())), to);
        }
        to.shutdownOutput();
      } catch (IOException e) {
        // One of the ends is gone.
      }
    }

    private static void send(ByteBuffer bytes, SocketChannel to) throws IOException {
      while (bytes.hasRemaining()) {
        to.write(bytes);
      }
    }
  }

  /** What the device reads of one record that has been changed on its way, the host being gone. */
  private void changed(By by, String what, UnaryOperator<byte[]> change) throws Exception {
    Between between = new Between();
    Ends ends = ends(by, By.OPENSSL, between.host, between.device);
    ends.host.write(bytes(100), NOTHING.duplicate());
    assertThat(receive(ends.device, 100)).isEqualTo(bytes(100));
    between.change = change;
    ends.host.write(bytes(1000), NOTHING.duplicate());
    ends.host.close();
    try {
      assertThat(ends.device.read()).as(what).isNull();
    } catch (TlsException e) {
      assertThat(e).as(what).hasMessageNotContaining("no reason");
      assertThatThrownBy(ends.device::read).as("again").isInstanceOf(TlsException.class);
    }
  }

  /** Header of five bytes, so many as were sent and one for the type, sixteen that authenticate. */
  private static final int RECORD = 5 + 1000 + 1 + 16;

  @Test
  void nothingThatWasChangedIsTakenForBytes() throws Exception {
    for (By by : By.values()) {
      for (int at : new int[] {0, 1, 2, 3, 4, 5, 6, 500, 1004, 1005, 1006, 1013, RECORD - 1}) {
        for (int bit : new int[] {0, 7}) {
          changed(
              by,
              "bit " + bit + " of byte " + at,
              sent -> {
                byte[] other = Arrays.copyOf(sent, RECORD);
                other[at] ^= (byte) (1 << bit);
                return other;
              });
        }
      }
      changed(by, "cut off", sent -> Arrays.copyOf(sent, RECORD - 1));
      changed(by, "left out", sent -> new byte[0]);
      changed(by, "plain", sent -> "GET / HTTP/1.0\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
    }
  }

  @Test
  void aRecordThatComesTwiceIsTakenOnce() throws Exception {
    Between between = new Between();
    Ends ends = ends(By.OPENSSL, By.OPENSSL, between.host, between.device);
    ends.host.write(bytes(100), NOTHING.duplicate());
    assertThat(receive(ends.device, 100).remaining()).isEqualTo(100);
    between.change = sent -> ByteBuffer.allocate(2 * sent.length).put(sent).put(sent).array();
    ends.host.write(bytes(1000), NOTHING.duplicate());
    ends.host.close();
    // What is good comes, what is not does not.
    assertThat(receive(ends.device, 1000)).isEqualTo(bytes(1000));
    assertThatThrownBy(ends.device::read)
        .isInstanceOf(TlsException.class)
        .hasMessageContaining("bad record mac");
  }

  @Test
  void oneEndSaysThatNothingMoreComesAndGoesOnReading() throws Exception {
    Ends ends = ends(By.JDK, By.OPENSSL);
    ends.host.write(bytes(5000), NOTHING.duplicate());
    ((JsseConnection) ends.host).finish();
    assertThat(receive(ends.device, 5000)).isEqualTo(bytes(5000));
    assertThat(ends.device.read()).isNull();
    assertThat(ends.device.read()).isNull();
    ends.device.write(bytes(3000), bytes(300_000));
    assertThat(receive(ends.host, 303_000).remaining()).isEqualTo(303_000);

    Ends both = ends(By.OPENSSL, By.OPENSSL);
    both.host.write(bytes(7), NOTHING.duplicate());
    Future<?> drained = threads.submit(((TlsConnection) both.host)::drain);
    assertThat(receive(both.device, 7)).isEqualTo(bytes(7));
    assertThat(both.device.read()).isNull();
    both.device.write(bytes(300_000), NOTHING.duplicate());
    assertThat(drained.isDone()).isFalse();
    both.device.close();
    drained.get();
  }

  /** A reader that waits does not hold up a writer, nor who closes. */
  @Test
  void whoeverWaitsComesOutWhenTheConnectionIsClosed() throws Exception {
    for (int i = 0; i < 20; i++) {
      Ends ends = ends(By.OPENSSL, By.OPENSSL);
      Future<?> reader = threads.submit(ends.host::read);
      Callable<?> writes =
          () -> {
            while (true) {
              ends.host.write(bytes(300_000), NOTHING.duplicate());
            }
          };
      Future<?> writer = threads.submit(writes);
      receive(ends.device, 100_000); // no more: the writer waits for the socket
      if (i % 2 == 0) {
        Thread.sleep(i % 10);
      }
      ends.host.close();
      assertThat(failure(reader)).isInstanceOf(IOException.class);
      assertThat(failure(writer)).isInstanceOf(IOException.class);
      assertThatThrownBy(ends.host::read).isInstanceOf(IOException.class);
      assertThatThrownBy(() -> ends.host.write(bytes(1), NOTHING.duplicate()))
          .isInstanceOf(IOException.class);
      ends.device.close();
      ends.device.close();
    }
  }

  private static long residentKib() throws IOException {
    System.gc();
    return Files.readAllLines(Path.of("/proc/self/status")).stream()
        .filter(line -> line.startsWith("VmRSS:"))
        .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
        .sum();
  }

  /** Carries what is sealed at one end to the other; whether that was anything. */
  private static boolean carry(TlsEngine from, TlsEngine to) throws IOException {
    ByteBuffer sealed = from.sealed();
    int bytes = sealed.remaining();
    if (bytes > 0) {
      to.vacant().put(sealed);
      to.arrived(bytes);
      from.sent(bytes);
    }
    return bytes > 0;
  }

  private static boolean handshake(TlsEngine end) {
    try {
      return end.handshake();
    } catch (TlsException e) {
      return false;
    }
  }

  private static void comeAndGo(int times, ByteBuffer plain, long address) throws IOException {
    for (int i = 0; i < times; i++) {
      // Of three one is not accepted by the device, and one not by the host.
      List<PeerKey> hosts = List.of((i % 3 == 0 ? OTHER : HOST).key());
      List<PeerKey> devices = List.of((i % 3 == 1 ? OTHER : DEVICE).key());
      TlsEngine host = new TlsEngine(new Trust(devices), HOST, true);
      TlsEngine device = new TlsEngine(new Trust(hosts), DEVICE, false);
      boolean met = false;
      boolean known = false;
      boolean moved = true;
      while (moved) {
        known = known || handshake(host);
        moved = carry(host, device);
        met = met || handshake(device);
        moved = carry(device, host) || moved;
      }
      assertThat(met).isEqualTo(i % 3 == 2);
      assertThat(known).isEqualTo(i % 3 != 1);
      if (met) {
        assertThat(host.seal(address, 10_000)).isTrue();
        carry(host, device);
        assertThat(device.open(address, plain.capacity())).isEqualTo(10_000);
      }
      host.free();
      device.free();
    }
  }

  @Test
  void enginesLeaveNothingBehind() throws Exception {
    ByteBuffer plain = ByteBuffer.allocateDirect(TlsEngine.RECORD_BYTES);
    long address = MemorySegment.ofBuffer(plain).address();
    comeAndGo(100, plain, address);
    long sum = 0;
    for (int i = 0; i < 500; i++) {
      sum += new byte[1 << 20].length; // the heap is in memory, whatever it is used for later
    }
    assertThat(sum).isPositive();
    long before = residentKib();
    comeAndGo(600, plain, address);
    // Two ends each: an SSL that is left behind has some 50 KiB, a context as much.
    assertThat(residentKib() - before).isLessThan(16 * 1024);
  }
}
