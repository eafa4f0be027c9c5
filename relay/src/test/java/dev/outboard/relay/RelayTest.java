// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.channel.CallCarrier;
import dev.outboard.channel.CallMaker;
import dev.outboard.channel.CallSlot;
import dev.outboard.channel.CallSource;
import dev.outboard.channel.CarrierTask;
import dev.outboard.channel.Credentials;
import dev.outboard.channel.Decoded;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameCodec;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.LinkException;
import dev.outboard.channel.LinkListener;
import dev.outboard.channel.LinkOptions;
import dev.outboard.channel.SlotLayout;
import dev.outboard.channel.Welcome;
import dev.outboard.posix.Linux;
import dev.outboard.posix.SealedMemory;
import dev.outboard.posix.SocketPair;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.SyscallTable;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Both ends of a carried session, between a {@link DeviceLink} and a device made for the test. */
class RelayTest {
  private static final int SLOTS = 8;
  private static final int SUM = 0x1234;
  private static final int BLOCK = 0x1235;

  /** A socket of the device that takes nothing. */
  private static final int FULL = 77;

  /** A handle whose stream has an error. */
  private static final int BROKEN = 78;

  private static final int GETSOCKNAME = SyscallTable.row("getsockname").canonical();
  private static final int SETSOCKOPT = SyscallTable.row("setsockopt").canonical();
  private static final int CLOSE = SyscallTable.row("close").canonical();
  private static final Credentials CREDENTIALS = Credentials.root();

  /** Whether devices have a task for whoever reads the wire. */
  private boolean tasks = true;

  private final List<AutoCloseable> open = new ArrayList<>();
  private final BlockingQueue<String> lost = new LinkedBlockingQueue<>();
  private final BlockingQueue<String> told = new LinkedBlockingQueue<>();
  private final BlockingQueue<Frame.Done> done = new LinkedBlockingQueue<>();

  static int[] pair() {
    SocketPair pair = SocketPair.open();
    assertThat(pair.error()).isZero();
    return new int[] {pair.one(), pair.other()};
  }

  @AfterEach
  void closeAll() throws Exception {
    for (AutoCloseable it : open.reversed()) {
      it.close();
    }
  }

  private DeviceLink link(HostRelay relay) throws LinkException {
    DeviceLink link =
        DeviceLink.overDescriptor(
            relay.linkFd(),
            new LinkListener() {
              @Override
              public void ready(int handle, int pollMask, long stamp) {
                told.add(handle + " by " + Thread.currentThread().getName());
              }

              @Override
              public void lost(String why) {
                lost.add(why);
              }

              @Override
              public void notice(String line) {}

              @Override
              public void sent(int slot, int bytes, int frames, int errno) {
                done.add(new Frame.Done(slot, bytes, frames, errno));
              }
            },
            LinkOptions.of("a test"),
            relay);
    open.add(link);
    return link;
  }

  /** A host relay, a device relay and a device behind them. */
  private DeviceLink carried() throws Exception {
    return carried(FrameCodec.HIGHEST_VERSION);
  }

  private DeviceLink carried(int version) throws Exception {
    return carried(version, UnaryOperator.identity());
  }

  /**
   * @param far what the device's relay has instead of its wire
   */
  private DeviceLink carried(int version, UnaryOperator<Wire> far) throws Exception {
    int[] wire = pair();
    int[] device = pair();
    DeviceRelay carrier = new DeviceRelay(far.apply(wireOf(wire[1])), device[1]);
    open.add(new Device(device[0], version, carrier, tasks));
    Thread relays = Thread.ofPlatform().daemon().name("carrier").start(carrier::serve);
    open.add(() -> assertThat(relays.join(java.time.Duration.ofSeconds(5))).isTrue());
    HostRelay relay = HostRelay.start(wireOf(wire[0]));
    open.add(relay);
    return link(relay);
  }

