// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.channel.CallSlot;
import dev.outboard.channel.Credentials;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameCodec;
import dev.outboard.channel.LinkException;
import dev.outboard.channel.LinkListener;
import dev.outboard.channel.LinkOptions;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.security.KeyPairGenerator;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Hosts and devices that know each other by keys, and others. */
@Timeout(60)
class TcpLinkTest {
  private static final Identity HOST = Identity.create("the host");
  private static final Identity DEVICE = Identity.create("the device");
  private static final Identity OTHER = Identity.create("somebody else");
  private static final int STREAMS = 8;
  private static final Duration SILENCE = Duration.ofSeconds(2);
  private static final Duration LONG = Duration.ofSeconds(30);

  private final List<AutoCloseable> open = new ArrayList<>();
  private final List<PeerKey> authorized = new CopyOnWriteArrayList<>(List.of(HOST.key()));
  private final BlockingQueue<String> log = new LinkedBlockingQueue<>();

  @AfterEach
  void closeAll() throws Exception {
    for (AutoCloseable it : open.reversed()) {
      it.close();
    }
  }

  private TcpAddress device(TcpDevice.Sessions sessions) throws IOException {
    TcpDevice device =
        TcpDevice.listen(
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
            DEVICE,
            () -> List.copyOf(authorized),
            sessions,
            LONG,
            log::add,
            STREAMS,
            SILENCE);
    open.add(device);
    devices.add(device);
    return new TcpAddress("127.0.0.1", device.address().getPort());
  }

  private final List<TcpDevice> devices = new ArrayList<>();
  private final List<String> sessions = new CopyOnWriteArrayList<>();

  /** A device whose calls are sums. */
  private TcpAddress device() throws IOException {
    return device((host, name, share, patience, fate) -> {
      sessions.add(name + " shares " + share);
      return CarriedDevice.ofSums(patience, fate);
    });
  }

  private static TcpHost.Stream connect(TcpAddress address, Identity who, Duration patience)
      throws LinkException {
    return TcpHost.connect(address, who, List.of(DEVICE.key()), patience, null, LinkEvents.NONE);
  }

  private static ResumableWire wire(TcpHost.Stream stream) {
    return (ResumableWire) stream.wire();
  }

  private void awaitLog(String words) throws InterruptedException {
    List<String> seen = new ArrayList<>();
    for (String line; (line = log.poll(20, TimeUnit.SECONDS)) != null; ) {
      if (line.contains(words)) {
        return;
      }
      seen.add(line);
    }
    throw new AssertionError("no '" + words + "' in " + seen);
  }

  private static void require(BooleanSupplier condition) throws InterruptedException {
    long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
    while (!condition.getAsBoolean()) {
      assertThat(System.nanoTime()).isLessThan(until);
      Thread.sleep(5);
    }
  }

  @Test
  void callsCrossAndGoOnOverOtherConnectionsAndKeys() throws Exception {
    TcpHost.Stream stream = connect(device(), HOST, LONG);
    assertThat(stream.patience()).isEqualTo(LONG);
    HostRelay relay = HostRelay.start(stream.wire());
    open.add(relay);
    BlockingQueue<String> lost = new LinkedBlockingQueue<>();
    DeviceLink link =
        DeviceLink.overDescriptor(
            relay.linkFd(),
            new LinkListener() {
              @Override
              public void ready(int handle, int pollMask, long stamp) {}

              @Override
              public void lost(String why) {
                lost.add(why);
              }

              @Override
              public void notice(String line) {}
            },
            LinkOptions.of("a test"),
            relay);
    open.add(link);
    CallSlot slot = link.attach(1, 1, -1, Credentials.root());
    Random random = new Random(1);
    for (int i = 0; i < 100; i++) {
      if (i >= 60 && i % 4 == 0) {
        ResumableWire wire = wire(stream);
        Connection now = wire.connection();
        if (now != null) {
          wire.breaks(now, "by the test");
        }
      }
      RelayTest.sum(slot, random);
      if (i == 59) {
        // Some MiB each way, so new keys several times: that is no break.
        assertThat(log).noneMatch(line -> line.contains("again"));
      }
    }
    link.detach(slot);
    assertThat(lost).isEmpty();
    awaitLog("goes on after");
    link.close();
    // In order, though the connection is another one than at first.
    awaitLog("has ended its session: the other side closed the link");
    assertThat(log).isEmpty();
  }

