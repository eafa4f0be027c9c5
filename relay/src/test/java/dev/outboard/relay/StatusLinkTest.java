// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.channel.ConnectionTaker;
import dev.outboard.channel.Decoded;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameCodec;
import dev.outboard.channel.LinkException;
import dev.outboard.channel.ServiceFrame;
import dev.outboard.channel.ServiceStatus;
import dev.outboard.channel.SessionFate;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A device that is asked what it does, by hosts that mean well and by others. */
@Timeout(120)
class StatusLinkTest {
  private static final Identity HOST = Identity.create("the host");
  private static final Identity DEVICE = Identity.create("the device");
  private static final Identity OTHER = Identity.create("somebody else");
  private static final Duration SILENCE = Duration.ofMillis(1500);

  private static final ServiceFrame.KernelStatus KERNEL =
      new ServiceFrame.KernelStatus(0, "web", 1, "library", "6.12", 2, 3, 4, 5, 6, List.of());

  private final List<PeerKey> authorized = new CopyOnWriteArrayList<>(List.of(HOST.key()));
  private final List<String> log = new CopyOnWriteArrayList<>();
  private final List<String> askedBy = new CopyOnWriteArrayList<>();
  private final AtomicInteger asking = new AtomicInteger();
  private volatile String refusal = "";
  private TcpDevice device;
  private TcpAddress at;

  @BeforeEach
  void listen() throws IOException {
    TcpDevice.Sessions sessions =
        new TcpDevice.Sessions() {
          @Override
          public ConnectionTaker open(
              PeerKey host,
              String name,
              @Nullable String share,
              Duration patience,
              SessionFate fate)
              throws IOException {
            throw new IOException("no sessions here");
          }

          @Override
          public TcpDevice.Questions ask(PeerKey host, String name) throws IOException {
            if (!refusal.isEmpty()) {
              throw new IOException(refusal);
            }
            asking.incrementAndGet();
            return new TcpDevice.Questions() {
              @Override
              public ServiceStatus answer() throws IOException {
                if (!refusal.isEmpty()) {
                  throw new IOException(refusal);
                }
                askedBy.add(host.comment());
                return new ServiceStatus(
                    new ServiceFrame.ServiceStatus(
                        "v", 1, 2, 3, false, false, true, 2, askedBy.size(), 5, 6, "cpu"),
                    List.of(KERNEL, KERNEL));
              }

              @Override
              public void close() {
                asking.decrementAndGet();
              }
            };
          }
        };
    device =
        TcpDevice.listen(
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
            DEVICE,
            () -> List.copyOf(authorized),
            sessions,
            Duration.ZERO,
            log::add,
            1,
            SILENCE);
    at = new TcpAddress("127.0.0.1", device.address().getPort());
  }

  @AfterEach
  void close() {
    device.close();
  }

  private StatusLink status(Identity who) throws LinkException {
    return TcpHost.status(at, who, List.of(DEVICE.key()));
  }

  private void awaitNobody() throws InterruptedException {
    long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
    while (asking.get() != 0) {
      assertThat(System.nanoTime()).as("%s", log).isLessThan(until);
      Thread.sleep(5);
    }
  }

  @Test
  void aHostAsksAsOftenAsItLikesAndIsKnownByItsKey() throws Exception {
    try (StatusLink link = status(HOST)) {
      for (int i = 1; i <= 5; i++) {
        ServiceStatus status = link.ask();
        assertThat(status.service().sessions()).isEqualTo(i);
        assertThat(status.kernels()).isEqualTo(Collections.nCopies(2, KERNEL.answering(i)));
      }
      assertThat(asking).hasValue(1);
    }
    assertThat(askedBy).hasSize(5).containsOnly("the host");
    awaitNobody();
    assertThat(device.streams()).isZero();
  }

