// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.PathSet;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Decides whose a path is, by its text: the device's if it lies at or below one of the {@link
 * PathSet}, seen from the root, from the working directory or from a directory's descriptor.
 *
 * <p>Text alone: symbolic links of the host that lead to a device's path are not followed, for that
 * would cost a look-up of every path. {@code ..} takes back the name before it, and does not lead
 * out of a mount point by a relative path: there it stays where it is, as in a root directory. What
 * the device is given is looked up by its own kernel, links included.
 *
 * <p>The network's directory of any process of the program's tree, {@code /proc/PID/net}, is the
 * one of its shadow.
 */
final class Paths {
  /** {@code PATH_MAX}, the NUL included. */
  private static final int PATH_BYTES = 4096;

  private static final int SLOT_BYTES = 2 * PATH_BYTES;

  /** Where times stand in the substituted text. */
  private static final int TIMES = 2 * SLOT_BYTES;

  private static final byte[] HERE = ascii(".");
  private static final byte[] PROC = ascii("/proc/");
  private static final byte[] TASK = ascii("/task/");
  private static final byte[] NET = ascii("/net");
  private static final byte[] EXE = ascii("/exe");
  private static final byte[] OWN_NET = ascii("/proc/self/net");

  private static final byte[][] STANDARD = {
    ascii("/dev/stdin"), ascii("/dev/stdout"), ascii("/dev/stderr")
  };
  private static final byte[][] DESCRIPTORS = {ascii("/proc/self/fd/"), ascii("/dev/fd/")};

  /** Whose a path is. */
  enum Owner {
    HOST,
    DEVICE,
    /** Of the device, but wrong: {@link Look#errno} says how. */
    WRONG
  }

  /** What came of one path; the two of a notifier thread are reused. */
  static final class Look {
    private final int slot;
    private final byte[] raw = new byte[PATH_BYTES];
    private byte[] text = new byte[SLOT_BYTES];
    private byte[] spare = new byte[SLOT_BYTES];
    private int rawLength;
    private int length;

    /** Of a path that names a descriptor: where the path below that begins. */
    private int rest;

    /** What to give the device as directory: AT_FDCWD or a handle. */
    int directory;

    /** The directory's file if it is a handle. */
    @Nullable OpenFile file;

    /**
     * How much of the path names a directory in which the rest is to be looked up, and not above; 0
     * if all of it is one path.
     */
    int start;

    /** The path named a descriptor, in /proc or /dev; it is replaced by the path of its file. */
    private boolean byDescriptor;

    /** There is no path: utimensat and its kin then mean the descriptor itself. */
    private boolean absent;

    int errno;

    Look(int slot) {
      this.slot = slot;
    }

    /** The address of the path in the notification's memory, once it is the device's. */
    long address() {
      return absent ? 0 : ProcessMemory.SUBSTITUTE + (long) slot * SLOT_BYTES;
    }

    /** Of the first path: the address of what is behind its {@link #start}, if it has one. */
    long restAddress() {
      return ProcessMemory.SUBSTITUTE + SLOT_BYTES;
    }

    /** Of the path as the program wrote it: positive, or 0 if there is none. */
    int hash() {
      int hash = 0;
      for (int i = 0; i < rawLength; i++) {
        hash = 31 * hash + raw[i];
      }
      return hash & Integer.MAX_VALUE;
    }

    /** The call has no path and means a descriptor. */
    boolean isAbsent() {
      return absent;
    }

    /** The path as the program wrote it. */
    byte[] written() {
      return Arrays.copyOf(raw, rawLength);
    }

    /** Puts the path as the program wrote it where {@link #address} is, and reads it from there. */
    long keepWritten(Work w) {
      put(w, slot, raw, 0, rawLength);
      return ProcessMemory.SUBSTITUTE + (long) slot * SLOT_BYTES;
    }

    boolean isEmpty() {
      return rawLength == 0;
    }

    /** The path as the program wrote it is this. */
    boolean isRaw(byte[] path) {
      return Arrays.equals(raw, 0, rawLength, path, 0, path.length);
    }