  private static Wire wireOf(int fd) {
    try {
      return DescriptorWire.of(fd, fd);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void callsAndTheirBytesCrossInBothDirections() throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    DeviceLink link = carried();
    List<Thread> threads = new ArrayList<>();
    BlockingQueue<Throwable> failures = new LinkedBlockingQueue<>();
    for (int t = 0; t < SLOTS; t++) {
      Random random = new Random(seed + t);
      CallSlot slot = link.attach(1, 1, -1, CREDENTIALS);
      threads.add(
          Thread.ofPlatform()
              .start(() -> {
                try {
                  for (int i = 0; i < 200; i++) {
                    sum(slot, random);
                  }
                  link.detach(slot);
                } catch (Throwable e) {
                  failures.add(e);
                }
              }));
    }
    for (Thread thread : threads) {
      thread.join();
    }
    assertThat(failures).isEmpty();
  }

  /** The device adds one to each byte, and says their sum. */
  static void sum(CallSlot slot, Random random) {
    Call call = slot.call();
    call.start(SUM);
    int length = random.nextInt(3) == 0 ? random.nextInt(SlotLayout.DATA_BYTES) + 1 : 20;
    byte[] bytes = new byte[length];
    random.nextBytes(bytes);
    MemorySegment.copy(bytes, 0, call.data, ValueLayout.JAVA_BYTE, 0, length);
    call.args[0] = length;
    call.extent = random.nextBoolean() ? length : call.data.byteSize();
    slot.submit();
    assertThat(slot.await(Long.MAX_VALUE)).isTrue();
    long sum = 0;
    for (int i = 0; i < length; i++) {
      sum += bytes[i];
      bytes[i]++;
    }
    assertThat(slot.result()).isEqualTo(sum);
    assertThat(slot.readyMask()).isEqualTo(5);
    assertThat(slot.readyStamp()).isEqualTo(length);
    assertThat(call.data.asSlice(0, length).toArray(ValueLayout.JAVA_BYTE)).isEqualTo(bytes);
  }

  /** Whoever reads the wire, and nobody has to be woken before. */
  @Test
  void callsForWhichNobodyWaitsAreEndedByWhoBringsTheReply() throws Exception {
    DeviceLink link = carried();
    CallSlot slot = link.attach(1, 1, -1, CREDENTIALS);
    BlockingQueue<String> ended = new LinkedBlockingQueue<>();
    Runnable end =
        () -> {
          long first = slot.call().data.get(ValueLayout.JAVA_BYTE, 0);
          ended.add(slot.result() + " " + first + " " + Thread.currentThread().getName());
        };
    for (int i = 0; i < 100; i++) {
      Call call = slot.call();
      call.start(SUM);
      call.args[0] = 1;
      call.extent = 1;
      call.data.set(ValueLayout.JAVA_BYTE, 0, (byte) i);
      slot.submit(end);
      assertThat(ended.poll(10, TimeUnit.SECONDS)).isEqualTo(i + " " + (i + 1) + " relay-wire");
      assertThat(slot.pending()).isFalse();
      sum(slot, new Random(i)); // which waits, in between
    }
    assertThat(ended).isEmpty();
  }

  @Test
  void suchACallEndsOnceAlsoWithTheLink() throws Exception {
    for (int round = 0; round < 20; round++) {
      int[] wire = pair();
      int[] device = pair();
      DeviceRelay carrier = new DeviceRelay(wireOf(wire[1]), device[1]);
      open.add(new Device(device[0], FrameCodec.HIGHEST_VERSION, carrier));
      Thread.ofPlatform().daemon().start(carrier::serve);
      Wire ours = wireOf(wire[0]);
      HostRelay relay = HostRelay.start(ours);
      open.add(relay);
      DeviceLink link = link(relay);
      CallSlot blocked = link.attach(1, 1, -1, CREDENTIALS);
      BlockingQueue<Long> ends = new LinkedBlockingQueue<>();
      blocked.call().start(BLOCK);
      blocked.submit(() -> ends.add(blocked.result()));
      CallSlot slot = link.attach(1, 1, -1, CREDENTIALS);
      Thread breaks =
          Thread.ofPlatform()
              .start(() -> {
                LockSupport.parkNanos(3_000_000);
                ours.stop();
              });
      BlockingQueue<Long> ended = new LinkedBlockingQueue<>();
      long result = 0;
      for (int i = 0; result == 0; i++) {
        slot.call().start(SUM);
        slot.call().extent = 0;
        slot.submit(() -> ended.add(slot.result()));
        Long end = ended.poll(10, TimeUnit.SECONDS);
        assertThat(end).as("call %d of round %d", i, round).isNotNull();
        result = end;
      }
      assertThat(result).isEqualTo(-Errno.ENETDOWN);
      assertThat(ends.poll(10, TimeUnit.SECONDS)).isEqualTo(-Errno.ENETDOWN);
      breaks.join();
      slot.submit(() -> ended.add(slot.result()));
      assertThat(ended.poll()).as("at once").isEqualTo(-Errno.ENETDOWN);
      assertThat(lost.poll(5, TimeUnit.SECONDS)).isNotNull();
      link.close();
      assertThat(ended).isEmpty();
      assertThat(ends).isEmpty();
    }
  }

  @Test
  void readinessIsToldByWhoReadsTheWire() throws Exception {
    DeviceLink link = carried();
    assertThat(link.lost()).isFalse();
    Device device = (Device) open.getFirst();
    for (int handle = 1; handle < 10; handle++) {
      device.carrier.tell(new Frame.Ready(List.of(new Frame.Sample(handle, 1, handle))));
    }
    for (int handle = 1; handle < 10; handle++) {
      assertThat(told.poll(5, TimeUnit.SECONDS)).isEqualTo(handle + " by relay-wire");
    }
  }

  /** Keeps what was put until something is written or pushed, however long that takes. */
  private static final class Keeping implements Wire {
    private final Wire wire;
    private final ByteArrayOutputStream kept = new ByteArrayOutputStream();

    Keeping(Wire wire) {
      this.wire = wire;
    }

    @Override
    public int read(ByteBuffer into) throws IOException {
      return wire.read(into);
    }

    @Override
    public synchronized void write(ByteBuffer from) throws IOException {
      push();
      wire.write(from);
    }

    @Override
    public synchronized void put(ByteBuffer from) {
      byte[] bytes = new byte[from.remaining()];
      from.get(bytes);
      kept.writeBytes(bytes);
    }

    @Override
    public synchronized void push() throws IOException {
      if (kept.size() > 0) {
        wire.write(ByteBuffer.allocateDirect(kept.size()).put(kept.toByteArray()).flip());
        kept.reset();
      }
    }

    @Override
    public void stop() {
      wire.stop();
    }

    @Override
    public void close() {
      wire.close();
    }
  }

  /** Whether or not the look that it asks for finds anything, and whichever is over first. */
  @Test
  void anEdgeOfASocketThatIsLookedAtIsToldAtOnce() throws Exception {
    DeviceLink link = carried(FrameCodec.HIGHEST_VERSION, Keeping::new);
    Device device = (Device) open.getFirst();
    CallSlot looks = link.attach(1, 1, -1, CREDENTIALS);
    link.look(looks, 7, 1);
    for (int i = 1; i <= 2000; i++) {
      int mask = PseudoCall.withEdges(Poll.POLLIN | Poll.POLLOUT, i);
      int handle = i % 5 == 0 ? 8 : 7; // nobody looks at the other one
      device.carrier.tell(new Frame.Ready(List.of(new Frame.Sample(handle, mask, i))));
      // Before the relay's next word that nothing else is the matter.
      assertThat(told.poll(3, TimeUnit.SECONDS)).isEqualTo(handle + " by relay-wire");
    }
  }

  /** Takes nothing any more once it is told so, as a link whose other end reads nothing. */
  private static final class Stuck implements Wire {
    private final Wire wire;
    private boolean stuck; // guarded by this
    private boolean stopped; // likewise

    Stuck(Wire wire) {
      this.wire = wire;
    }

    synchronized void stick() {
      stuck = true;
    }

    @Override
    public int read(ByteBuffer into) throws IOException {
      return wire.read(into);
    }

    @Override
    public void write(ByteBuffer from) throws IOException {
      synchronized (this) {
        Uninterrupted.waitUntil(this, () -> !stuck || stopped);
        if (stopped) {
          throw new IOException("stopped");
        }
      }
      wire.write(from);
    }

    @Override
    public void stop() {
      synchronized (this) {
        stopped = true;
        notifyAll();
      }
      wire.stop();
    }

    @Override
    public void close() {
      wire.close();
    }
  }

  /** Whoever makes calls may wait for the host then, and is needed for the session's end. */
  @Test
  void aHostThatReadsNothingDoesNotHoldUpTheEndOfASession() throws Exception {
    List<Stuck> wires = new ArrayList<>();
    DeviceLink link =
        carried(
            FrameCodec.HIGHEST_VERSION,
            wire -> {
              wires.add(new Stuck(wire));
              return wires.getFirst();
            });
    CallSlot slot = link.attach(1, 1, -1, CREDENTIALS);
    sum(slot, new Random(1));
    wires.getFirst().stick();
    slot.call().start(SUM);
    slot.submit();
    Device device = (Device) open.getFirst();
    assertThat(device.made.poll(5, TimeUnit.SECONDS)).isEqualTo("sum");
    assertThat(device.made.poll(5, TimeUnit.SECONDS)).isEqualTo("sum");
    device.leave(); // its threads have to come out for that, as closeAll() finds
    assertThat(slot.await(TimeUnit.SECONDS.toNanos(10))).isTrue();
    assertThat(slot.result()).isEqualTo(-Errno.ENETDOWN);
  }

  /** What it would tell is of whatever file the slot's last call was on. */
  @Test
  void aCallThatIsHeldUpTellsNothingOfAFile() throws Exception {
    DeviceLink link = carried();
    CallSlot sends = link.attach(1, 1, -1, CREDENTIALS);
    CallSlot slot = link.attach(1, 1, -1, CREDENTIALS);
    sum(slot, new Random(1));
    assertThat(slot.readyMask()).isEqualTo(5);
    MemorySegment bytes = MemorySegment.ofArray(new byte[100]);
    assertThat(link.sendBytesAhead(sends, true, FULL, 0, bytes, true)).isTrue();
    Call call = slot.call();
    call.start(SUM);
    call.args[0] = FULL;
    call.flags = Call.AFTER_OR_AGAIN;
    slot.submit();
    assertThat(slot.await(TimeUnit.SECONDS.toNanos(10))).isTrue();
    assertThat(slot.result()).isEqualTo(-Errno.EAGAIN);
    assertThat(slot.readyMask()).isEqualTo(-1);
    assertThat(slot.readyStamp()).isZero();
    sum(slot, new Random(1)); // and the two ends go on counting the same
  }

  /** Their memory may be another session's by then. */
  @Test
  void nothingIsWrittenToASlotThatIsOver() throws Exception {
    int[] wire = pair();
    int[] device = pair();
    DeviceRelay carrier = new DeviceRelay(wireOf(wire[1]), device[1]);
    Thread relays = Thread.ofPlatform().daemon().start(carrier::serve);
    MemorySegment data = Arena.ofAuto().allocate(SlotLayout.DATA_BYTES, 64);
    CallSource source = carrier.open(0, data);
    Wire host = wireOf(wire[0]);
    try (FrameStream session = new FrameStream(device[0])) {
      for (int value = 1; value <= 2; value++) {
        ByteBuffer frames = ByteBuffer.allocateDirect(100).order(ByteOrder.LITTLE_ENDIAN);
        frames.put(frame(16, 8 + 4).putInt(0).putInt(0).putInt(value).flip());
        host.write(frames.flip());
        ByteBuffer ping = FrameCodec.newBuffer();
        FrameCodec.encode(new Frame.Ping(value), ping);
        host.write(frames.clear().put(ping).flip());
        assertThat(session.receive(5_000)).isEqualTo(new Decoded.Received(new Frame.Ping(value)));
        assertThat(data.get(ValueLayout.JAVA_INT, 0)).isEqualTo(1);
        source.close();
      }
    }
    host.close();
    relays.join();
  }

  @Test
  void slotsAreGivenOutAgain() throws Exception {
    DeviceLink link = carried();
    Random random = new Random(1);
    for (int round = 0; round < 50; round++) {
      CallSlot slot = link.attach(1, 1, -1, CREDENTIALS);
      sum(slot, random);
      link.detach(slot);
    }
    assertThatThrownBy(() -> link.lend(1, -1, CREDENTIALS))
        .isInstanceOf(LinkException.class)
        .hasMessageContaining("EOPNOTSUPP");
  }

  /** What came behind an error is thrown away, up to what knows of it. */
  @Test
  void anErrorOfWhatTheReaderSendsIsTold() throws Exception {
    DeviceLink link = carried();
    Device device = (Device) open.getFirst();
    CallSlot slot = link.attach(1, 1, -1, CREDENTIALS);
    CallSlot calls = link.attach(1, 1, -1, CREDENTIALS);
    for (int round = 0; round < 200; round++) {
      int bytes = 0;
      for (int i = 0; i < 5; i++) {
        MemorySegment some = MemorySegment.ofArray(new byte[1000 + i]);
        assertThat(link.sendBytesAhead(slot, i == 0, BROKEN, 0, some, i == 4)).isTrue();
        bytes += 1000 + i;
      }
      boolean asks = round % 2 == 0;
      if (asks) {
        asks(calls); // which may be about the error
      }
      for (int frames = 0; frames < 5; ) {
        Frame.Done told =
            Objects.requireNonNull(done.poll(asks ? 0 : 10, TimeUnit.SECONDS), "late");
        assertThat(told.errno()).isEqualTo(Errno.ECONNRESET);
        frames += told.frames();
        bytes -= told.bytes();
      }
      assertThat(bytes).isZero();
      List<String> made = new ArrayList<>();
      device.made.drainTo(made);
      assertThat(made.getFirst()).startsWith("send ");
      assertThat(made).as("one send for each error").hasSize(asks ? 2 : 1);
    }
  }

  /** Several slots' frames in one read; each is told of. */
  @Test
  void eachOfSeveralStreamsIsToldOf() throws Exception {
    DeviceLink link = carried();
    List<CallSlot> slots = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      slots.add(link.attach(1, 1, -1, CREDENTIALS));
    }
    MemorySegment one = MemorySegment.ofArray(new byte[] {1, 0, 0, 0});
    MemorySegment some = MemorySegment.ofArray(new byte[10]);
    MemorySegment all = MemorySegment.ofArray(new byte[200_000]);
    for (int round = 0; round < 50; round++) {
      int due = 5;
      // All in one write: but for the last they stay here.
      link.sendBytesAhead(slots.get(0), true, 10, 0, some, false);
      link.sendAhead(slots.get(1), true, Frame.Ahead.Kind.OPTION, 11, 3, one, false);
      link.sendBytesAhead(slots.get(1), false, 11, 0, some, false);
      link.sendBytesAhead(slots.get(0), false, 10, 0, some, false);
      link.sendBytesAhead(slots.get(2), true, 12, 0, round % 2 == 0 ? some : all, true);
      due += round % 2 == 0 ? 0 : Frame.Ahead.frames(200_000) - 1;
      while (due > 0) {
        due -= Objects.requireNonNull(done.poll(10, TimeUnit.SECONDS), "not told").frames();
      }
      assertThat(due).isZero();
    }
  }