  @Test
  void whoIsNotAuthorisedOrIsRefusedIsToldSo() throws Exception {
    assertThatThrownBy(() -> status(OTHER))
        .isInstanceOfSatisfying(LinkException.class, e -> assertThat(e.lasting()).isTrue())
        .hasMessageContaining("does not let this machine in")
        .hasMessageContaining("outboard keys add " + OTHER.key().line());
    assertThatThrownBy(() -> TcpHost.status(at, HOST, List.of(OTHER.key())))
        .isInstanceOfSatisfying(LinkException.class, e -> assertThat(e.lasting()).isTrue())
        .hasMessageContaining("another key");
    try (StatusLink link = status(HOST)) {
      link.ask();
      refusal = "it is over";
      assertThatThrownBy(link::ask).hasMessageContaining("refuses: it is over");
    }
    awaitNobody();
    assertThatThrownBy(() -> status(HOST))
        .isInstanceOfSatisfying(LinkException.class, e -> assertThat(e.lasting()).isFalse())
        .hasMessage("The device refuses: it is over");
    device.close();
    assertThatThrownBy(() -> status(HOST))
        .isInstanceOfSatisfying(LinkException.class, e -> assertThat(e.lasting()).isFalse())
        .hasMessageContaining("Nothing listens at");
  }

  @Test
  void aDeviceThatEndsEndsTheLink() throws Exception {
    StatusLink link = status(HOST);
    link.ask();
    device.close();
    assertThatThrownBy(link::ask).isInstanceOf(LinkException.class);
    link.close();
    awaitNobody();
  }

  /** One that has asked for nothing yet. */
  private TlsConnection known() throws Exception {
    TlsConnection c =
        new TlsConnection(
            SocketChannel.open(new InetSocketAddress(at.host(), at.port())),
            new Trust(List.of(DEVICE.key())),
            HOST,
            true);
    c.handshake();
    return c;
  }

  /** One that is asked by hand. */
  private TlsConnection raw() throws Exception {
    TlsConnection c = known();
    Opening.send(
        c, new Opening.Request(Opening.Kind.STATUS, Duration.ZERO, Opening.NONE, null, ""));
    Opening.Answer answer = Opening.receiveAnswer(c, Opening.Kind.STATUS);
    assertThat(answer.status()).isEqualTo(Opening.OK);
    assertThat(answer.version()).isEqualTo(3);
    assertThat(answer.stream()).isEqualTo(Opening.NONE);
    return c;
  }

  private static String farewell(TlsConnection c) {
    ConnectionFrames frames = new ConnectionFrames(c, FrameCodec.MAX_BYTES);
    while (true) {
      switch (frames.receive()) {
        case Decoded.Received(Frame.Bye(String why)) -> {
          c.close();
          return why;
        }
        case Decoded.Received(Frame frame) -> {}
        case Decoded.Malformed(String why) -> throw new AssertionError(why);
        case Decoded.Ended(String why) -> throw new AssertionError(why);
      }
    }
  }

  @Test
  void oneThatIsSilentIsClosed() throws Exception {
    TlsConnection nothing = raw();
    assertThat(farewell(nothing)).isEqualTo("nothing was asked for 1.5 s");
    TlsConnection half = raw();
    half.write(ByteBuffer.allocateDirect(5), ByteBuffer.allocateDirect(0));
    assertThat(farewell(half)).isEqualTo("nothing was asked for 1.5 s");
    awaitNobody();
  }

  @Test
  void whatIsNoQuestionEndsTheLink() throws Exception {
    TlsConnection other = raw();
    new ConnectionFrames(other, 16).send(new Frame.Ping(7));
    assertThat(farewell(other)).isEqualTo("Ping is no question");
    TlsConnection large = raw();
    new ConnectionFrames(large, 16).send(new Frame.Notice("x".repeat(100)));
    assertThat(farewell(large)).startsWith("a frame of 1");
    TlsConnection odd = raw();
    ByteBuffer negative = ByteBuffer.allocateDirect(8).putInt(0, -1);
    odd.write(negative, ByteBuffer.allocateDirect(0));
    assertThat(farewell(odd)).startsWith("a frame of -1");
    awaitNobody();
    assertThat(askedBy).isEmpty();
  }