    /** The path as the device gets it: absolute, or relative to {@link #directory}. */
    byte[] path() {
      return Arrays.copyOf(text, length);
    }

    /** The path of the file whose descriptor was named by its path; null if none was. */
    byte @Nullable [] descriptorPath() {
      return byDescriptor ? path() : null;
    }

    /** The same, absolute and without a slash or dot at its end: kept of an open file. */
    byte[] absolute() {
      OpenFile f = file;
      byte[] base = f == null ? null : f.path();
      int bytes = bare(text, length);
      if (base == null) {
        return Arrays.copyOf(text, bytes);
      }
      byte[] whole = Arrays.copyOf(base, base.length + 1 + bytes + 2);
      int n = normalize(text, bytes, whole, base.length, base.length);
      return Arrays.copyOf(whole, bare(whole, n));
    }
  }

  /** What one call needs; one a notifier thread. */
  static final class Work {
    final Look first = new Look(0);
    final Look second = new Look(1);

    /** A text is read in pieces of some size, whatever its length. */
    final MemorySegment substitute = Arena.ofAuto().allocate(TIMES + PATH_BYTES, 8);

    private final MemorySegment text = Arena.ofAuto().allocate(PATH_BYTES, 8);

    /** 32 bytes for the times of utimensat, or a text, at {@link #timesAddress}. */
    MemorySegment times() {
      return substitute.asSlice(TIMES, 32);
    }

    static long timesAddress() {
      return ProcessMemory.SUBSTITUTE + TIMES;
    }
  }

  private final ThreadLocal<Work> work = ThreadLocal.withInitial(Work::new);
  private final PathSet set;
  private final PathSet network = PathSet.of(List.of());
  private final Descriptors descriptors;
  private final OpenFiles files;
  private final ProcessTable processes;

  Paths(PathSet set, Descriptors descriptors, OpenFiles files, ProcessTable processes) {
    this.set = set;
    this.descriptors = descriptors;
    this.files = files;
    this.processes = processes;
  }

  /**
   * The names of which at least one is in every path that is not certainly the host's, as {@link
   * #look} decides: the last ones of a set's patterns, and those of what is named besides.
   *
   * @param most bytes of all names and their lengths, a byte each
   * @return null if they are no such list: for patterns with stars, long names, too many
   */
  static @Nullable List<byte[]> namesOf(PathSet set, int most) {
    List<byte[]> names = new ArrayList<>(set.lastNames());
    for (byte[] path : STANDARD) {
      names.add(lastName(path));
    }
    names.add(ascii("fd"));
    names.add(ascii("exe"));
    names.add(lastName(PathCalls.RESOLV_CONF));
    int bytes = 0;
    for (byte[] name : names) {
      bytes += 1 + name.length;
      if (name.length == 0 || name.length >= ShimTable.MAX_NAME || PathSet.isPattern(name)) {
        return null;
      }
    }
    return bytes <= most ? names : null;
  }

  /** What stands behind the last slash. */
  static byte[] lastName(byte[] path) {
    int from = path.length;
    while (from > 0 && path[from - 1] != '/') {
      from--;
    }
    return Arrays.copyOfRange(path, from, path.length);
  }

  /** This thread's work space; its texts stand in the notification's memory from now on. */
  Work begin(Notification n) {
    Work w = work.get();
    n.memory().substitute(w.substitute);
    return w;
  }

  /** Whether what {@code look} found lies in an export and not among the network's files. */
  boolean exported(Look look) {
    OpenFile f = look.file;
    return f != null ? f.exported() : network.match(look.text, look.length) < 0;
  }

  /**
   * Looks at a path argument.
   *
   * @param directory index of the argument that relative paths start from, -1 for the working
   *     directory
   */
  Owner look(Notification n, Work w, Look look, int directory, int path) {
    return look(n, w, look, directory, path, 0);
  }