  @Test
  void whoReadsTheWireAnswersWhatIsOnlyAsked() throws Exception {
    DeviceLink link = carried();
    Device device = (Device) open.getFirst();
    CallSlot slot = link.attach(1, 1, -1, CREDENTIALS);
    CallSlot sends = link.attach(1, 1, -1, CREDENTIALS);
    Random random = new Random(1);
    for (int i = 0; i < 50; i++) {
      asks(slot);
      assertThat(device.made.poll()).isEqualTo("asked by carrier");
      sum(slot, random); // the same calls go on being counted by both ends
      device.made.clear();
    }
    MemorySegment bytes = MemorySegment.ofArray(new byte[100]);
    assertThat(link.sendBytesAhead(sends, true, FULL, 0, bytes, true)).isTrue();
    asks(slot);
    assertThat(device.made.poll()).as("something is on its way").startsWith("asked by Thread-");
  }

  private static void asks(CallSlot slot) {
    slot.call().start(GETSOCKNAME);
    slot.call().extent = 100;
    slot.submit();
    assertThat(slot.await(TimeUnit.SECONDS.toNanos(10))).isTrue();
    assertThat(slot.result()).isZero();
    assertThat(slot.readyMask()).isEqualTo(7);
    assertThat(slot.call().data.get(ValueLayout.JAVA_INT, 0)).isEqualTo(slot.sequence());
  }

