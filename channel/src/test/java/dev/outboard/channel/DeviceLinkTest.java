// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Memory;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The host's end of a link against devices that are scripted here, most of them bad. */
@Timeout(60)
class DeviceLinkTest {
  private static final LinkOptions OPTIONS =
      new LinkOptions("test", 4, Duration.ofSeconds(5), Duration.ofSeconds(5));

  private final BlockingQueue<String> heard = new LinkedBlockingQueue<>();
  private final LinkListener listener =
      new LinkListener() {
        @Override
        public void ready(int handle, int pollMask, long stamp) {
          heard.add("ready " + handle + " " + pollMask + " " + stamp);
        }

        @Override
        public void lost(String why) {
          heard.add("lost " + why);
        }

        @Override
        public void notice(String line) {
          heard.add("notice " + line);
        }
      };

  /** What a scripted device does after it was greeted. */
  private interface Script {
    void run(FrameStream stream) throws Exception;
  }

  private DeviceLink link(Script script) throws Exception {
    int[] pair = socketPair();
    Thread.ofPlatform()
        .daemon(true)
        .start(() -> {
          try (FrameStream stream = new FrameStream(pair[1])) {
            stream.receive(5000);
            script.run(stream);
          } catch (Exception e) {
            heard.add("script " + e);
          }
        });
    return DeviceLink.overDescriptor(pair[0], listener, OPTIONS);
  }