  /**
   * The same of a path that is to be resolved in a way of {@code openat2(2)}; of the first one
   * alone.
   *
   * @param resolve its {@code RESOLVE_*}, 0 for the usual way
   */
  Owner look(Notification n, Work w, Look look, int directory, int path, long resolve) {
    look.file = null;
    look.start = 0;
    look.byDescriptor = false;
    look.absent = n.args()[path] == 0;
    if (look.absent) {
      Placeholder p = directory < 0 ? null : descriptors.lookup(n, n.intArg(directory));
      look.rawLength = 0;
      return p == null ? Owner.HOST : fromHandle(look, p, true);
    }
    look.directory = Fcntl.AT_FDCWD;
    long length = n.memory().readString(n.args()[path], w.text, 0, PATH_BYTES);
    look.rawLength = (int) Math.max(0, length);
    if (length < 0) {
      return Owner.HOST; // whose kernel knows the errno
    }
    MemorySegment.copy(w.text, JAVA_BYTE, 0, look.raw, 0, (int) length);
    Owner owner =
        resolve == 0 ? decide(n, look, directory) : resolve(n, look, n.intArg(directory), resolve);
    return settle(w, look, owner);
  }

  /** The same for a path that is no argument of the call's, seen from the working directory. */
  Owner look(Notification n, Work w, Look look, byte[] path) {
    look.file = null;
    look.start = 0;
    look.byDescriptor = false;
    look.absent = false;
    look.directory = Fcntl.AT_FDCWD;
    if (path.length >= PATH_BYTES) {
      look.errno = Errno.ENAMETOOLONG;
      return Owner.WRONG;
    }
    look.rawLength = path.length;
    System.arraycopy(path, 0, look.raw, 0, path.length);
    return settle(w, look, decide(n, look, -1));
  }

  private static Owner settle(Work w, Look look, Owner owner) {
    if (owner == Owner.DEVICE) {
      if (look.length >= PATH_BYTES) {
        look.errno = Errno.ENAMETOOLONG;
        return Owner.WRONG;
      }
      int first = look.start == 0 ? look.length : look.start;
      put(w, look.slot, look.text, 0, first);
      if (look.start > 0) {
        if (look.length > first + 1) {
          put(w, look.slot + 1, look.text, first + 1, look.length - first - 1);
        } else {
          put(w, look.slot + 1, HERE, 0, HERE.length);
        }
      }
    }
    return owner;
  }

  /**
   * Whether a path of the host, which {@link #look} has just looked at, names a file by any text
   * that does.
   *
   * @param directory as for {@link #look}
   * @param file absolute and in its shortest form
   */
  static boolean names(Notification n, Look look, int directory, byte[] file) {
    byte[] name = lastName(file);
    if (look.rawLength < name.length
        || !starts(look.raw, look.rawLength - name.length, look.rawLength, name)) {
      return false;
    }
    byte[] whole = look.spare;
    int base = 0;
    if (look.raw[0] != '/') {
      base = readLink(n, directory < 0 ? Fcntl.AT_FDCWD : n.intArg(directory), whole);
      if (base <= 0) {
        return false;
      }
    }
    int length = normalize(look.raw, look.rawLength, whole, base, 0);
    return Arrays.equals(whole, 0, length, file, 0, file.length);
  }

  private static void put(Work w, int slot, byte[] text, int from, int length) {
    long at = (long) slot * SLOT_BYTES;
    MemorySegment.copy(text, from, w.substitute, JAVA_BYTE, at, length);
    w.substitute.set(JAVA_BYTE, at + length, (byte) 0);
  }