  /**
   * Nobody waits for them, but whatever is called next comes after them.
   *
   * @param byReader whether the wire's reader sets options
   */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void whatIsCertainIsDoneBeforeTheNextCall(boolean byReader) throws Exception {
    tasks = byReader;
    DeviceLink link = carried();
    assertThat(link.takesCertain()).isTrue();
    Device device = (Device) open.getFirst();
    CallSlot options = link.attach(1, 1, -1, CREDENTIALS);
    CallSlot closes = link.attach(1, 1, -1, CREDENTIALS);
    CallSlot calls = link.attach(1, 1, -1, CREDENTIALS);
    MemorySegment one = MemorySegment.ofArray(new byte[] {1, 0, 0, 0});
    Random random = new Random(1);
    for (int handle = 10; handle < 60; handle++) {
      link.sendAhead(options, handle % 2 == 0, Frame.Ahead.Kind.OPTION, handle, 3, one, true);
      link.closeAhead(closes, handle % 3 == 0, handle, 0, handle % 3 != 0);
      sum(calls, random);
      // Two slots, so that they may be made at once; but both before the call.
      List<String> made = new ArrayList<>();
      device.made.drainTo(made);
      assertThat(made).hasSize(3).contains("setsockopt " + handle, "close " + handle);
      assertThat(made.getLast()).isEqualTo("sum");
    }
  }

