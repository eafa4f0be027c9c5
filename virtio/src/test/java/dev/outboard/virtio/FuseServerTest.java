// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Fuse;
import dev.outboard.abi.Stat;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.abi.Virtio;
import dev.outboard.posix.Linux;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The FUSE server behind its virtio device, against a driver written in Java. */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class FuseServerTest {
  private static final int URGENT = 0;
  private static final int REQUESTS = 1;
  private static final int LIMIT = 40;
  private static final int UID = 4711;
  private static final int GID = 4712;

  @TempDir Path outside;
  private Path root;
  private final ModelRequests driver = new ModelRequests();
  private final AtomicInteger pressure = new AtomicInteger();

  @SuppressWarnings("NullAway.Init") // set by plug()
  private FuseServer server;

  private long unique;

  /** Who asks; for the requests that follow. */
  private int uid;

  private int gid;

  @BeforeEach
  void makeFiles() throws IOException {
    root = Files.createDirectory(outside.resolve("export"));
    Files.writeString(outside.resolve("secret"), "not for programs");
    Files.createSymbolicLink(root.resolve("out"), Path.of("../secret"));
    Files.createSymbolicLink(root.resolve("absolute"), outside.resolve("secret"));
    Files.createDirectory(root.resolve("sub"));
    Files.writeString(root.resolve("file"), "hello");
  }

  @AfterEach
  void unplug() {
    driver.close();
    if (server != null) {
      server.close();
    }
  }

  private void plug(boolean readOnly) throws Exception {
    int fd =
        (int)
            Linux.open(
                Linux.cString(driver.arena, root.toString()).address(),
                Fcntl.O_PATH | Fcntl.O_DIRECTORY | Fcntl.O_CLOEXEC);
    server = new FuseServer(driver.guest, fd, readOnly, readOnly, LIMIT, pressure::incrementAndGet);
    driver.plug(
        new FileSystemDevice(
            driver.kernel,
            ModelRequests.LINE,
            "the export",
            "export0",
            server,
            driver.notices::add));
  }

  // --- the protocol ---

  private static ByteBuffer body(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static byte[] text(String... strings) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (String s : strings) {
      out.writeBytes(s.getBytes(StandardCharsets.UTF_8));
      out.write(0);
    }
    return out.toByteArray();
  }

  private byte[] message(int opcode, long node, byte[]... bodies) {
    int length = Fuse.IN_HEADER_BYTES + Arrays.stream(bodies).mapToInt(b -> b.length).sum();
    byte[] message = new byte[length];
    ByteBuffer b = ByteBuffer.wrap(message).order(ByteOrder.LITTLE_ENDIAN);
    b.putInt(length).putInt(opcode).putLong(++unique).putLong(node).putInt(uid).putInt(gid);
    b.position(Fuse.IN_HEADER_BYTES);
    for (byte[] part : bodies) {
      b.put(part);
    }
    return message;
  }

  /** A reply: an error, 0 for none, and what is behind the header. */
  private record Reply(int error, ByteBuffer body) {
    ByteBuffer good() {
      assertThat(Errno.name(error)).isEqualTo(Errno.name(0));
      return body;
    }

    long node() {
      return good().getLong(Fuse.ENTRY_NODE);
    }

    int mode() {
      return good().getInt(Fuse.ENTRY_ATTR + Fuse.ATTR_MODE);
    }
  }

  private Reply ask(int opcode, long node, int room, byte[]... bodies) {
    byte[] reply =
        driver.request(REQUESTS, message(opcode, node, bodies), Fuse.OUT_HEADER_BYTES + room);
    ByteBuffer b = ByteBuffer.wrap(reply).order(ByteOrder.LITTLE_ENDIAN);
    assertThat(b.getInt(Fuse.OUT_LENGTH)).isEqualTo(reply.length);
    assertThat(b.getLong(Fuse.OUT_UNIQUE)).isEqualTo(unique);
    b.position(Fuse.OUT_HEADER_BYTES);
    return new Reply(-b.getInt(Fuse.OUT_ERROR), b.slice().order(ByteOrder.LITTLE_ENDIAN));
  }

  private Reply lookup(long node, String name) {
    return ask(Fuse.LOOKUP, node, Fuse.ENTRY_BYTES, text(name));
  }

  private Reply open(long node, int flags) {
    return ask(Fuse.OPEN, node, Fuse.OPEN_OUT_BYTES, body(8).putInt(flags).array());
  }

  private static byte[] io(long handle, long offset, int size, int flags) {
    return body(Fuse.IO_IN_BYTES)
        .putLong(handle)
        .putLong(offset)
        .putInt(size)
        .putInt(0)
        .putLong(0)
        .putInt(flags)
        .array();
  }

  private Reply read(long handle, long offset, int size) {
    return ask(Fuse.READ, 1, size, io(handle, offset, size, 0));
  }

  private byte[] bytes(Reply reply) {
    ByteBuffer b = reply.good();
    byte[] bytes = new byte[b.remaining()];
    b.get(bytes);
    return bytes;
  }

  private Reply write(long handle, long offset, byte[] bytes, int flags) {
    return ask(Fuse.WRITE, 1, Fuse.WRITE_OUT_BYTES, io(handle, offset, bytes.length, flags), bytes);
  }

  private Reply release(long handle) {
    return ask(Fuse.RELEASE, 1, 0, body(Fuse.RELEASE_IN_BYTES).putLong(handle).array());
  }

  private void forget(long node, long lookups) {
    driver.request(URGENT, message(Fuse.FORGET, node, body(8).putLong(lookups).array()), 0);
  }

  private static byte[] creation(int flags, int mode, int umask) {
    return body(16).putInt(flags).putInt(mode).putInt(umask).array();
  }

  private Reply create(String name, int flags, int mode, int umask) {
    return ask(
        Fuse.CREATE,
        1,
        Fuse.ENTRY_BYTES + Fuse.OPEN_OUT_BYTES,
        creation(flags, mode, umask),
        text(name));
  }

  // --- the tests ---

  @Test
  void agreesOnWhatItCan() throws Exception {
    plug(false);
    ByteBuffer out =
        ask(
                Fuse.INIT,
                0,
                Fuse.INIT_OUT_BYTES,
                body(64).putInt(7).putInt(41).putInt(1 << 17).putInt(-1).array())
            .good();
    assertThat(out.getInt(0)).isEqualTo(7);
    assertThat(out.getInt(4)).isEqualTo(41);
    int flags = out.getInt(Fuse.INIT_OUT_FLAGS);
    assertThat(flags & Fuse.AUTO_INVAL_DATA).isNotZero();
    assertThat(flags & Fuse.POSIX_ACL).isNotZero();
    assertThat(flags & 1 << 16).as("no writeback cache: others' changes are seen").isZero();
    assertThat(out.getInt(Fuse.INIT_OUT_MAX_WRITE)).isEqualTo(1 << 20);
    assertThat(out.getShort(Fuse.INIT_OUT_MAX_PAGES)).isEqualTo((short) 256);
    assertThat(ask(Fuse.INIT, 0, 64, body(64).putInt(8).array()).error()).isEqualTo(Errno.EPROTO);
  }

  @Test
  void staysInItsDirectory() throws Exception {
    plug(false);
    for (String name : new String[] {"..", ".", "", "sub/../../secret", "/etc/passwd", "sub/x"}) {
      assertThat(lookup(1, name).error()).as(name).isEqualTo(Errno.EINVAL);
    }
    assertThat(lookup(1, "x".repeat(256)).error()).isEqualTo(Errno.ENAMETOOLONG);
    assertThat(ask(Fuse.LOOKUP, 1, 128, "no end".getBytes(StandardCharsets.US_ASCII)).error())
        .isEqualTo(Errno.EINVAL);
    // A symbolic link is told of as one, and never followed.
    for (String name : new String[] {"out", "absolute"}) {
      Reply link = lookup(1, name);
      assertThat(link.mode() & Stat.S_IFMT).isEqualTo(Stat.S_IFLNK);
      assertThat(open(link.node(), Fcntl.O_RDONLY).error()).isEqualTo(Errno.EINVAL);
      assertThat(lookup(link.node(), "x").error()).isEqualTo(Errno.ENOTDIR);
      assertThat(
              ask(
                      Fuse.SETATTR,
                      link.node(),
                      104,
                      body(88).putInt(Fuse.FATTR_SIZE).putInt(0).putLong(0).putLong(3).array())
                  .error())
          .isEqualTo(Errno.EINVAL);
    }
    byte[] target = bytes(ask(Fuse.READLINK, lookup(1, "out").node(), 4096));
    assertThat(new String(target, StandardCharsets.US_ASCII)).isEqualTo("../secret");
    assertThat(create("out", Fcntl.O_RDWR | Fcntl.O_CREAT, 0644, 0).error())
        .isEqualTo(Errno.EINVAL);
    assertThat(ask(Fuse.RENAME, 1, 0, body(8).putLong(1).array(), text("file", "../file")).error())
        .isEqualTo(Errno.EINVAL);
    assertThat(Files.readString(outside.resolve("secret"))).isEqualTo("not for programs");
  }

  @Test
  void readsAndWritesInAnyParts() throws Exception {
    plug(false);
    byte[] data = new byte[700_001];
    new Random(11).nextBytes(data);
    for (int parts : new int[] {1, 2, 5, 60}) {
      driver.parts = parts;
      Reply created = create("data" + parts, Fcntl.O_RDWR | Fcntl.O_CREAT, 0644, 0);
      long handle = created.good().getLong(Fuse.ENTRY_BYTES);
      assertThat(write(handle, 0, data, 0).good().getInt(0)).isEqualTo(data.length);
      assertThat(Files.readAllBytes(root.resolve("data" + parts))).isEqualTo(data);
      assertThat(bytes(read(handle, 0, data.length + 999))).isEqualTo(data);
      assertThat(bytes(read(handle, 5000, 10))).isEqualTo(Arrays.copyOfRange(data, 5000, 5010));
      assertThat(bytes(read(handle, data.length, 100))).isEmpty();
      // At the end, wherever the kernel believes that to be.
      Files.write(root.resolve("data" + parts), "abc".getBytes(StandardCharsets.US_ASCII));
      assertThat(write(handle, 1 << 20, new byte[] {'d'}, Fcntl.O_APPEND).good().getInt(0))
          .isEqualTo(1);
      assertThat(Files.readString(root.resolve("data" + parts))).isEqualTo("abcd");
      assertThat(release(handle).error()).isZero();
      assertThat(read(handle, 0, 10).error()).isEqualTo(Errno.EBADF);
    }
    assertThat(server.handles()).isZero();
  }

  /** A write that says that it has more bytes than it has. */
  @Test
  void checksLengths() throws Exception {
    plug(false);
    long handle = open(lookup(1, "file").node(), Fcntl.O_RDWR).good().getLong(0);
    assertThat(ask(Fuse.WRITE, 1, 8, io(handle, 0, 1000, 0), new byte[10]).error())
        .isEqualTo(Errno.EINVAL);
    assertThat(ask(Fuse.OPEN, 1, 16, new byte[4]).error()).isEqualTo(Errno.EINVAL);
    assertThat(ask(Fuse.SETXATTR, 1, 0, body(8).putInt(-1).array(), text("user.a", "b")).error())
        .isEqualTo(Errno.EINVAL);
    for (long number : new long[] {-1, 0, 2, 1L << 24 | 1, Long.MAX_VALUE}) {
      assertThat(lookup(number, "file").error()).isEqualTo(Errno.ESTALE);
      assertThat(read(number + 17, 0, 10).error()).isEqualTo(Errno.EBADF);
    }
    assertThat(ask(777, 1, 0).error()).isEqualTo(Errno.ENOSYS);
    assertThat(Files.readString(root.resolve("file"))).isEqualTo("hello");
    driver.submit(REQUESTS, new byte[39], 100);
    driver.await("a notice", () -> !driver.notices.isEmpty());
    assertThat(driver.notices).singleElement().asString().contains("a request of 39 bytes");
  }

  /** Bodies of any bytes and any length, for every operation: each is answered, none leads out. */
  @Test
  void answersAnything() throws Exception {
    plug(false);
    long seed = Long.getLong("tests.seed", System.nanoTime());
    Random random = new Random(seed);
    String[] names = {"file", "sub", "out", "..", "../secret", "x", "sub/x", ""};
    for (int i = 0; i < 3000; i++) {
      int opcode = 1 + random.nextInt(55);
      byte[] some = new byte[random.nextInt(120)];
      if (random.nextBoolean()) {
        random.nextBytes(some);
      }
      byte[] text = text(names[random.nextInt(names.length)], names[random.nextInt(names.length)]);
      byte[] message = message(opcode, random.nextInt(3), some, text);
      byte[] reply = driver.request(REQUESTS, message, 70_000);
      assertThat(driver.notices).as("seed %d, round %d", seed, i).isEmpty();
      // What is to be forgotten is not answered, unless it is too short to say what that is.
      boolean silent =
          (opcode == Fuse.FORGET || opcode == Fuse.BATCH_FORGET)
              && message.length >= Fuse.IN_HEADER_BYTES + 8;
      assertThat(reply.length)
          .as("seed %d, round %d, operation %d", seed, i, opcode)
          .matches(length -> silent ? length == 0 : length >= Fuse.OUT_HEADER_BYTES);
    }
    assertThat(Files.readString(outside.resolve("secret"))).isEqualTo("not for programs");
    assertThat(outside).isDirectoryNotContaining("glob:**/x");
  }

  @Test
  void stopsWhenAReplyHasNoRoom() throws Exception {
    plug(false);
    driver.submit(REQUESTS, message(Fuse.LOOKUP, 1, text("file")), 100);
    driver.await("a notice", () -> !driver.notices.isEmpty());
    assertThat(driver.notices).singleElement().asString().contains("100 bytes for a reply");
    driver.await(
        "NEEDS_RESET",
        () -> (driver.page.get(RegisterPage.ACK_STATUS) & Virtio.STATUS_NEEDS_RESET) != 0);
  }

  @Test
  void makesFilesOfTheCaller() throws Exception {
    assumeTrue(Linux.syscall(SyscallNumbers.GETEUID, 0) == 0, "needs root");
    plug(false);
    uid = UID;
    gid = GID;
    // The directory is root's: that the caller may is the kernel's to know.
    Reply file = create("mine", Fcntl.O_RDWR | Fcntl.O_CREAT, 0666, 027);
    assertThat(file.mode()).isEqualTo(Stat.S_IFREG | 0640);
    assertThat(file.good().getInt(Fuse.ENTRY_ATTR + Fuse.ATTR_UID)).isEqualTo(UID);
    assertThat(file.good().getInt(Fuse.ENTRY_ATTR + Fuse.ATTR_GID)).isEqualTo(GID);
    ask(Fuse.MKDIR, 1, 128, body(8).putInt(0777).putInt(0).array(), text("dir")).good();
    ask(Fuse.SYMLINK, 1, 128, text("link", "target")).good();
    for (String name : new String[] {"mine", "dir", "link"}) {
      assertThat(
              Files.getAttribute(
                  root.resolve(name), "unix:uid", java.nio.file.LinkOption.NOFOLLOW_LINKS))
          .isEqualTo(UID);
      assertThat(
              Files.getAttribute(
                  root.resolve(name), "unix:gid", java.nio.file.LinkOption.NOFOLLOW_LINKS))
          .isEqualTo(GID);
    }
    uid = 0;
    gid = 0;
    create("roots", Fcntl.O_RDWR | Fcntl.O_CREAT, 0600, 0).good();
    assertThat(Files.getAttribute(root.resolve("roots"), "unix:uid")).isEqualTo(0);
    // A directory that hands its group down.
    Linux.syscall(
        SyscallNumbers.FCHMODAT,
        Fcntl.AT_FDCWD,
        Linux.cString(driver.arena, root.toString()).address(),
        02777);
    uid = UID;
    gid = GID;
    assertThat(
            create("group", Fcntl.O_CREAT, 0600, 0).good().getInt(Fuse.ENTRY_ATTR + Fuse.ATTR_GID))
        .isEqualTo(Files.getAttribute(root, "unix:gid"));
  }

  @Test
  void listsDirectories() throws Exception {
    Path many = Files.createDirectory(root.resolve("many"));
    Set<String> names = new HashSet<>(Set.of(".", ".."));
    for (int i = 0; i < 300; i++) {
      String name = i + "n".repeat(i % 200);
      Files.createFile(many.resolve(name));
      names.add(name);
    }
    plug(false);
    long node = lookup(1, "many").node();
    long handle = ask(Fuse.OPENDIR, node, 16, body(8).array()).good().getLong(0);
    Set<String> seen = new HashSet<>();
    long offset = 0;
    while (true) {
      ByteBuffer list = ask(Fuse.READDIR, node, 4096, io(handle, offset, 4096, 0)).good();
      if (!list.hasRemaining()) {
        break;
      }
      offset = entries(list, seen, 0, 0);
    }
    assertThat(seen).isEqualTo(names);
    // From the middle again, and with attributes; the bound on files holds.
    seen.clear();
    ByteBuffer list = ask(Fuse.READDIRPLUS, node, 4096, io(handle, 0, 4096, 0)).good();
    offset = entries(list, seen, Fuse.ENTRY_BYTES, 0);
    assertThat(seen).hasSizeGreaterThan(5);
    assertThat(names).containsAll(seen);
    assertThat(server.nodes()).isGreaterThan(seen.size() - 2);
    int first = seen.size();
    entries(
        ask(Fuse.READDIRPLUS, node, 4096, io(handle, offset, 4096, 0)).good(),
        seen,
        Fuse.ENTRY_BYTES,
        0);
    assertThat(seen).hasSizeGreaterThan(first);
    assertThat(ask(Fuse.READ, 1, 100, io(handle, 0, 100, 0)).error()).isEqualTo(Errno.EBADF);
  }

  private static long entries(ByteBuffer list, Set<String> names, int head, long start) {
    long offset = start;
    int at = 0;
    while (at < list.limit()) {
      int entry = at + head;
      offset = list.getLong(entry + Fuse.DIRENT_OFFSET);
      int length = list.getInt(entry + Fuse.DIRENT_NAME_LENGTH);
      byte[] name = new byte[length];
      list.get(entry + Fuse.DIRENT_NAME, name);
      assertThat(names.add(new String(name, StandardCharsets.US_ASCII))).isTrue();
      at = entry + (Fuse.DIRENT_NAME + length + 7 & -8);
    }
    return offset;
  }

  @Test
  void forgetsWhatItIsToldToAndHasABound() throws Exception {
    plug(false);
    long node = lookup(1, "file").node();
    assertThat(lookup(1, "file").node()).isEqualTo(node);
    assertThat(server.nodes()).isEqualTo(2);
    forget(node, 1);
    assertThat(server.nodes()).isEqualTo(2);
    forget(node, 1);
    assertThat(server.nodes()).isEqualTo(1);
    assertThat(open(node, 0).error()).isEqualTo(Errno.ESTALE);
    assertThat(lookup(1, "file").node()).as("a new number").isNotEqualTo(node);
    forget(1, Long.MAX_VALUE);
    assertThat(lookup(1, "file").error()).as("the root stays").isZero();
    for (int i = 0; i < LIMIT; i++) {
      Files.createFile(root.resolve("n" + i));
    }
    int known = 0;
    while (lookup(1, "n" + known).error() == 0) {
      known++;
    }
    assertThat(lookup(1, "n" + known).error()).isEqualTo(Errno.ENFILE);
    assertThat(server.nodes()).isEqualTo(LIMIT);
    assertThat(pressure.get()).isPositive();
    // One that is known already takes no room.
    assertThat(lookup(1, "n0").error()).isZero();
    ask(Fuse.DESTROY, 0, 0).good();
    assertThat(server.nodes()).isEqualTo(1);
    assertThat(lookup(1, "n" + known).error()).isZero();
  }

  @Test
  void readOnlyIsReadOnly() throws Exception {
    plug(true);
    Reply file = lookup(1, "file");
    assertThat(open(file.node(), Fcntl.O_RDWR).error()).isEqualTo(Errno.EROFS);
    long handle = open(file.node(), Fcntl.O_RDONLY).good().getLong(0);
    assertThat(bytes(read(handle, 0, 10))).asString().isEqualTo("hello");
    assertThat(write(handle, 0, new byte[1], 0).error()).isEqualTo(Errno.EROFS);
    assertThat(create("new", Fcntl.O_CREAT, 0600, 0).error()).isEqualTo(Errno.EROFS);
    assertThat(ask(Fuse.UNLINK, 1, 0, text("file")).error()).isEqualTo(Errno.EROFS);
    assertThat(ask(Fuse.SETATTR, file.node(), 104, body(88).array()).error())
        .isEqualTo(Errno.EROFS);
    assertThat(ask(Fuse.TMPFILE, 1, 144, creation(2, 0600, 0)).error()).isEqualTo(Errno.EROFS);
    assertThat(Files.readString(root.resolve("file"))).isEqualTo("hello");
  }

  @Test
  void tellsWhetherAFileHasChanged() throws Exception {
    plug(false);
    long node = lookup(1, "file").node();
    assertThat(open(node, 0).good().getInt(Fuse.OPEN_OUT_FLAGS)).isEqualTo(Fuse.FOPEN_KEEP_CACHE);
    Files.writeString(root.resolve("file"), "changed by another");
    assertThat(open(node, 0).good().getInt(Fuse.OPEN_OUT_FLAGS)).isZero();
    // Told, by whatever, it is no longer new.
    ask(Fuse.GETATTR, node, Fuse.ATTR_OUT_BYTES, new byte[16]).good();
    assertThat(open(node, 0).good().getInt(Fuse.OPEN_OUT_FLAGS)).isEqualTo(Fuse.FOPEN_KEEP_CACHE);
  }

  @Test
  void namelessFilesGetNames() throws Exception {
    plug(false);
    Reply made = ask(Fuse.TMPFILE, 1, 144, creation(Fcntl.O_RDWR, 0600, 0));
    long handle = made.good().getLong(Fuse.ENTRY_BYTES);
    write(handle, 0, new byte[] {'x'}, 0).good();
    ask(Fuse.LINK, 1, 128, body(8).putLong(made.node()).array(), text("named")).good();
    assertThat(Files.readString(root.resolve("named"))).isEqualTo("x");
  }

  // --- opens without a message ---

  private void plugUntold() throws Exception {
    plug(true);
    ask(
            Fuse.INIT,
            0,
            Fuse.INIT_OUT_BYTES,
            body(64).putInt(7).putInt(41).putInt(0).putInt(Fuse.NO_OPEN_SUPPORT).array())
        .good();
  }

  @Test
  void anOpenIsUntoldOnlyIfTheKernelCanAndNobodyWrites() throws Exception {
    plug(false);
    byte[] canDoWithout = body(64).putInt(7).putInt(41).putInt(0).putInt(-1).array();
    ask(Fuse.INIT, 0, Fuse.INIT_OUT_BYTES, canDoWithout).good();
    assertThat(server.untoldOpens()).isNull();
    assertThat(open(lookup(1, "file").node(), 0).error()).isZero();
    assertThat(ask(Fuse.READ, lookup(1, "file").node(), 9, io(0, 0, 9, 0)).error())
        .isEqualTo(Errno.EBADF);
  }

  @Test
  void readsWithoutAHandle() throws Exception {
    plugUntold();
    long file = lookup(1, "file").node();
    assertThat(open(file, Fcntl.O_RDONLY).error()).isEqualTo(Errno.ENOSYS);
    assertThat(bytes(ask(Fuse.READ, file, 9, io(0, 1, 9, 0)))).asString().isEqualTo("ello");
    assertThat(ask(Fuse.READ, file, 9, io(1, 1, 9, 0)).error()).isEqualTo(Errno.EBADF);
    assertThat(ask(Fuse.READ, 1, 9, io(0, 0, 9, 0)).error()).as("a directory").isNotZero();
    assertThat(ask(Fuse.READ, lookup(1, "out").node(), 9, io(0, 0, 9, 0)).error())
        .as("a link")
        .isEqualTo(Errno.EINVAL);
    byte[] end = body(24).putLong(0).putLong(2).putInt(4).array(); // SEEK_HOLE
    assertThat(ask(Fuse.LSEEK, file, 8, end).good().getLong(0)).isEqualTo(5);
    byte[] byHandle = body(16).putInt(Fuse.GETATTR_F_HANDLE).putInt(0).putLong(0).array();
    assertThat(
            ask(Fuse.GETATTR, file, Fuse.ATTR_OUT_BYTES, byHandle)
                .good()
                .getLong(Fuse.ATTR_OUT_ATTR + Fuse.ATTR_SIZE))
        .isEqualTo(5);
    assertThat(ask(Fuse.WRITE, file, 8, io(0, 0, 1, 0), new byte[1]).error())
        .isEqualTo(Errno.EROFS);
    // Directories are told of as ever.
    long handle = ask(Fuse.OPENDIR, 1, 16, body(8).array()).good().getLong(0);
    assertThat(handle).isNotZero();
    assertThat(ask(Fuse.RELEASEDIR, 1, 0, body(24).putLong(handle).array()).error()).isZero();
  }

  /** What was removed can be read for as long as the kernel knows it, and no longer held. */
  @Test
  void contentsAreHeldAsLongAsTheKernelKnowsTheFile() throws Exception {
    plugUntold();
    long file = lookup(1, "file").node();
    assertThat(open(file)).isZero();
    Path name = root.resolve("file");
    assertThat(bytes(ask(Fuse.READ, file, 9, io(0, 0, 9, 0)))).asString().isEqualTo("hello");
    assertThat(held(name)).as("its path, and its contents").isEqualTo(2);
    ask(Fuse.READ, file, 9, io(0, 0, 9, 0)).good();
    assertThat(held(name)).isEqualTo(2);
    Files.delete(name);
    assertThat(bytes(ask(Fuse.READ, file, 9, io(0, 0, 9, 0)))).asString().isEqualTo("hello");
    forget(file, 1);
    assertThat(held(name)).isZero();
  }

  /** How many descriptors of this process are of a file. */
  private static int held(Path file) throws IOException {
    int count = 0;
    try (var all = Files.newDirectoryStream(Path.of("/proc/self/fd"))) {
      for (Path fd : all) {
        count += target(fd).startsWith(file.toString()) ? 1 : 0;
      }
    }
    return count;
  }

  private static String target(Path link) throws IOException {
    try {
      return Files.readSymbolicLink(link).toString();
    } catch (NoSuchFileException e) {
      return ""; // that of the directory itself
    }
  }

  private static final int BELIEVED = 1024;

  /** What the kernel believes, as it is told. */
  private final MemorySegment believed = driver.arena.allocate(2048, 64);

  private long open(long node) {
    ByteBuffer told = ask(Fuse.GETATTR, node, Fuse.ATTR_OUT_BYTES, new byte[16]).good();
    int at = Fuse.ATTR_OUT_ATTR;
    long to = BELIEVED;
    believed.set(JAVA_LONG, to + Stat.STATX_SIZE, told.getLong(at + Fuse.ATTR_SIZE));
    believed.set(JAVA_LONG, to + Stat.STATX_MTIME, told.getLong(at + Fuse.ATTR_MTIME));
    believed.set(JAVA_INT, to + Stat.STATX_MTIME + 8, told.getInt(at + Fuse.ATTR_MTIME_NANOS));
    believed.set(JAVA_LONG, to + Stat.STATX_CTIME, told.getLong(at + Fuse.ATTR_CTIME));
    believed.set(JAVA_INT, to + Stat.STATX_CTIME + 8, told.getInt(at + Fuse.ATTR_CTIME_NANOS));
    return look(node);
  }

  private long look(long node) {
    return Objects.requireNonNull(server.untoldOpens()).look(node, believed, 0, BELIEVED);
  }

  private int nanos() {
    return believed.get(JAVA_INT, BELIEVED + Stat.STATX_MTIME + 8);
  }

  @Test
  void whoOpensLearnsWhatHasChanged() throws Exception {
    plugUntold();
    Path name = root.resolve("file");
    long file = lookup(1, "file").node();
    assertThat(open(file)).isEqualTo(UntoldOpens.CURRENT);
    assertThat(look(file)).isEqualTo(UntoldOpens.CURRENT);
    Files.writeString(name, "longer");
    assertThat(look(file)).isEqualTo(UntoldOpens.CHANGED);
    assertThat(open(file)).as("told").isEqualTo(UntoldOpens.CURRENT);

    // Nothing but the time of change tells: the kernel has to be given a reason to look again.
    FileTime time = Files.getLastModifiedTime(name);
    int nanos = nanos();
    Object changed = Files.getAttribute(name, "unix:ctime");
    do {
      Files.writeString(name, "LONGER");
      Files.setLastModifiedTime(name, time);
    } while (changed.equals(Files.getAttribute(name, "unix:ctime")));
    assertThat(look(file)).isEqualTo(UntoldOpens.CHANGED);
    assertThat(open(file)).as("told what differs").isEqualTo(UntoldOpens.CHANGED);
    assertThat(nanos()).isEqualTo(nanos ^ 1);
    assertThat(open(file)).as("told what is true").isEqualTo(UntoldOpens.CURRENT);
    assertThat(nanos()).isEqualTo(nanos);

    // The same if the kernel has been told of the change before anybody opens.
    changed = Files.getAttribute(name, "unix:ctime");
    do {
      Files.writeString(name, "longer");
      Files.setLastModifiedTime(name, time);
    } while (changed.equals(Files.getAttribute(name, "unix:ctime")));
    assertThat(lookup(1, "file").node()).isEqualTo(file);
    assertThat(open(file)).isEqualTo(UntoldOpens.CHANGED);
    assertThat(open(file)).isEqualTo(UntoldOpens.CHANGED);
    assertThat(nanos()).isEqualTo(nanos ^ 1);
    assertThat(open(file)).isEqualTo(UntoldOpens.CURRENT);

    assertThat(look(4711L << 24)).isEqualTo(-Errno.ESTALE);
    assertThat(look(1)).as("a directory").isEqualTo(-Errno.ESTALE);
  }

  /**
   * Who may not read a file of the machine gets no descriptor of it, though the kernel knows it.
   */
  @Test
  void thisProcessMustBeAllowedToRead() throws Exception {
    assumeTrue(Linux.syscall(SyscallNumbers.GETEUID, 0) == 0, "needs root");
    plugUntold();
    Path name = root.resolve("file");
    long file = lookup(1, "file").node();
    assertThat(open(file)).isEqualTo(UntoldOpens.CURRENT);
    Files.setPosixFilePermissions(name, PosixFilePermissions.fromString("rw-r--r--"));
    assertThat(open(file)).isNotNegative();
    Files.setPosixFilePermissions(name, PosixFilePermissions.fromString("rw-------"));
    long[] found = new long[1];
    Thread other =
        Thread.ofPlatform()
            .start(() -> {
              Linux.syscall(SyscallNumbers.SETFSUID, UID);
              found[0] = look(file);
            });
    other.join();
    assertThat(found[0]).isEqualTo(-Errno.EACCES);
    assertThat(look(file)).isNotNegative();
  }
}