  /**
   * Decides about a path that is not to lead out of where it starts, or not over links or mounts.
   * What the device is to keep it in, the device must be given as a directory: its own root is
   * another one.
   */
  private Owner resolve(Notification n, Look look, int fd, long resolve) {
    boolean inRoot = (resolve & Fcntl.RESOLVE_IN_ROOT) != 0;
    boolean beneath = (resolve & Fcntl.RESOLVE_BENEATH) != 0;
    if (inRoot) {
      makeRelative(look);
    }
    if (look.rawLength == 0 || look.raw[0] == '/') {
      return decide(n, look, 0);
    }
    boolean leaves = PathSet.leaves(look.raw, look.rawLength);
    byte[] from = fd == Fcntl.AT_FDCWD ? n.process().deviceDirectory() : null;
    Placeholder p = fd == Fcntl.AT_FDCWD ? null : descriptors.lookup(n, fd);
    if (from == null && p == null) {
      return leaves && beneath ? Owner.HOST : resolveFromHost(n, look, fd, inRoot, beneath);
    }
    if (leaves && beneath) {
      look.errno = Errno.EXDEV;
      return Owner.WRONG;
    }
    if (p != null && (!leaves || inRoot)) {
      Owner owner = fromHandle(look, p, false);
      if (owner == Owner.DEVICE) {
        int length = normalize(look.raw, look.rawLength, look.text, 0, 0);
        System.arraycopy(look.text, 1, look.text, 0, length - 1);
        look.length = length - 1;
        if (look.length == 0) {
          look.text[look.length++] = '.';
        }
      }
      return owner;
    }
    if (from == null || (leaves && !inRoot)) {
      return decide(n, look, 0);
    }
    System.arraycopy(from, 0, look.text, 0, from.length);
    look.length = normalize(look.raw, look.rawLength, look.text, from.length, from.length);
    look.start = from.length;
    return Owner.DEVICE;
  }

  /** From a directory of the host, whose kernel keeps to it; below it may be some of the device. */
  private Owner resolveFromHost(
      Notification n, Look look, int fd, boolean inRoot, boolean beneath) {
    if (!set.mayLead(look.raw, look.rawLength)) {
      return Owner.HOST;
    }
    int base = readLink(n, fd, look.text);
    if (base <= 0) {
      return Owner.HOST;
    }
    int floor = inRoot ? base : 0;
    look.length = normalize(look.raw, look.rawLength, look.text, base, floor);
    Owner owner = classify(look);
    if (owner == Owner.DEVICE && (inRoot || beneath)) {
      look.start = set.match(look.text, bare(look.text, look.length));
    }
    return owner;
  }

  private static void makeRelative(Look look) {
    int slashes = 0;
    while (slashes < look.rawLength && look.raw[slashes] == '/') {
      slashes++;
    }
    if (slashes == look.rawLength && slashes > 0) {
      look.raw[--slashes] = '.';
    }
    look.rawLength -= slashes;
    System.arraycopy(look.raw, slashes, look.raw, 0, look.rawLength);
  }

  private Owner decide(Notification n, Look look, int directory) {
    boolean absolute = look.rawLength > 0 && look.raw[0] == '/';
    if (absolute) {
      look.length = normalize(look.raw, look.rawLength, look.text, 0, 0);
      return namesDescriptor(n, look) || namesProgram(look, n.process())
          ? Owner.DEVICE
          : classify(look);
    }
    int fd = directory < 0 ? Fcntl.AT_FDCWD : n.intArg(directory);
    if (fd == Fcntl.AT_FDCWD) {
      byte[] from = n.process().deviceDirectory();
      if (from != null) {
        return below(look, from);
      }
    } else {
      Placeholder p = descriptors.lookup(n, fd);
      if (p != null) {
        return fromHandle(look, p, true);
      }
    }
    if (look.rawLength == 0 || !set.mayLead(look.raw, look.rawLength)) {
      return Owner.HOST;
    }
    int base = readLink(n, fd, look.text);
    if (base <= 0) {
      return Owner.HOST;
    }
    look.length = normalize(look.raw, look.rawLength, look.text, base, 0);
    return classify(look);
  }

  /**
   * A path from a descriptor of the device.
   *
   * @param climbs whether the path's {@code ..} are to be taken back here
   */
  private Owner fromHandle(Look look, Placeholder p, boolean climbs) {
    OpenFile file = files.get(p.handle());
    byte[] from = file == null ? null : file.path();
    if (file == null || from == null) {
      return Owner.HOST; // a socket: no directory, which the placeholder says as well
    }
    if (climbs && PathSet.climbs(look.raw, look.rawLength)) {
      return below(look, from);
    }
    look.directory = p.handle();
    look.file = file;
    look.length = look.rawLength;
    System.arraycopy(look.raw, 0, look.text, 0, look.rawLength);
    return Owner.DEVICE;
  }

