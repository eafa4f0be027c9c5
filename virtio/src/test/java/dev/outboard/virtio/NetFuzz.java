// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.F_VERSION_1;
import static dev.outboard.abi.Virtio.NET_F_MRG_RXBUF;
import static dev.outboard.abi.Virtio.NET_HEADER_BYTES;
import static dev.outboard.abi.Virtio.NET_HEADER_GSO_SIZE;
import static dev.outboard.abi.Virtio.STATUS_ACKNOWLEDGE;
import static dev.outboard.abi.Virtio.STATUS_DRIVER;
import static dev.outboard.abi.Virtio.STATUS_DRIVER_OK;
import static dev.outboard.abi.Virtio.STATUS_FEATURES_OK;
import static dev.outboard.abi.Virtio.bit;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.outboard.abi.File;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Frames and buffers of a hostile kernel's network driver. {@code -Pfuzz} looks for some that do
 * harm ({@code SECURITY.md}); {@link NetFuzzTest} replays what is kept. What rings may say is
 * {@link RingFuzz}'s business: they are in order here.
 */
class NetFuzz implements AutoCloseable {
  static final int HEAD_BYTES = 6;

  private static final int NEEDED = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
  private static final int TRANSMIT = 1;
  private static final int LARGEST_SENT = NetBackend.LARGEST_FRAME + 3 * 65535;
  private static final int FRAME = 1 << 20;
  private static final int RINGS_BYTES = 128 << 10;
  private static final int MOST_PARTS = 32;
  private static final int ETHERNET_AND_IP = 14 + 40;
  private static final int OPTION_BYTES = 8;
  private static final int TCP_MIN_BYTES = 20;
  private static final int TCP_MAX_BYTES = 60;
  private static final int USUAL = 3000;
  private static final int LARGEST_EVER = 9000;

  private final Arena arena = Arena.ofShared();
  private final MemorySegment memory = arena.allocate(ModelDriver.MEMORY_BYTES, 4096);
  private final GuestMemory guest = new GuestMemory(memory, ModelDriver.BASE);
  private final Queue<String> notices = new ConcurrentLinkedQueue<>();
  private final Network network = new Network();
  private final NetDevice device;
  private final RegisterPage page;
  private final ModelDriver transmit;