  @Test
  void whoIsNotKnownIsToldWhatToDo() throws Exception {
    TcpAddress at = device();
    assertThatThrownBy(() -> TcpHost.connect(at, HOST, List.of(), LONG, null, LinkEvents.NONE))
        .isInstanceOf(LinkException.class)
        .hasMessageContaining(DEVICE.key().fingerprint())
        .hasMessageContaining(
            "outboard keys add " + at + " outboard-p256 " + DEVICE.key().base64());
    awaitLog("may not know the key of this device");
    assertThatThrownBy(
            () -> TcpHost.connect(at, HOST, List.of(OTHER.key()), LONG, null, LinkEvents.NONE))
        .hasMessageContaining("another key")
        .hasMessageContaining(DEVICE.key().fingerprint())
        .hasMessageContaining(OTHER.key().fingerprint());
    assertThatThrownBy(() -> connect(at, OTHER, LONG))
        .hasMessageContaining("does not let this machine in")
        .hasMessageContaining("outboard keys add " + OTHER.key().line());
    awaitLog("not authorised; to do that: outboard keys add outboard-p256 " + OTHER.key().base64());
    assertThat(devices.getFirst().streams()).isZero();
    authorized.add(OTHER.key()); // takes effect at once
    connect(at, OTHER, LONG).wire().close();
  }

  @Test
  void whatIsNoDeviceIsSaid() throws Exception {
    TcpAddress gone;
    try (ServerSocket server = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
      gone = new TcpAddress("127.0.0.1", server.getLocalPort());
      TcpAddress at = new TcpAddress("127.0.0.1", server.getLocalPort());
      Thread.ofPlatform()
          .daemon()
          .start(() -> {
            for (String answer : List.of("HTTP/1.1 400 Bad Request\r\n\r\n", "")) {
              try (Socket s = server.accept()) {
                assertThat(s.getInputStream().read(new byte[10])).isPositive();
                s.getOutputStream().write(answer.getBytes(StandardCharsets.US_ASCII));
                s.shutdownOutput();
                while (s.getInputStream().read(new byte[1000]) > 0) {
                  // until it has had enough
                }
              } catch (IOException e) {
                // It has.
              }
            }
          });
      assertThatThrownBy(() -> connect(at, HOST, LONG))
          .hasMessageContaining("does not speak TLS as a device does");
      assertThatThrownBy(() -> connect(at, HOST, LONG))
          .hasMessageContaining("closed the connection");
    }
    assertThatThrownBy(() -> connect(gone, HOST, LONG)).hasMessageContaining("Nothing listens at");
    assertThatThrownBy(() -> connect(new TcpAddress("no.such.invalid", 1), HOST, LONG))
        .hasMessageContaining("no machine called no.such.invalid");
  }

  /** With the right keys, and TLS 1.2 alone. */
  private static SSLEngine older(Identity own, Identity other, boolean client) throws Exception {
    SSLEngine engine = JsseConnection.engine(List.of(other.key()), own, client);
    SSLParameters parameters = engine.getSSLParameters();
    parameters.setProtocols(new String[] {"TLSv1.2"});
    parameters.setCipherSuites(new String[] {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"});
    engine.setSSLParameters(parameters);
    return engine;
  }

  private JsseConnection olderHost(int port) throws Exception {
    JsseConnection made =
        new JsseConnection(
            SocketChannel.open(new InetSocketAddress(InetAddress.getLoopbackAddress(), port)),
            older(HOST, DEVICE, true));
    open.add(made::close);
    return made;
  }

  /** Whoever holds the right key and speaks TLS 1.2 gets no further than that, either way round. */
  @Test
  void olderTlsIsRefused() throws Exception {
    try (ServerSocketChannel server =
        ServerSocketChannel.open()
            .bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))) {
      int port = ((InetSocketAddress) server.getLocalAddress()).getPort();
      BlockingQueue<String> ends = new LinkedBlockingQueue<>();
      Thread.ofPlatform()
          .daemon()
          .start(() -> {
            for (int i = 0; i < 2; i++) {
              try {
                JsseConnection c = new JsseConnection(server.accept(), older(DEVICE, HOST, false));
                c.handshake();
                ends.add("agreed");
                c.close();
              } catch (Exception e) {
                ends.add(e.toString());
              }
            }
          });
      // Two such ends come to terms, so it is the version alone that the others refuse.
      olderHost(port).handshake();
      assertThat(ends.poll(20, TimeUnit.SECONDS)).isEqualTo("agreed");
      assertThatThrownBy(() -> connect(new TcpAddress("127.0.0.1", port), HOST, LONG))
          .hasMessageContaining("does not speak TLS as a device does");
      assertThat(ends.poll(20, TimeUnit.SECONDS)).contains("SSLHandshakeException");
    }
    TcpAddress device = device();
    JsseConnection old = olderHost(device.port());
    assertThatThrownBy(old::handshake).isInstanceOf(SSLException.class);
    assertThat(sessions).as("no session has begun").isEmpty();
    wire(connect(device, HOST, LONG)).close();
  }