  /** A relative path from a directory of the device, which {@code ..} does not leave. */
  private Owner below(Look look, byte[] from) {
    if (look.rawLength == 0) {
      look.errno = Errno.ENOENT;
      return Owner.WRONG;
    }
    System.arraycopy(from, 0, look.text, 0, from.length);
    int floor = Math.max(0, set.match(from, from.length));
    look.length = normalize(look.raw, look.rawLength, look.text, from.length, floor);
    return Owner.DEVICE;
  }

  private Owner classify(Look look) {
    if (look.length > PROC.length) {
      ownNet(look);
    }
    return set.match(look.text, bare(look.text, look.length)) >= 0 ? Owner.DEVICE : Owner.HOST;
  }

  /**
   * {@code /proc/self/fd/N}, {@code /dev/fd/N} and the like, and what lies below, where N is a file
   * that was opened on the device: replaced by its path, since the host would open the placeholder.
   */
  private boolean namesDescriptor(Notification n, Look look) {
    if (!n.process().mayHoldDevice()) {
      return false;
    }
    int fd = -1;
    look.rest = look.length;
    for (int i = 0; i < STANDARD.length && fd < 0; i++) {
      boolean same = look.length == STANDARD[i].length;
      fd = same && starts(look.text, 0, look.length, STANDARD[i]) ? i : -1;
    }
    for (int i = 0; i < DESCRIPTORS.length && fd < 0; i++) {
      if (starts(look.text, 0, look.length, DESCRIPTORS[i])) {
        fd = number(look, DESCRIPTORS[i].length);
      }
    }
    if (fd < 0 && starts(look.text, 0, look.length, PROC)) {
      byte[] own = ("/proc/" + n.process().pid() + "/fd/").getBytes(StandardCharsets.US_ASCII);
      fd = starts(look.text, 0, look.length, own) ? number(look, own.length) : -1;
    }
    Placeholder p = fd < 0 ? null : descriptors.lookup(n, fd);
    OpenFile file = p == null ? null : files.get(p.handle());
    byte[] path = file == null ? null : file.path();
    if (path == null) {
      return false;
    }
    int below = look.length - look.rest;
    System.arraycopy(look.text, look.rest, look.text, path.length, below);
    System.arraycopy(path, 0, look.text, 0, path.length);
    look.length = path.length + below;
    look.byDescriptor = below == 0;
    return true;
  }

  /**
   * {@code /proc/self/exe} and the like of a process that executes a file of the device: replaced
   * by that file's path, since the host would find the copy that it executes.
   */
  private boolean namesProgram(Look look, ProcessEntry self) {
    int end = look.length - EXE.length;
    if (end < PROC.length
        || !starts(look.text, 0, look.length, PROC)
        || !starts(look.text, end, look.length, EXE)) {
      return false;
    }
    String of = new String(look.text, PROC.length, end - PROC.length, StandardCharsets.US_ASCII);
    ProcessEntry p =
        of.equals("self") || of.equals("thread-self")
            ? self
            : of.matches("[1-9][0-9]{0,6}") ? processes.process(Integer.parseInt(of)) : null;
    byte[] path = p == null ? null : p.deviceProgram();
    if (path == null) {
      return false;
    }
    System.arraycopy(path, 0, look.text, 0, path.length);
    look.length = path.length;
    look.byDescriptor = true;
    return true;
  }

  /** The number that the next name of the path is, or -1; {@link Look#rest} is behind it then. */
  private static int number(Look look, int from) {
    int end = from;
    int value = 0;
    while (end < look.length && end - from < 9 && look.text[end] >= '0' && look.text[end] <= '9') {
      value = value * 10 + look.text[end++] - '0';
    }
    if (end == from || (end < look.length && look.text[end] != '/')) {
      return -1;
    }
    look.rest = end;
    return value;
  }

  /**
   * The length without what says at the end that a directory is meant: a slash, or one and a dot.
   */
  static int bare(byte[] path, int length) {
    int n = length > 2 && path[length - 1] == '.' && path[length - 2] == '/' ? length - 1 : length;
    return n > 1 && path[n - 1] == '/' ? n - 1 : n;
  }