  /**
   * Also where one send is several frames, and the device's sockets take what they like.
   *
   * @param byReader whether the wire's reader sends
   */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void whatIsSentAheadArrivesInOrderAndIsAccountedFor(boolean byReader) throws Exception {
    tasks = byReader;
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    Random random = new Random(seed);
    DeviceLink link = carried();
    Device device = (Device) open.getFirst();
    CallSlot slot = link.attach(1, 1, -1, CREDENTIALS);
    CallSlot calls = link.attach(1, 1, -1, CREDENTIALS);
    ByteArrayOutputStream sent = new ByteArrayOutputStream();
    int bytesLeft = 0;
    int framesLeft = 0;
    while (sent.size() < 20_000_000) {
      int count =
          1 + random.nextInt(random.nextBoolean() ? 1000 : 2 * Frame.Ahead.MAX_BYTES + 10_000);
      int frames = Frame.Ahead.frames(count);
      while (bytesLeft + count > Frame.Ahead.SLOT_BYTES
          || framesLeft + frames > Frame.Ahead.SLOT_FRAMES
          || (framesLeft > 0 && random.nextInt(50) == 0)) {
        link.pushAhead();
        Frame.Done told = Objects.requireNonNull(done.poll(10, TimeUnit.SECONDS), "not told");
        assertThat(told.errno()).isZero();
        bytesLeft -= told.bytes();
        framesLeft -= told.frames();
      }
      byte[] bytes = new byte[count];
      random.nextBytes(bytes);
      sent.writeBytes(bytes);
      MemorySegment all = MemorySegment.ofArray(bytes);
      assertThat(link.sendBytesAhead(slot, framesLeft == 0, 7, 0, all, random.nextBoolean()))
          .isTrue();
      bytesLeft += count;
      framesLeft += frames;
      if (random.nextInt(20) == 0) {
        sum(calls, random);
      }
    }
    link.pushAhead();
    while (framesLeft > 0) {
      Frame.Done told = Objects.requireNonNull(done.poll(10, TimeUnit.SECONDS), "not told");
      bytesLeft -= told.bytes();
      framesLeft -= told.frames();
    }
    assertThat(bytesLeft).isZero();
    assertThat(framesLeft).isZero();
    synchronized (device.sent) {
      assertThat(Arrays.equals(device.sent.toByteArray(), sent.toByteArray())).isTrue();
    }
  }