  NetFuzz() throws NetException {
    device = new NetDevice(new ModelKernel(guest), network, 7, notices::add);
    page =
        new RegisterPage(
            MemorySegment.ofAddress(device.pageAddress()).reinterpret(RegisterPage.BYTES));
    transmit = new ModelDriver(memory, 64, 64 << 10);
    device.start();
    status(STATUS_ACKNOWLEDGE);
    status(NEEDED);
    page.setLong(RegisterPage.DRIVER_FEATURES, bit(F_VERSION_1) | bit(NET_F_MRG_RXBUF));
    status(NEEDED | STATUS_FEATURES_OK);
    new ModelDriver(memory, 64, 4096).offer(page, 0);
    transmit.offer(page, TRANSMIT);
    status(NEEDED | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
  }

  private void status(int value) {
    page.set(RegisterPage.STATUS, value);
    page.set(RegisterPage.STATUS_SERIAL, page.get(RegisterPage.STATUS_SERIAL) + 1);
    try (Arena a = Arena.ofConfined()) {
      long address = a.allocateFrom(ValueLayout.JAVA_LONG, 1L).address();
      check(Linux.write(page.get(RegisterPage.CONTROL_KICK), address, 8) == 8, "a kick");
    }
    await(() -> page.get(RegisterPage.ACK_SERIAL) == page.get(RegisterPage.STATUS_SERIAL));
    check(page.get(RegisterPage.ACK_STATUS) == value, "the device refused to start");
  }

  private static void await(BooleanSupplier condition) {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (!condition.getAsBoolean()) {
      check(System.nanoTime() < deadline, "the device does not come to an end");
      Thread.onSpinWait();
    }
  }

  private static void check(boolean holds, String otherwise) {
    if (!holds) {
      throw new AssertionError(otherwise);
    }
  }

  @Override
  public void close() {
    device.close();
    network.close();
    arena.close();
  }

  // --- frames of the driver ---

  /**
   * Only memory of the frame goes to the network, all of it or nothing, and what is cut into
   * segments is cut as TCP has to find it.
   *
   * <p>An input is a byte for how (how many buffers; whether they may lie over each other; whether
   * the kernel changes the headers meanwhile), one for the seed of that, one for how often the
   * network has no room, three for the length, and the frame's beginning. Behind that lies what
   * other frames have left.
   */
  @FuzzTest(maxDuration = "90s")
  void anyFrameOfTheDriver(byte[] bytes) {
    if (bytes.length <= HEAD_BYTES) {
      return;
    }
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int how = in.get();
    Random random = new Random(in.get());
    int again = in.get() & 3;
    int length = 1 + (Short.toUnsignedInt(in.getShort()) | (in.get() & 7) << 16);
    int begins = Math.min(length, in.remaining());
    MemorySegment.copy(bytes, HEAD_BYTES, memory, ValueLayout.JAVA_BYTE, FRAME, begins);
    List<ModelDriver.Buffer> chain = new ArrayList<>();
    List<long[]> parts = new ArrayList<>();
    int count = 1 + (how & MOST_PARTS - 1);
    for (int at = 0; at < length; ) {
      int part = count-- <= 1 ? length - at : 1 + random.nextInt(length - at);
      // So that the headers are the input's, the first part stays in its place.
      int from = at > 0 && (how & MOST_PARTS) != 0 ? random.nextInt(1 << 20) : at;
      chain.add(new ModelDriver.Buffer(ModelDriver.BASE + FRAME + from, part, false));
      add(parts, memory.address() + FRAME + from, part);
      at += part;
    }
    int packet = length < NET_HEADER_BYTES ? 0 : at(parts, NET_HEADER_GSO_SIZE);
    packet |= length < NET_HEADER_BYTES ? 0 : at(parts, NET_HEADER_GSO_SIZE + 1) << 8;
    network.begin(again, (how & 2 * MOST_PARTS) != 0 ? random : null);
    transmit.add(chain);
    device.transmitNow();
    await(() -> transmit.take() != null);
    check(notices.isEmpty(), "the device has failed: " + notices);
    judge(parts, length, packet, network.taken());
  }

  /** A byte of a frame. */
  private int at(List<long[]> parts, long offset) {
    long[] part = behind(parts, offset).getFirst();
    return Byte.toUnsignedInt(memory.get(ValueLayout.JAVA_BYTE, part[0] - memory.address()));
  }

  /** Adds a part, to the one before if it lies behind that. */
  private static void add(List<long[]> parts, long base, long length) {
    if (!parts.isEmpty()) {
      long[] before = parts.getLast();
      if (before[0] + before[1] == base) {
        before[1] += length;
        return;
      }
    }
    parts.add(new long[] {base, length});
  }

  /**
   * @param packet bytes of a packet's data, as the frame says
   */
  private static void judge(List<long[]> frame, long length, int packet, List<Sent> sent) {
    if (length <= NET_HEADER_BYTES || length > LARGEST_SENT) {
      check(sent.isEmpty(), "a frame of " + length + " bytes was sent");
      return;
    }
    check(!sent.isEmpty(), "nothing was sent");
    if (sent.size() == 1 && sent.getFirst().headers == null) {
      check(same(sent.getFirst().parts, frame), "it is another frame");
      return;
    }
    check(length > NetBackend.LARGEST_FRAME, "a frame that need not be was cut");
    List<long[]> data = new ArrayList<>();
    long done = 0;
    int sequence = 0;
    long headerBytes = 0;
    for (Sent piece : sent) {
      ByteBuffer headers = piece.headers;
      if (headers == null) {
        throw new AssertionError("a piece without headers");
      }
      int fixed = NET_HEADER_BYTES + ETHERNET_AND_IP;
      int tcp = headers.remaining() - fixed;
      check(tcp >= TCP_MIN_BYTES && tcp <= TCP_MAX_BYTES && tcp % 4 == 0, "no TCP header");
      check(headerBytes == 0 || headerBytes == headers.remaining(), "headers of other lengths");
      headerBytes = headers.remaining();
      long bytes = 0;
      for (long[] part : piece.parts) {
        add(data, part[0], part[1]);
        bytes += part[1];
      }
      check(bytes > 0 && bytes + headerBytes - NET_HEADER_BYTES < 1 << 16, "too long a piece");
      headers.order(ByteOrder.BIG_ENDIAN);
      check(headers.getShort(NET_HEADER_BYTES + 14 + 4) == (short) (bytes + tcp), "IP's length");
      int says = headers.getInt(fixed + 4);
      check(done == 0 || says == sequence + (int) done, "TCP's sequence number");
      sequence = done == 0 ? says : sequence;
      headers.order(ByteOrder.LITTLE_ENDIAN);
      int segment = Short.toUnsignedInt(headers.getShort(NET_HEADER_GSO_SIZE));
      boolean last = piece.equals(sent.getLast());
      check(segment == (bytes > packet ? packet : 0), "a segment that is one packet, or none");
      check(last || bytes % packet == 0, "a packet across two pieces");
      done += bytes;
    }
    check(done == length - headerBytes - OPTION_BYTES, "bytes are left over");
    check(same(data, behind(frame, length - done)), "other bytes than the frame's");
  }

  /** The parts without the first bytes. */
  private static List<long[]> behind(List<long[]> parts, long skip) {
    List<long[]> rest = new ArrayList<>();
    long left = skip;
    for (long[] part : parts) {
      long cut = Math.min(left, part[1]);
      left -= cut;
      if (cut < part[1]) {
        add(rest, part[0] + cut, part[1] - cut);
      }
    }
    return rest;
  }

  private static boolean same(List<long[]> one, List<long[]> other) {
    if (one.size() != other.size()) {
      return false;
    }
    for (int i = 0; i < one.size(); i++) {
      if (one.get(i)[0] != other.get(i)[0] || one.get(i)[1] != other.get(i)[1]) {
        return false;
      }
    }
    return true;
  }

  /** A frame that was sent: headers that are not the driver's, if any, and parts of its memory. */
  private record Sent(@Nullable ByteBuffer headers, List<long[]> parts) {}

  /** Takes frames, and looks at them; has none to give. */
  private final class Network implements NetBackend {
    private final int descriptor = (int) Linux.eventfd(File.EFD_CLOEXEC);
    private final NetworkConfig config =
        new NetworkConfig(
            MacAddress.random(),
            1500,
            0,
            List.of(InterfaceAddress.parse("addr", "10.0.0.2/24")),
            List.of(InetAddress.ofLiteral("10.0.0.1")),
            List.of(),
            List.of(),
            List.of(),
            List.of());
    private final List<Sent> sent = new ArrayList<>();
    private int again;
    private @Nullable Random changes;

    Network() throws NetException {}

    synchronized void begin(int refusals, @Nullable Random changing) {
      sent.clear();
      again = refusals;
      changes = changing;
    }

    synchronized List<Sent> taken() {
      return List.copyOf(sent);
    }

    @Override
    public synchronized long transmit(IoVectors vectors) {
      Random random = changes;
      if (random != null) {
        byte[] other = new byte[TCP_MAX_BYTES];
        random.nextBytes(other);
        MemorySegment.copy(
            other, 0, memory, ValueLayout.JAVA_BYTE, FRAME + random.nextInt(100), other.length);
      }
      if (again > 0) {
        again--;
        return AGAIN;
      }
      ByteBuffer headers = null;
      List<long[]> parts = new ArrayList<>();
      long bytes = 0;
      for (int i = 0; i < vectors.count(); i++) {
        long base = vectors.base(i);
        long length = vectors.length(i);
        long offset = base - memory.address();
        check(length > 0, "an empty part");
        bytes += length;
        if (offset >= 0 && offset <= memory.byteSize() - length) {
          add(parts, base, length);
        } else {
          check(i == 0 && length < 200, length + " bytes at " + offset + " are not the driver's");
          byte[] copy =
              MemorySegment.ofAddress(base).reinterpret(length).toArray(ValueLayout.JAVA_BYTE);
          headers = ByteBuffer.wrap(copy);
        }
      }
      check(bytes == vectors.bytes(), "parts that do not add up");
      sent.add(new Sent(headers, parts));
      return bytes;
    }

    @Override
    public long receive(IoVectors vectors) {
      return AGAIN;
    }

    @Override
    public NetworkConfig config() {
      return config;
    }

    @Override
    public long features() {
      return 0;
    }

    @Override
    public void accept(long features) {}

    @Override
    public int descriptor() {
      return descriptor; // writable at any time, readable never
    }

    @Override
    public int largestReceived() {
      return LARGEST_FRAME;
    }

    @Override
    public int largestSent() {
      return LARGEST_SENT;
    }

    @Override
    public boolean splitsJumbo() {
      return true;
    }

    @Override
    public String epitaph() {
      return "the network has ended";
    }

    @Override
    public void close() {
      Linux.close(descriptor);
    }
  }

  // --- buffers for frames to the driver ---

  /**
   * A frame that comes is put where there is room for all of it, and the driver is told of each
   * buffer and byte once.
   *
   * <p>An input is steps: a byte for what, and numbers of two bytes. 0 and 1 offer a buffer
   * (length, place), 2 one in two parts (length, place, length, place), 3 is a frame (length).
   */
  @FuzzTest(maxDuration = "90s")
  void anyBuffersForFrames(byte[] bytes) {
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int rings = ModelDriver.MEMORY_BYTES - RINGS_BYTES;
    memory.asSlice(rings).fill((byte) 0);
    ModelDriver driver = new ModelDriver(memory, 64, rings);
    try (Arena own = Arena.ofConfined()) {
      VirtQueue queue = driver.queue(true, false);
      ReceiveWindow window = new ReceiveWindow(own, queue, guest, USUAL, LARGEST_EVER);
      while (in.remaining() >= 9) {
        switch (in.get() & 3) {
          case 2 -> driver.add(List.of(buffer(in), buffer(in)));
          case 3 -> receive(window, queue, driver, Short.toUnsignedInt(in.getShort()));
          default -> driver.add(List.of(buffer(in)));
        }
      }
    } catch (RingViolation v) {
      // What a window is to say of such buffers.
    }
  }

  private static ModelDriver.Buffer buffer(ByteBuffer in) {
    long length = Short.toUnsignedInt(in.getShort());
    return new ModelDriver.Buffer(
        ModelDriver.BASE + FRAME + 16L * Short.toUnsignedInt(in.getShort()), length, true);
  }

  private void receive(ReceiveWindow window, VirtQueue queue, ModelDriver driver, int wanted)
      throws RingViolation {
    if (!window.fill()) {
      return;
    }
    IoVectors vectors = window.vectors();
    check(vectors.count() <= IoVectors.CALL_LIMIT, "more parts than one call takes");
    for (int i = 0; i < vectors.count(); i++) {
      long offset = vectors.base(i) - memory.address();
      long length = vectors.length(i);
      check(
          length > 0 && offset >= FRAME && offset <= memory.byteSize() - RINGS_BYTES - length,
          length + " bytes at " + offset);
    }
    check(vectors.bytes() >= USUAL, "room for " + vectors.bytes());
    int length = (int) Math.min(NET_HEADER_BYTES + wanted % (LARGEST_EVER - 11), vectors.bytes());
    if (window.cut(length)) {
      return;
    }
    long header = vectors.base(0) - memory.address();
    window.complete(length);
    queue.publish();
    long told = 0;
    int buffers = 0;
    for (ModelDriver.Used u = driver.take(); u != null; u = driver.take()) {
      check(u.length() > 0, "an empty buffer was used");
      told += u.length();
      buffers++;
    }
    check(told == length, told + " bytes are said to have come of " + length);
    int says = Short.toUnsignedInt(memory.get(ValueLayout.JAVA_SHORT_UNALIGNED, header + 10));
    check(says == buffers, "the header says " + says + " buffers of " + buffers);
  }
}