  /** {@code /proc/PID/net} and {@code /proc/PID/task/TID/net} of our own tree. */
  private void ownNet(Look look) {
    byte[] t = look.text;
    int at = PROC.length;
    if (!starts(t, 0, look.length, PROC) || at >= look.length) {
      return;
    }
    int end = at;
    int pid = 0;
    while (end < look.length && t[end] >= '0' && t[end] <= '9' && pid < 1 << 22) {
      pid = pid * 10 + t[end++] - '0';
    }
    if (end == at) {
      byte[] self = {'s', 'e', 'l', 'f'};
      if (!starts(t, at, look.length, self)) {
        return;
      }
      end = at + self.length;
      pid = -1;
    }
    int task = end;
    if (starts(t, end, look.length, TASK)) {
      end += TASK.length;
      while (end < look.length && t[end] >= '0' && t[end] <= '9') {
        end++;
      }
    }
    if (!starts(t, end, look.length, NET)
        || (end + NET.length < look.length && t[end + NET.length] != '/')
        || (pid == -1 && task == end)
        || (pid >= 0 && processes.process(pid) == null)) {
      return;
    }
    int rest = end + NET.length;
    byte[] whole = look.spare;
    System.arraycopy(OWN_NET, 0, whole, 0, OWN_NET.length);
    System.arraycopy(t, rest, whole, OWN_NET.length, look.length - rest);
    look.length = OWN_NET.length + look.length - rest;
    look.spare = t;
    look.text = whole;
  }

  private static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  private static boolean starts(byte[] text, int at, int length, byte[] with) {
    return at + with.length <= length
        && Arrays.equals(text, at, at + with.length, with, 0, with.length);
  }

  /**
   * Appends a path to {@code to[0..length)}, a directory's path without a slash at its end, name by
   * name; {@code ..} takes back the last name, but nothing below {@code floor}. A last {@code .}
   * stays behind a name: a directory that is called so cannot be removed, renamed or made.
   *
   * @return the length of the whole; "/" is 1
   */
  static int normalize(byte[] path, int pathLength, byte[] to, int length, int floor) {
    int out = length == 1 && to[0] == '/' ? 0 : length;
    int i = 0;
    boolean directory = false;
    boolean dot = false;
    while (i < pathLength) {
      if (path[i] == '/') {
        i++;
        directory = true;
        continue;
      }
      int end = i;
      while (end < pathLength && path[end] != '/') {
        end++;
      }
      int n = end - i;
      directory = true;
      dot = n == 1 && path[i] == '.';
      if (n == 2 && path[i] == '.' && path[i + 1] == '.') {
        while (out > floor && to[--out] != '/') {}
      } else if (!dot) {
        if (out + n + 3 > to.length) {
          return to.length; // longer than any path may be
        }
        to[out++] = '/';
        System.arraycopy(path, i, to, out, n);
        out += n;
        directory = false;
      }
      i = end;
    }
    boolean named = out > 0;
    if (directory || !named) {
      to[out++] = '/';
    }
    if (dot && named) {
      to[out++] = '.';
    }
    return out;
  }

  /** The path of a directory of the host that the caller has; its length or {@code -errno}. */
  private static int readLink(Notification n, int fd, byte[] to) {
    try (Arena a = Arena.ofConfined()) {
      String name = fd == Fcntl.AT_FDCWD ? "cwd" : "fd/" + fd;
      String of = n.process().tablesPerThread() ? "task/" + n.tid() + "/" + name : name;
      MemorySegment out = a.allocate(PATH_BYTES);
      long r =
          Linux.syscall(
              SyscallNumbers.READLINKAT,
              n.process().directory(),
              Linux.cString(a, of).address(),
              out.address(),
              PATH_BYTES,
              0,
              0);
      if (r > 0) {
        MemorySegment.copy(out, JAVA_BYTE, 0, to, 0, (int) r);
      }
      return (int) r;
    }
  }
}