  @Test
  void aBlockedCallIsInterruptedAndOneThatIsLeftEndsWithTheLink() throws Exception {
    DeviceLink link = carried();
    CallSlot slot = link.attach(1, 1, -1, CREDENTIALS);
    slot.call().start(BLOCK);
    slot.submit();
    assertThat(slot.await(TimeUnit.MILLISECONDS.toNanos(50))).isFalse();
    link.interrupt(slot);
    assertThat(slot.await(TimeUnit.SECONDS.toNanos(5))).isTrue();
    assertThat(slot.result()).isEqualTo(-Errno.ERESTARTSYS);
    slot.call().start(BLOCK);
    slot.submit();
    ((Device) open.getFirst()).leave();
    assertThat(slot.await(TimeUnit.SECONDS.toNanos(5))).isTrue();
    assertThat(slot.result()).isEqualTo(-Errno.ENETDOWN);
    assertThat(lost.poll(5, TimeUnit.SECONDS)).contains("over");
  }

  @Test
  void aWireThatBreaksIsALostDevice() throws Exception {
    int[] wire = pair();
    HostRelay relay = HostRelay.start(wireOf(wire[0]));
    open.add(relay);
    try (FrameStream far = new FrameStream(wire[1])) {
      greeted(relay, far, welcome());
      Linux.shutdown(wire[1], Socket.SHUT_RDWR);
      assertThat(lost.poll(5, TimeUnit.SECONDS)).contains("closed the link");
    }
  }

  @Test
  void nonsenseFromTheDeviceEndsTheSession() throws Exception {
    ByteBuffer dataNobodyWaitsFor = frame(16, 8 + 4).putInt(0).putInt(0).putInt(1);
    ByteBuffer replyToNothing = frame(18, 32).putInt(0).putInt(1);
    ByteBuffer beyondTheEnd = frame(16, 8 + 4).putInt(0).putInt(SlotLayout.DATA_BYTES - 2);
    ByteBuffer negativeSlot = frame(18, 32).putInt(-1).putInt(1);
    ByteBuffer shortReply = frame(18, 12).putInt(0).putInt(1);
    ByteBuffer call = frame(17, 64);
    ByteBuffer tooLong = frame(16, FrameCodec.MAX_BYTES);
    ByteBuffer reserved = frame(18, 32).putShort(6, (short) 1);
    for (ByteBuffer wrong :
        List.of(
            dataNobodyWaitsFor,
            replyToNothing,
            beyondTheEnd,
            negativeSlot,
            shortReply,
            call,
            tooLong,
            reserved)) {
      int[] wire = pair();
      try (HostRelay relay = HostRelay.start(wireOf(wire[0]));
          FrameStream far = new FrameStream(wire[1])) {
        DeviceLink link = greeted(relay, far, welcome());
        try (Arena a = Arena.ofConfined()) {
          MemorySegment bytes = a.allocate(wrong.capacity());
          bytes.copyFrom(MemorySegment.ofBuffer(wrong.clear()));
          Linux.write(wire[1], bytes.address(), bytes.byteSize());
        }
        assertThat(lost.poll(5, TimeUnit.SECONDS)).as("%s", wrong).isNotNull();
        link.close();
      }
    }
  }