  private static int[] socketPair() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment two = arena.allocate(8, 4);
      assertThat(Linux.socketpair(Socket.AF_UNIX, Socket.SOCK_STREAM, 0, two.address())).isZero();
      return new int[] {two.get(ValueLayout.JAVA_INT, 0), two.get(ValueLayout.JAVA_INT, 4)};
    }
  }

  private static int memory(long bytes, int seals) {
    try (Arena arena = Arena.ofConfined()) {
      int fd =
          (int)
              Linux.memfdCreate(Linux.cString(arena, "slots").address(), Memory.MFD_ALLOW_SEALING);
      assertThat(Linux.ftruncate(fd, bytes)).isZero();
      assertThat(Linux.fcntl(fd, Memory.F_ADD_SEALS, seals)).isZero();
      return fd;
    }
  }

  private static Welcome welcome(int version, int slots, long slotBytes) {
    return new Welcome(
        version, slots, slotBytes, "k", "r", "s", "", List.of("/srv"), List.of("hello"), false);
  }

  private static void greet(FrameStream stream) {
    int fd = memory(4 * SlotLayout.BYTES, Memory.F_SEAL_SHRINK);
    stream.send(welcome(FrameCodec.LOWEST_VERSION, 4, SlotLayout.BYTES), fd);
    Linux.close(fd);
  }

  @Test
  void aSessionOpensAndTellsWhatItHears() throws Exception {
    try (DeviceLink link =
        link(stream -> {
          greet(stream);
          stream.send(new Frame.Ready(List.of(new Frame.Sample(3, 1, 7))));
          stream.send(new Frame.Notice("a line"));
          stream.send(new Frame.Detached(2));
          Decoded attach = stream.receive(5000);
          long id = ((Frame.Attach) ((Decoded.Received) attach).frame()).id();
          stream.send(new Frame.Attached(id, 2));
          stream.receive(5000);
        })) {
      assertThat(heard.poll(5, TimeUnit.SECONDS)).isEqualTo("notice hello");
      assertThat(heard.poll(5, TimeUnit.SECONDS)).isEqualTo("ready 3 1 7");
      assertThat(heard.poll(5, TimeUnit.SECONDS)).isEqualTo("notice a line");
      assertThat(link.attach(1, 1, -1, Credentials.root()).index()).isEqualTo(2);
    }
    assertThat(heard).isEmpty();
  }

  @Test
  void aDeviceThatDoesNotKeepToTheProtocolIsRefused() {
    record Bad(String what, Script script, String message) {}
    List<Bad> bad =
        List.of(
            new Bad("version", s -> s.send(welcome(9, 4, SlotLayout.BYTES)), "version 9"),
            new Bad(
                "no memory",
                s -> s.send(welcome(FrameCodec.LOWEST_VERSION, 4, SlotLayout.BYTES)),
                "no memory"),
            new Bad("refusal", s -> s.send(new Frame.Bye("too many")), "too many"),
            new Bad("other frame", s -> s.send(new Frame.Ping(1)), "Ping"),
            new Bad("end", s -> {}, "closed the link"),
            new Bad(
                "layout",
                s ->
                    withMemory(
                        s, welcome(FrameCodec.LOWEST_VERSION, 4, 4096), 4 * SlotLayout.BYTES, 2),
                "layout"),
            new Bad(
                "slots",
                s ->
                    withMemory(
                        s,
                        welcome(FrameCodec.LOWEST_VERSION, 1 << 30, SlotLayout.BYTES),
                        SlotLayout.BYTES,
                        2),
                "layout"),
            new Bad(
                "short memory",
                s ->
                    withMemory(
                        s,
                        welcome(FrameCodec.LOWEST_VERSION, 4, SlotLayout.BYTES),
                        SlotLayout.BYTES,
                        2),
                "too short"),
            new Bad(
                "memory that can shrink",
                s ->
                    withMemory(
                        s,
                        welcome(FrameCodec.LOWEST_VERSION, 4, SlotLayout.BYTES),
                        4 * SlotLayout.BYTES,
                        0),
                "could shrink"));
    for (Bad b : bad) {
      assertThatThrownBy(() -> link(b.script()).close())
          .as(b.what())
          .isInstanceOf(LinkException.class)
          .hasMessageContaining(b.message());
    }
  }

  private static void withMemory(FrameStream s, Frame welcome, long bytes, int seals) {
    int fd = memory(bytes, seals);
    s.send(welcome, fd);
    Linux.close(fd);
  }

  @Test
  void aSlotThatIsTakenIsNotGivenTwice() throws Exception {
    try (DeviceLink link =
        link(stream -> {
          greet(stream);
          for (int i = 0; i < 2; i++) {
            Decoded attach = stream.receive(5000);
            long id = ((Frame.Attach) ((Decoded.Received) attach).frame()).id();
            stream.send(new Frame.Attached(id, 1));
          }
          stream.receive(5000);
        })) {
      CallSlot slot = link.attach(1, 1, -1, Credentials.root());
      slot.submit();
      assertThatThrownBy(() -> link.attach(1, 2, -1, Credentials.root()))
          .isInstanceOf(LinkException.class);
      assertThat(slot.await(TimeUnit.SECONDS.toNanos(1))).isTrue();
      assertThat(slot.result()).isEqualTo(-Errno.ENETDOWN);
      assertThat(link.lost()).isTrue();
      assertThat(heard.poll(5, TimeUnit.SECONDS)).isEqualTo("notice hello");
      assertThat(heard.poll(5, TimeUnit.SECONDS)).startsWith("lost");
    }
  }

  @Test
  void aSlotIsLentWithAFileOfItsOwn() throws Exception {
    try (DeviceLink link =
        link(stream -> {
          greet(stream);
          answerLoan(stream, SlotLayout.BYTES, Memory.F_SEAL_SHRINK);
          heard.add("" + ((Decoded.Received) stream.receive(5000)).frame());
        })) {
      LentSlot slot = link.lend(7, -1, Credentials.root());
      assertThat(slot.index()).isEqualTo(2);
      assertThat(Linux.lseek(slot.descriptor(), 0, 2)).isEqualTo(SlotLayout.BYTES);
      slot.given();
      link.takeBack(slot);
      link.takeBack(slot);
      heard.poll(5, TimeUnit.SECONDS);
      assertThat(heard.poll(5, TimeUnit.SECONDS)).isEqualTo("Detach[slot=2]");
    }
  }

  @Test
  void aSlotThatIsLentBadlyIsNotTaken() throws Exception {
    record Bad(long bytes, int seals, String message) {}
    for (Bad bad :
        List.of(
            new Bad(4096, Memory.F_SEAL_SHRINK, "too short"),
            new Bad(SlotLayout.BYTES, 0, "could shrink"),
            new Bad(0, 0, "no memory"))) {
      try (DeviceLink link =
          link(stream -> {
            greet(stream);
            answerLoan(stream, bad.bytes(), bad.seals());
            stream.receive(5000);
          })) {
        assertThatThrownBy(() -> link.lend(7, -1, Credentials.root()))
            .isInstanceOf(LinkException.class)
            .hasMessageContaining(bad.message());
      }
    }
  }

  private static void answerLoan(FrameStream stream, long bytes, int seals) {
    Frame.Attach attach = (Frame.Attach) ((Decoded.Received) stream.receive(5000)).frame();
    assertThat(attach.lent()).isTrue();
    int fd = bytes == 0 ? -1 : memory(bytes, seals);
    stream.send(new Frame.Ping(1)); // another frame just before
    stream.send(new Frame.Attached(attach.id(), 2), fd);
    if (fd >= 0) {
      Linux.close(fd);
    }
    stream.receive(5000); // the Pong
  }

  @Test
  void aDeviceThatDiesEndsEveryWait() throws Exception {
    try (DeviceLink link =
        link(stream -> {
          greet(stream);
          Decoded attach = stream.receive(5000);
          long id = ((Frame.Attach) ((Decoded.Received) attach).frame()).id();
          stream.send(new Frame.Attached(id, 0));
          stream.receive(5000); // a request for counts: dies instead of an answer
        })) {
      CallSlot slot = link.attach(1, 1, -1, Credentials.root());
      slot.submit();
      long start = System.nanoTime();
      assertThatThrownBy(link::counts).isInstanceOf(LinkException.class);
      assertThat(slot.await(Long.MAX_VALUE)).isTrue();
      assertThat(System.nanoTime() - start).isLessThan(TimeUnit.SECONDS.toNanos(1));
      assertThat(slot.result()).isEqualTo(-Errno.ENETDOWN);
      heard.poll(5, TimeUnit.SECONDS);
      assertThat(heard.poll(5, TimeUnit.SECONDS)).isEqualTo("lost the other side closed the link");
    }
    assertThat(heard).as("told once").isEmpty();
  }

  @Test
  void nobodyAtThePathIsASentence(@TempDir Path dir) throws Exception {
    assertThatThrownBy(() -> DeviceLink.connect(dir.resolve("none"), listener, OPTIONS))
        .isInstanceOf(LinkException.class)
        .hasMessageContaining("There is no device at");
    Path file = Files.createFile(dir.resolve("file"));
    assertThatThrownBy(() -> DeviceLink.connect(file, listener, OPTIONS))
        .isInstanceOf(LinkException.class)
        .hasMessageContaining("No device listens");
    assertThatThrownBy(() -> DeviceLink.connect(Path.of("/" + "x".repeat(200)), listener, OPTIONS))
        .isInstanceOf(LinkException.class)
        .hasMessageContaining("longer than 107 bytes");
  }

  /** Whoever sends descriptors that no one asked for must not fill our table. */
  @Test
  void strayDescriptorsAreClosed() throws Exception {
    int before = descriptors();
    try (DeviceLink link =
        link(stream -> {
          greet(stream);
          int fd = memory(4096, 0);
          for (int i = 0; i < 50; i++) {
            stream.send(new Frame.Notice("with a descriptor"), fd);
          }
          Linux.close(fd);
          stream.receive(5000);
        })) {
      for (int i = 0; i < 51; i++) {
        assertThat(heard.poll(5, TimeUnit.SECONDS)).startsWith("notice");
      }
      assertThat(link.lost()).isFalse();
      assertThat(descriptors()).isLessThanOrEqualTo(before + 4);
    }
  }

  private static int descriptors() throws Exception {
    try (var list = Files.list(Path.of("/proc/self/fd"))) {
      return (int) list.count();
    }
  }
}
