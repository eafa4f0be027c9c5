// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Fuse;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Requests of a hostile kernel to a disk and to an exported directory. {@code -Pfuzz} looks for
 * some that do harm ({@code SECURITY.md}); {@link RequestFuzzTest} replays what is kept.
 *
 * <p>An input is a byte for the seed of how request and reply are cut into buffers, one for how
 * many, two for the reply's room, and the request.
 */
class RequestFuzz {
  static final int HEAD_BYTES = 4;
  private static final int OUT = 4096;
  private static final int OUT_BYTES = 64 << 10;
  private static final int IN = 128 << 10;
  private static final int IN_BYTES = 64 << 10;
  private static final int MEMORY_BYTES = 256 << 10;
  private static final int DISK_BYTES = 64 << 10;
  private static final int MOST_NODES = 500;
  private static final int MFD_CLOEXEC = 1;
  private static final int SEEK_END = 2;
  private static final int GUARD = 64;

  /** What may fill the machine's disk: it is for whoever gives a directory to bound that. */
  private static final List<Integer> THAT_GROW =
      List.of(Fuse.WRITE, Fuse.FALLOCATE, Fuse.COPY_FILE_RANGE, Fuse.SETATTR, Fuse.SYNCFS);

  private final Arena arena = Arena.ofAuto();
  private final MemorySegment memory = arena.allocate(MEMORY_BYTES, 4096);
  private final GuestMemory guest = new GuestMemory(memory, ModelDriver.BASE);
  private final GuestKernel kernel = new ModelKernel(guest);
  private final RequestDevice.Request request =
      new RequestDevice.Request(arena, FuseWire.SCRATCH_BYTES);
  private final RequestDevice.Request diskRequest = new RequestDevice.Request(arena, 4096);
  private final int image;
  private final BlockDevice disk;
  private final Path outside;
  private @Nullable FuseServer server;
  private int looks;
  private int served;

  RequestFuzz() throws IOException, NetException {
    image = memfd();
    disk = new BlockDevice(kernel, 5, "the disk", "serial", image, DISK_BYTES, false, m -> {});
    outside = Files.createTempDirectory(Path.of("target"), "request-fuzz").toAbsolutePath();
    outside.toFile().deleteOnExit();
  }

  private int memfd() {
    long fd =
        Linux.syscall(
            SyscallNumbers.MEMFD_CREATE, Linux.cString(arena, "disk").address(), MFD_CLOEXEC, 0);
    if (fd < 0 || Linux.ftruncate((int) fd, DISK_BYTES) < 0) {
      throw new IllegalStateException("no memory for a disk");
    }
    return (int) fd;
  }

  /** The disk stays as long as it is, and nothing but the reply's room is written to. */
  @FuzzTest(maxDuration = "90s")
  void anyRequestToADisk(byte[] bytes) {
    if (!begin(bytes, diskRequest)) {
      return;
    }
    try {
      if (!disk.serve(diskRequest)) {
        disk.serveSlowly(diskRequest);
      }
    } catch (RingViolation v) {
      return; // a request without a header
    }
    end(diskRequest);
    if (Linux.syscall(SyscallNumbers.LSEEK, image, 0, SEEK_END) != DISK_BYTES) {
      throw new AssertionError("the disk has another size");
    }
  }

  /** Nothing outside of the directory is seen, and no name leads there. */
  @FuzzTest(maxDuration = "90s")
  void anyRequestToADirectory(byte[] bytes) throws IOException, ExportException {
    if (bytes.length >= HEAD_BYTES + 8
        && THAT_GROW.contains(
            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getInt(HEAD_BYTES + 4))) {
      return;
    }
    FuseServer s = server;
    if (s == null || s.nodes() > MOST_NODES || s.handles() > MOST_NODES) {
      if (s != null) {
        s.close();
      }
      s = serve();
      server = s;
    }
    if (!begin(bytes, request)) {
      return;
    }
    try {
      if (!s.serve(request)) {
        s.serveSlowly(request);
      }
    } catch (RingViolation v) {
      return; // a request without a header, or no room for a reply
    }
    end(request);
    if (!isEmptyButForTheExport()) {
      throw new AssertionError("something was made outside of the export");
    }
  }

  /** Looked at now and then, as it takes long. */
  private boolean isEmptyButForTheExport() throws IOException {
    if ((++looks & 0x3ff) != 0) {
      return true;
    }
    try (Stream<Path> all = Files.list(outside)) {
      return all.count() == 1;
    }
  }

  /** Every other one is read-only, and not told of opens once the kernel says that it can. */
  private FuseServer serve() throws IOException, ExportException {
    Path root = outside.resolve("export");
    remove(root);
    Files.createDirectories(root.resolve("sub"));
    Files.writeString(root.resolve("file"), "hello");
    Files.createSymbolicLink(root.resolve("out"), Path.of(".."));
    int fd =
        (int)
            Linux.open(
                Linux.cString(arena, root.toString()).address(),
                Fcntl.O_PATH | Fcntl.O_DIRECTORY | Fcntl.O_CLOEXEC);
    boolean untold = (++served & 1) == 0;
    return new FuseServer(guest, fd, untold, untold, 4 * MOST_NODES, () -> {});
  }

  private static void remove(Path root) throws IOException {
    if (Files.isDirectory(root, LinkOption.NOFOLLOW_LINKS)) {
      List<Path> inside;
      try (Stream<Path> all = Files.list(root)) {
        inside = all.toList();
      }
      for (Path p : inside) {
        remove(p);
      }
    }
    Files.deleteIfExists(root);
  }

  /** Cuts request and reply into buffers. */
  private boolean begin(byte[] bytes, RequestDevice.Request r) {
    if (bytes.length < HEAD_BYTES) {
      return false;
    }
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    Random random = new Random(in.get());
    int parts = 1 + (in.get() & 15);
    int room = Math.min(Short.toUnsignedInt(in.getShort()), IN_BYTES - GUARD);
    int length = Math.min(in.remaining(), OUT_BYTES);
    MemorySegment.copy(bytes, HEAD_BYTES, memory, ValueLayout.JAVA_BYTE, OUT, length);
    memory.set(ValueLayout.JAVA_LONG, IN - 8, -1);
    memory.asSlice(IN + room, GUARD).fill((byte) 0x5a);
    r.readable.clear();
    r.writable.clear();
    r.written = 0;
    cut(r.readable, random, OUT, length, parts);
    cut(r.writable, random, IN, room, parts);
    return true;
  }

  private void cut(IoVectors to, Random random, int at, int length, int parts) {
    int done = 0;
    for (int i = 1; i <= parts && done < length; i++) {
      int part = i == parts ? length - done : 1 + random.nextInt(length - done);
      to.add(memory.address() + at + done, part);
      done += part;
    }
  }

  private void end(RequestDevice.Request r) {
    long room = r.writable.bytes();
    if (r.written < 0 || r.written > room) {
      throw new AssertionError(r.written + " bytes are said to be written, to " + room);
    }
    if (memory.get(ValueLayout.JAVA_LONG, IN - 8) != -1) {
      throw new AssertionError("written before the reply's room");
    }
    for (int i = 0; i < GUARD; i++) {
      if (memory.get(ValueLayout.JAVA_BYTE, IN + room + i) != 0x5a) {
        throw new AssertionError("written behind the reply's room");
      }
    }
  }
}