  /** Each version has calls; what came later is offered to nobody who does not speak it. */
  @Test
  void aDeviceIsSpokenToInItsVersion() throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    Random random = new Random(seed);
    for (int version = FrameCodec.LOWEST_VERSION;
        version <= FrameCodec.HIGHEST_VERSION;
        version++) {
      DeviceLink link = carried(version);
      assertThat(link.welcome().version()).isEqualTo(version);
      assertThat(link.takesAhead()).isEqualTo(version >= FrameCodec.AHEAD_VERSION);
      assertThat(link.looks()).isEqualTo(version >= FrameCodec.LOOK_VERSION);
      CallSlot slot = link.attach(1, 1, -1, CREDENTIALS);
      for (int i = 0; i < 50; i++) {
        sum(slot, random);
      }
      link.detach(slot);
    }
  }

  @Test
  void onlyADeviceThatUnderstandsItHearsHowFarTheDataGo() throws Exception {
    for (int version = FrameCodec.LOWEST_VERSION;
        version <= FrameCodec.HIGHEST_VERSION;
        version++) {
      int[] wire = pair();
      try (HostRelay relay = HostRelay.start(wireOf(wire[0]));
          FrameStream far = new FrameStream(wire[1])) {
        DeviceLink link = greeted(relay, far, welcome(version));
        Thread attaches =
            Thread.ofPlatform()
                .start(() -> {
                  if (far.receive(5_000) instanceof Decoded.Received(Frame.Attach f)) {
                    far.send(new Frame.Attached(f.id(), 0));
                  }
                });
        CallSlot slot = link.attach(1, 1, -1, Credentials.root());
        attaches.join();
        slot.call().start(7);
        slot.call().extent = 20;
        slot.call().data.set(ValueLayout.JAVA_BYTE, 19, (byte) 1);
        slot.call().data.set(ValueLayout.JAVA_BYTE, 1000, (byte) 1);
        slot.submit();
        ByteBuffer got = ByteBuffer.allocateDirect(4096).order(ByteOrder.LITTLE_ENDIAN);
        int farthest = 0;
        int flags = -1;
        while (flags < 0) {
          long n =
              Linux.read(
                  wire[1], MemorySegment.ofBuffer(got).address() + got.position(), got.remaining());
          assertThat(n).isPositive();
          got.limit(got.position() + (int) n).position(0);
          for (; got.remaining() >= 8 && got.remaining() >= got.getInt(got.position()); ) {
            int at = got.position();
            int length = got.getInt(at);
            switch (got.getShort(at + 4)) {
              case 16 -> farthest = Math.max(farthest, got.getInt(at + 12) + length - 16);
              case 17 -> flags = got.getInt(at + 20);
              default -> {}
            }
            got.position(at + length);
          }
          got.compact();
        }
        boolean understands = version >= FrameCodec.EXTENT_VERSION;
        assertThat(flags).isEqualTo(understands ? 2 << 16 : 0);
        assertThat(farthest).isBetween(understands ? 20 : 1001, understands ? 20 : 4096);
        link.close();
      }
    }
  }

  /** A link to a device that is nothing but a stream and has said its welcome. */
  private DeviceLink greeted(HostRelay relay, FrameStream far, Welcome welcome) throws Exception {
    Thread greets =
        Thread.ofPlatform()
            .start(() -> {
              far.receive(5_000);
              far.send(welcome);
            });
    DeviceLink link = link(relay);
    greets.join();
    return link;
  }

  private static ByteBuffer frame(int kind, int body) {
    return ByteBuffer.allocate(8 + Math.min(body, 64))
        .order(ByteOrder.LITTLE_ENDIAN)
        .putInt(8 + body)
        .putShort((short) kind)
        .putShort((short) 0);
  }

  private static Welcome welcome() {
    return welcome(FrameCodec.HIGHEST_VERSION);
  }

  private static Welcome welcome(int version) {
    return new Welcome(
        version, SLOTS, SlotLayout.BYTES, "test", "1", "a test", "", List.of(), List.of(), false);
  }

  /** A device whose calls are sums, and blocks. */
  static final class Device implements AutoCloseable {
    private final FrameStream stream;
    private final int version;
    private final CallCarrier carrier;
    private final @Nullable Task task;
    private final Thread reader;
    private final @Nullable Shadow[] shadows = new Shadow[SLOTS];
    final BlockingQueue<String> made = new LinkedBlockingQueue<>();
    final ByteArrayOutputStream sent = new ByteArrayOutputStream();
    private final MemorySegment memory = Arena.ofAuto().allocate(SLOTS * SlotLayout.BYTES, 64);

    Device(int fd, int version, CallCarrier carrier) {
      this(fd, version, carrier, true);
    }

    /**
     * @param tasks whether it has a task for whoever reads the wire
     */
    Device(int fd, int version, CallCarrier carrier, boolean tasks) {
      this.version = version;
      this.task = tasks ? new Task(made, sent) : null;
      this.carrier = carrier;
      stream = new FrameStream(fd);
      reader = Thread.ofPlatform().daemon().start(this::read);
    }

    void leave() {
      stream.sendLast(new Frame.Bye("it is over"));
      stream.stop();
    }

    private void read() {
      while (stream.receive(-1) instanceof Decoded.Received(Frame frame)) {
        switch (frame) {
          case Frame.Hello f -> {
            if (task != null) {
              carrier.begin(task);
            }
            int fd = SealedMemory.create("test-slots", SLOTS * SlotLayout.BYTES);
            stream.send(welcome(version), fd);
            Linux.close(fd);
          }
          case Frame.Attach f -> {
            int index = 0;
            while (shadows[index] != null) {
              index++;
            }
            MemorySegment data =
                memory.asSlice(index * SlotLayout.BYTES + SlotLayout.DATA, SlotLayout.DATA_BYTES);
            shadows[index] = new Shadow(carrier.open(index, data), made, sent);
            stream.send(new Frame.Attached(f.id(), index));
          }
          case Frame.Detach f -> {
            end(f.slot());
            stream.send(new Frame.Detached(f.slot()));
          }
          case Frame.Interrupt f -> {
            Shadow shadow = shadows[f.slot()];
            if (shadow != null) {
              shadow.interrupts.add(f.sequence());
            }
          }
          case Frame.Bye f -> stream.stop();
          default -> {}
        }
      }
      carrier.ending();
      for (int i = 0; i < SLOTS; i++) {
        end(i);
      }
      if (task != null && task.entered) {
        Uninterrupted.await(task.left);
      }
      carrier.ended();
    }

    private void end(int index) {
      Shadow shadow = shadows[index];
      shadows[index] = null;
      if (shadow != null) {
        shadow.interrupts.add(0);
        shadow.source.close();
        Uninterrupted.join(shadow.thread);
      }
    }

    @Override
    public void close() {
      stream.stop();
      Uninterrupted.join(reader);
      stream.close();
    }
  }

  /** What the wire's reader may do itself: sockets take what they like of what it sends. */
  private static final class Task implements CarrierTask {
    final CountDownLatch left = new CountDownLatch(1);
    volatile boolean entered;
    private final BlockingQueue<String> made;
    private final ByteArrayOutputStream sent;
    private final Random random = new Random(2);

    Task(BlockingQueue<String> made, ByteArrayOutputStream sent) {
      this.made = made;
      this.sent = sent;
    }

    @Override
    public boolean enter() {
      entered = true;
      return true;
    }

    @Override
    public long send(int handle, MemorySegment data, long count, int flags) {
      if (handle == FULL) {
        return -Errno.EAGAIN;
      }
      if (handle == BROKEN) {
        made.add("send " + count);
        return -Errno.ECONNRESET;
      }
      int taken =
          switch (random.nextInt(16)) {
            case 0 -> -Errno.EAGAIN;
            case 1 -> 1 + random.nextInt((int) count);
            default -> (int) count;
          };
      synchronized (sent) {
        sent.writeBytes(data.asSlice(0, Math.max(0, taken)).toArray(ValueLayout.JAVA_BYTE));
      }
      return taken;
    }

    @Override
    public boolean setOption(int handle, int name, int value) {
      made.add("setsockopt " + handle);
      return true;
    }

    @Override
    public boolean hold(int handle) {
      return handle != FULL;
    }

    @Override
    public void release() {}

    @Override
    public void leave() {
      left.countDown();
    }
  }

  private static final class Shadow implements CallMaker {
    final CallSource source;
    final BlockingQueue<Integer> interrupts = new LinkedBlockingQueue<>();
    final BlockingQueue<String> made;
    final ByteArrayOutputStream sent;
    final Thread thread;
    private final Random random = new Random(1);
    private int mask;
    private long stamp;

    /**
     * @param sent where the bytes of sends go, and what is locked for that
     */
    Shadow(CallSource source, BlockingQueue<String> made, ByteArrayOutputStream sent) {
      this.made = made;
      this.sent = sent;
      this.source = source;
      thread = Thread.ofPlatform().daemon().start(() -> source.run(this));
    }

    @Override
    public int readyMask() {
      return mask;
    }

    @Override
    public long readyStamp() {
      return stamp;
    }

    @Override
    public int newBirth() {
      return 0;
    }

    @Override
    public long make(int sequence) {
      Call call = source.call();
      mask = -1;
      stamp = 0;
      if (call.number == SUM) {
        long sum = 0;
        for (long i = 0; i < call.args[0]; i++) {
          byte b = call.data.get(ValueLayout.JAVA_BYTE, i);
          sum += b;
          call.data.set(ValueLayout.JAVA_BYTE, i, (byte) (b + 1));
        }
        made.add("sum");
        mask = 5;
        stamp = call.args[0];
        return sum;
      }
      if (call.number == PseudoCall.PING) {
        return 0;
      }
      if (call.number == GETSOCKNAME) {
        made.add("asked by " + Thread.currentThread().getName());
        mask = 7;
        call.data.set(ValueLayout.JAVA_INT, 0, sequence);
        return 0;
      }
      if (call.number == PseudoCall.SEND && call.args[0] == BROKEN) {
        made.add("send " + call.args[2]);
        return -Errno.ECONNRESET;
      }
      boolean waits = call.args[4] != 0;
      if (call.number == PseudoCall.SEND && call.args[0] == FULL && !waits) {
        return -Errno.EAGAIN;
      }
      if (call.number == PseudoCall.SEND && call.args[0] != FULL) {
        int taken =
            switch (random.nextInt(4)) {
              case 0 -> waits ? 1 : -Errno.EAGAIN;
              case 1 -> 1 + random.nextInt((int) call.args[2]);
              default -> (int) call.args[2];
            };
        synchronized (sent) {
          sent.writeBytes(call.data.asSlice(0, Math.max(0, taken)).toArray(ValueLayout.JAVA_BYTE));
        }
        return taken;
      }
      if (call.number == PseudoCall.WATCH || call.number == PseudoCall.LOOK) {
        mask = Poll.POLLOUT;
        return 0;
      }
      if (call.number == SETSOCKOPT || call.number == CLOSE) {
        LockSupport.parkNanos(200_000); // a call that does not wait for it comes first
        made.add((call.number == CLOSE ? "close " : "setsockopt ") + call.args[0]);
        return 0;
      }
      Integer interrupted = interrupted();
      // As the device's own: the end is that of the device, whoever sees it first.
      return interrupted == null
          ? -Errno.EIO
          : interrupted == sequence ? -Errno.ERESTARTSYS : -Errno.ENETDOWN;
    }

    private @Nullable Integer interrupted() {
      try {
        return interrupts.poll(10, TimeUnit.SECONDS);
      } catch (InterruptedException e) {
        return null;
      }
    }
  }
}