  /** Many questions in one write are answered one by one, and no faster than allowed. */
  @Test
  void questionsAreAnsweredAtThePaceOfTheDevice() throws Exception {
    int questions = 6;
    TlsConnection c = raw();
    ByteBuffer one = FrameCodec.newBuffer();
    FrameCodec.encode(new ServiceFrame.StatusRequest(9), one);
    ByteBuffer all = ByteBuffer.allocateDirect(questions * one.remaining());
    for (int i = 0; i < questions; i++) {
      all.put(one.duplicate());
    }
    long began = System.nanoTime();
    c.write(all.flip(), ByteBuffer.allocateDirect(0));
    ConnectionFrames frames = new ConnectionFrames(c, FrameCodec.MAX_BYTES);
    for (int i = 0; i < questions; i++) {
      assertThat(ServiceStatus.receive(frames::receive, "here").kernels()).hasSize(2);
    }
    assertThat(System.nanoTime() - began)
        .isGreaterThanOrEqualTo(TimeUnit.MILLISECONDS.toNanos(100L * (questions - 1)));
    c.close();
    awaitNobody();
  }

  /** A device of the version that tells nobody elsewhere, and one that answers anything. */
  @Test
  void anOldDeviceAndAHostileOneGetAClearWord() throws Exception {
    assertThat(answered(1, Opening.OTHER_VERSION, "versions 1 to 1"))
        .hasMessageContaining("older version of Outboard")
        .hasMessageContaining("same version on both")
        .isInstanceOfSatisfying(LinkException.class, e -> assertThat(e.lasting()).isTrue());
    assertThat(answered(7, Opening.OTHER_VERSION, "versions 7 to 8"))
        .hasMessageContaining("another version of the protocol");
    List<Frame> many = new ArrayList<>();
    many.add(new ServiceFrame.ServiceStatus("v", 1, 2, 3, false, false, true, 3, 4, 5, 6, "cpu"));
    many.add(KERNEL);
    many.add(new Frame.Ping(1));
    assertThat(answered(3, Opening.OK, "", many.toArray(Frame[]::new)))
        .hasMessageContaining("does not say all");
    assertThat(answered(3, Opening.OK, "", new Frame.Ping(1)))
        .hasMessageContaining("is no service");
    assertThat(answered(3, Opening.OK, "", new Frame.Bye("\033[2m\u009b2mgo")))
        .hasMessageEndingWith("refuses:  [2m 2mgo");
  }

  private Exception answered(int version, int status, String text, Frame... frames)
      throws Exception {
    CountDownLatch done = new CountDownLatch(1);
    try (ServerSocketChannel server = ServerSocketChannel.open()) {
      server.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
      Thread far =
          Thread.ofPlatform()
              .start(() -> {
                try {
                  TlsConnection c =
                      new TlsConnection(
                          server.accept(), new Trust(List.of(HOST.key())), DEVICE, false);
                  c.handshake();
                  Opening.receiveRequest(c);
                  Opening.send(
                      c,
                      new Opening.Answer(version, status, Duration.ZERO, Opening.NONE, text, null));
                  ConnectionFrames out = new ConnectionFrames(c, 16);
                  for (Frame frame : frames) {
                    out.send(frame);
                  }
                  done.await();
                  c.close();
                } catch (IOException e) {
                  log.add("far: " + e);
                } catch (InterruptedException e) {
                  Thread.currentThread().interrupt();
                }
              });
      TcpAddress there =
          new TcpAddress("127.0.0.1", ((InetSocketAddress) server.getLocalAddress()).getPort());
      try (StatusLink link = TcpHost.status(there, HOST, List.of(DEVICE.key()))) {
        link.ask();
        throw new AssertionError("it was accepted");
      } catch (LinkException e) {
        return e;
      } finally {
        done.countDown();
        far.join();
      }
    }
  }

  /** Whatever it asks for, and though it sends no more than its version has. */
  @Test
  void anOldHostIsToldOfTheVersion() throws Exception {
    for (int highest = 1; highest <= 2; highest++) {
      for (Opening.Kind kind : Opening.Kind.values()) {
        TlsConnection c = known();
        Opening.send(
            c, new Opening.Request(1, highest, kind, Duration.ZERO, Opening.NONE, null, ""));
        Opening.Answer answer = Opening.receiveAnswer(c, kind);
        assertThat(answer.version()).isEqualTo(3);
        assertThat(answer.status()).isEqualTo(Opening.OTHER_VERSION);
        assertThat(answer.text()).isEqualTo("versions 3 to 3");
        c.close();
      }
    }
  }
}