  /** What a device of another version, or a hostile one, may answer. */
  private LinkException answered(ByteBuffer answer) throws Exception {
    try (ServerSocketChannel server =
        ServerSocketChannel.open()
            .bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))) {
      int port = ((InetSocketAddress) server.getLocalAddress()).getPort();
      Thread far =
          Thread.ofPlatform()
              .start(() -> {
                try {
                  TlsConnection c =
                      new TlsConnection(
                          server.accept(), new Trust(List.of(HOST.key())), DEVICE, false);
                  c.handshake();
                  Opening.receiveRequest(c);
                  c.write(answer, ByteBuffer.allocateDirect(0));
                  c.drain();
                  c.close();
                } catch (Exception e) {
                  log.add("far: " + e);
                }
              });
      try {
        connect(new TcpAddress("127.0.0.1", port), HOST, LONG).wire().close();
        throw new AssertionError("it was accepted");
      } catch (LinkException e) {
        return e;
      } finally {
        far.join();
      }
    }
  }

  private static ByteBuffer answer(int version, int status, int length, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    ByteBuffer b = ByteBuffer.allocateDirect(40 + bytes.length);
    b.order(ByteOrder.LITTLE_ENDIAN);
    b.putInt(0x6e6c626f).putShort((short) version).putShort((short) status).putInt(1000);
    b.putShort((short) length).putShort((short) 0).put(new byte[16]).putLong(0).put(bytes);
    return b.flip();
  }

  @Test
  void otherVersionsAndNonsenseGetAClearWord() throws Exception {
    assertThat(answered(answer(7, 1, 13, "versions 5-7 ")))
        .hasMessageContaining("another version")
        .hasMessageContaining("versions 5-7")
        .hasMessageContaining("same version of Outboard on both");
    assertThat(answered(answer(9, 0, 0, ""))).hasMessageContaining("version 9");
    assertThat(answered(answer(3, 3, 4, "\033[2m"))).hasMessage("The device refuses:  [2m");
    assertThat(answered(answer(3, 3, 2000, ""))).hasMessageContaining("closed the connection");
    ByteBuffer magic = answer(3, 0, 0, "").putInt(0, 4711);
    assertThat(answered(magic)).hasMessageContaining("does not speak Outboard's protocol");

    // And the other way round: a host of another version, and one that speaks nonsense.
    TcpAddress at = device();
    Opening.Answer refusal =
        asked(
            at, HOST, new Opening.Request(4, 6, Opening.Kind.BEGIN, LONG, Opening.NONE, null, ""));
    assertThat(refusal.status()).isEqualTo(Opening.OTHER_VERSION);
    assertThat(refusal.text()).isEqualTo("versions 3 to 3");
    Random random = new Random(1);
    for (int i = 0; i < 20; i++) {
      TlsConnection c = tls(at, HOST);
      byte[] bytes = new byte[40];
      random.nextBytes(bytes);
      c.write(ByteBuffer.allocateDirect(40).put(bytes).flip(), ByteBuffer.allocateDirect(0));
      assertThat(c.read()).isNull();
      c.close();
    }
    assertThat(devices.getFirst().streams()).isZero();
  }

  private static TlsConnection tls(TcpAddress at, Identity who) throws Exception {
    TlsConnection c =
        new TlsConnection(
            SocketChannel.open(new InetSocketAddress(at.host(), at.port())),
            new Trust(List.of(DEVICE.key())),
            who,
            true);
    c.handshake();
    return c;
  }

  private static Opening.Answer asked(TcpAddress at, Identity who, Opening.Request request)
      throws Exception {
    TlsConnection c = tls(at, who);
    try {
      Opening.send(c, request);
      return Opening.receiveAnswer(c, request.kind());
    } finally {
      c.close();
    }
  }

  /** What a host makes of a connection by hand. */
  private final class ByHand {
    final Identity own = Identity.create("");
    final TlsConnection first;
    final Opening.Answer answer;

    ByHand(TcpAddress at, Identity who, Opening.Kind kind, String stream) throws Exception {
      first = tls(at, who);
      Opening.send(first, new Opening.Request(kind, LONG, stream, own.key(), ""));
      answer = Opening.receiveAnswer(first, kind);
      open.add(first::close);
    }

    /** What the session is carried by. */
    TlsConnection second(Identity shown) throws Exception {
      TlsConnection c =
          new TlsConnection(
              first.release(),
              new Trust(List.of(Objects.requireNonNull(answer.key(), answer.text()))),
              shown,
              true);
      open.add(c::close);
      c.handshake();
      return c;
    }

    TlsConnection second(long received) throws Exception {
      TlsConnection c = second(own);
      Opening.sendReceived(c, received);
      return c;
    }
  }

  private int status(TcpAddress at, Identity who, String stream) throws Exception {
    return new ByHand(at, who, Opening.Kind.GO_ON, stream).answer.status();
  }

  @Test
  void aStreamIsItsHostsAlone() throws Exception {
    authorized.add(OTHER.key());
    TcpAddress at = device();
    ByHand begun = new ByHand(at, HOST, Opening.Kind.BEGIN, Opening.NONE);
    String stream = begun.answer.stream();
    assertThat(stream).hasSize(32).isNotEqualTo(Opening.NONE);
    TlsConnection c = begun.second(0);
    assertThat(Opening.receiveReceived(c)).isZero();
    assertThat(status(at, OTHER, stream)).isEqualTo(Opening.NO_STREAM);
    assertThat(status(at, HOST, Opening.NONE)).isEqualTo(Opening.NO_STREAM);
    assertThat(status(at, HOST, "5".repeat(32))).isEqualTo(Opening.NO_STREAM);
    // Its own host may, while the device still believes in the connection before.
    TlsConnection own = new ByHand(at, HOST, Opening.Kind.GO_ON, stream).second(0);
    assertThat(Opening.receiveReceived(own)).isZero();
    assertThat(c.read()).isNull();
    // Who says to have got what was never sent has lost the stream.
    new ByHand(at, HOST, Opening.Kind.GO_ON, stream).second(5);
    require(() -> devices.getFirst().streams() == 0);
  }

  /** Neither the keys by which the two know each other, nor anybody else's. */
  @Test
  void nothingButTheKeysOfAConnectionOpensItsSession() throws Exception {
    authorized.add(OTHER.key());
    TcpAddress at = device();
    for (Identity wrong : List.of(HOST, OTHER, Identity.create(""))) {
      ByHand begun = new ByHand(at, HOST, Opening.Kind.BEGIN, Opening.NONE);
      TlsConnection c = begun.second(wrong); // the device's word on it comes behind the handshake
      assertThatThrownBy(
              () -> {
                Opening.sendReceived(c, 0);
                Opening.receiveReceived(c);
              })
          .isInstanceOf(IOException.class);
      require(() -> devices.getFirst().streams() == 0);
    }
    // Nor does a wrong one end a session that there is.
    ByHand begun = new ByHand(at, HOST, Opening.Kind.BEGIN, Opening.NONE);
    TlsConnection c = begun.second(0);
    assertThat(Opening.receiveReceived(c)).isZero();
    for (Identity wrong : List.of(HOST, OTHER)) {
      TlsConnection w =
          new ByHand(at, HOST, Opening.Kind.GO_ON, begun.answer.stream()).second(wrong);
      assertThatThrownBy(() -> Opening.receiveReceived(w)).isInstanceOf(IOException.class);
    }
    greets(c);
    // The other way round: a host does not go on with a device that shows another key.
    ByHand impostor = new ByHand(at, HOST, Opening.Kind.BEGIN, Opening.NONE);
    TlsConnection mistaken =
        new TlsConnection(
            impostor.first.release(), new Trust(List.of(DEVICE.key())), impostor.own, true);
    assertThatThrownBy(mistaken::handshake).isInstanceOf(TlsException.class);
    mistaken.close();
  }

  /** Says hello, and hears a welcome. */
  private static void greets(TlsConnection c) throws Exception {
    ByteBuffer hello = FrameCodec.newBuffer();
    FrameCodec.encode(new Frame.Hello(3, 6, 1, "by hand"), hello);
    ByteBuffer record = ByteBuffer.allocateDirect(100).order(ByteOrder.LITTLE_ENDIAN);
    record.putInt(hello.remaining()).putLong(0).put(hello);
    c.write(record.flip(), ByteBuffer.allocateDirect(0));
    int got = 0;
    while (got < 40) { // a Welcome's first bytes
      ByteBuffer some = Objects.requireNonNull(c.read());
      got += some.remaining();
      some.position(some.limit());
    }
  }

  /** A connection that the network brings behind a newer one is its host's no more. */
  @Test
  void aConnectionThatComesLateEndsNothing() throws Exception {
    TcpAddress at = device();
    ByHand begun = new ByHand(at, HOST, Opening.Kind.BEGIN, Opening.NONE);
    TlsConnection c = begun.second(0);
    assertThat(Opening.receiveReceived(c)).isZero();
    greets(c);
    String stream = begun.answer.stream();
    for (int received : new int[] {20, 20, 10, 20, 0, 20}) {
      TlsConnection next = new ByHand(at, HOST, Opening.Kind.GO_ON, stream).second(received);
      if (received == 20) {
        assertThat(Opening.receiveReceived(next)).isPositive();
      } else {
        assertThatThrownBy(() -> Opening.receiveReceived(next)).isInstanceOf(IOException.class);
      }
      assertThat(devices.getFirst().streams()).isEqualTo(1);
    }
  }

  @Test
  void whatIsToBeSharedIsSaid() throws Exception {
    TcpAddress at = device();
    TcpHost.connect(at, HOST, List.of(DEVICE.key()), LONG, "a-name", LinkEvents.NONE)
        .wire()
        .close();
    connect(at, HOST, LONG).wire().close();
    assertThat(sessions).hasSize(2);
    assertThat(sessions.get(0)).endsWith(" shares a-name");
    assertThat(sessions.get(1)).endsWith(" shares null");
  }

  @Test
  void aStreamWithoutAHostEndsInTime() throws Exception {
    TcpAddress at = device();
    TcpHost.Stream kept = connect(at, HOST, Duration.ofMillis(300));
    assertThat(kept.patience()).isEqualTo(Duration.ofMillis(300));
    assertThat(devices.getFirst().streams()).isEqualTo(1);
    Objects.requireNonNull(wire(kept).connection()).close(); // as a machine that is gone
    require(() -> devices.getFirst().streams() == 0);
    awaitLog("did not come back within 0.3 s");
    // The device says so, unless the machine is so busy that its word takes longer than the stream.
    assertThatThrownBy(() -> kept.wire().read(ByteBuffer.allocateDirect(10)))
        .hasMessageMatching(".*could not be taken up again: .*(has ended|has not answered).*");
    kept.wire().close();
    TcpHost.Stream notKept = connect(at, HOST, Duration.ZERO);
    Objects.requireNonNull(wire(notKept).connection()).close();
    require(() -> devices.getFirst().streams() == 0);
    notKept.wire().close();
  }

  @Test
  void aKeyThatIsTakenAwayDoesNotComeBack() throws Exception {
    // Time enough to be told; for as long the device keeps the stream.
    TcpHost.Stream stream = connect(device(), HOST, Duration.ofSeconds(4));
    authorized.clear();
    ResumableWire wire = wire(stream);
    wire.breaks(Objects.requireNonNull(wire.connection()), "by the test");
    assertThatThrownBy(() -> wire.read(ByteBuffer.allocateDirect(10)))
        .hasMessageContaining("does not let this machine in");
    wire.close();
    require(() -> devices.getFirst().streams() == 0);
  }

  @Test
  void strangersAreFewAndSessionsTooAndNoneIsBegunForThem() throws Exception {
    TcpAddress at = device();
    List<Socket> strangers = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      strangers.add(new Socket(at.host(), at.port()));
    }
    for (int i = 0; i < 40 - 32; i++) {
      strangers.get(i).setSoTimeout(20_000);
      InputStream in = strangers.get(i).getInputStream();
      assertThat(in.read()).as("the oldest have given way").isEqualTo(-1);
    }
    connect(at, HOST, Duration.ZERO).wire().close(); // one that is known still comes in
    Socket plain = new Socket(at.host(), at.port());
    plain.getOutputStream().write("GET / HTTP/1.0\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
    plain.setSoTimeout(20_000);
    while (plain.getInputStream().read() >= 0) {
      // TLS's alert
    }
    awaitLog("127.0.0.1:" + plain.getLocalPort() + ": ");
    plain.close();
    for (Socket s : strangers) {
      s.close();
    }
    assertThat(sessions).hasSize(1);
    require(() -> devices.getFirst().streams() == 0);
    List<TcpHost.Stream> streams = new ArrayList<>();
    for (int i = 0; i < STREAMS; i++) {
      streams.add(connect(at, HOST, Duration.ZERO));
    }
    assertThatThrownBy(() -> connect(at, HOST, Duration.ZERO))
        .hasMessageContaining("8 sessions, its limit");
    assertThat(sessions).hasSize(STREAMS + 1);
    streams.forEach(s -> s.wire().close());
    require(() -> devices.getFirst().streams() == 0);
    assertThatThrownBy(() ->
            connect(
                device((host, name, share, patience, fate) -> {
                  throw new IOException("there is no kernel");
                }),
                HOST,
                LONG))
        .hasMessage("The device refuses: there is no kernel");
  }

  @Test
  void keysAreLinesOfText() throws Exception {
    PeerKey key = HOST.key();
    assertThat(PeerKey.parse(key.line())).isEqualTo(key);
    assertThat(PeerKey.parse("  " + key.line() + "\n")).isEqualTo(key);
    assertThat(key.fingerprint()).matches("SHA256:[A-Za-z0-9+/]{43}");
    String line = key.line();
    String rsa =
        Base64.getEncoder()
            .encodeToString(
                KeyPairGenerator.getInstance("RSA").generateKeyPair().getPublic().getEncoded());
    for (String wrong :
        List.of(
            "",
            "outboard-p256",
            line.replace("outboard-p256", "ssh-ed25519"),
            line.replace("MFk", "MFj"),
            line.replace("= ", " "),
            line.substring(0, 60),
            "outboard-p256 " + rsa,
            line + "\033[2J",
            line + "x".repeat(2000))) {
      assertThat(PeerKey.parse(wrong)).as(wrong).isNull();
    }
    assertThat(Identity.of(HOST.pem(), key).key()).isEqualTo(key);
    assertThatThrownBy(() -> Identity.of(HOST.pem(), OTHER.key()))
        .hasMessageContaining("public key");
    assertThatThrownBy(() -> Identity.of("secret", key)).hasMessageContaining("PEM");
    assertThat(HOST.toString()).isEqualTo(line);
    for (String text : List.of("nic:7000", "10.0.0.1:1", "[::1]:65535")) {
      assertThat(Objects.requireNonNull(TcpAddress.parse(text)).toString()).isEqualTo(text);
    }
    for (String text : List.of("nic", "nic:", ":1", "nic:65536", "::1:2", "a b:1", "nic:123456")) {
      assertThat(TcpAddress.parse(text)).as(text).isNull();
    }
  }

  @Test
  void aCertificateForOthersNamesAnAddress() throws Exception {
    InetAddress address = InetAddress.ofLiteral("10.77.0.2");
    X509Certificate certificate =
        (X509Certificate)
            CertificateFactory.getInstance("X.509")
                .generateCertificate(
                    new ByteArrayInputStream(
                        HOST.certificatePem(address).getBytes(StandardCharsets.US_ASCII)));
    certificate.verify(certificate.getPublicKey());
    assertThat(certificate.getPublicKey().getEncoded()).isEqualTo(HOST.key().encoded());
    assertThat(certificate.getSubjectAlternativeNames()).containsExactly(List.of(7, "10.77.0.2"));
    X509Certificate own =
        (X509Certificate)
            CertificateFactory.getInstance("X.509")
                .generateCertificate(new ByteArrayInputStream(HOST.certificate()));
    own.verify(certificate.getPublicKey());
    assertThat(own.getSubjectAlternativeNames()).isNull();
  }
}
