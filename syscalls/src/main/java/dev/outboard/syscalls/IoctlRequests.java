// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static dev.outboard.abi.Errno.EFAULT;
import static dev.outboard.abi.Errno.EINVAL;
import static dev.outboard.abi.Errno.ENOTTY;
import static dev.outboard.abi.Errno.EOPNOTSUPP;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The sub-table of ioctl requests: one line per request that crosses to the device. A request
 * without a line answers ENOTTY: its argument may hold a pointer, which the device's kernel would
 * follow in the device's memory.
 *
 * <p>Source: {@code include/uapi/linux/sockios.h}, {@code include/uapi/asm-generic/ioctls.h},
 * {@code include/uapi/linux/fs.h} and, for what each reads and writes, {@code net/socket.c}, {@code
 * net/core/dev_ioctl.c} and {@code fs/ioctl.c}.
 *
 * <p>Immutable; all methods may be called by any thread and allocate nothing.
 */
public final class IoctlRequests {
  /** The form of a request's argument. */
  public enum Form {
    /** No pointer but a number. */
    VALUE,
    /** A structure without pointers that the kernel reads. */
    IN,
    /** A structure without pointers that the kernel writes. */
    OUT,
    /** A structure without pointers that the kernel reads and writes. */
    INOUT,
    /** {@code struct ifconf}: a pointer to an array that the kernel writes. */
    IFCONF,
    /** {@code struct ifreq} with a pointer to an ethtool command. */
    ETHTOOL,
    /** {@code struct ifreq} with a pointer to a {@code struct hwtstamp_config}. */
    HWTSTAMP,
    /** {@code struct rtentry} with a pointer to a device's name, or {@code struct in6_rtmsg}. */
    ROUTE,
    /** {@code struct fiemap}: as many extents behind it as it says. */
    FIEMAP,
    /** A descriptor, or a structure that begins with one: its handle is in {@link #HANDLE}. */
    DESCRIPTOR,
    /** Refused. */
    REFUSED
  }

  /**
   * One request.
   *
   * @param number the request
   * @param name its name
   * @param form the form of its argument
   * @param bytes the size of the structure
   * @param least how much of it must be there: less where IPv6 has a shorter structure
   * @param errno what a refused request answers, else 0
   * @param ofNetwork it is about the network and not the socket, which may be of any family
   * @param note what is peculiar; may be empty
   */
  public record Request(
      int number,
      String name,
      Form form,
      int bytes,
      int least,
      int errno,
      boolean ofNetwork,
      String note) {}

  private static final List<Request> ROWS;
  private static final int[] KEYS;

  static {
    Builder t = new Builder();
    sockets(t);
    interfaces(t);
    tunnels(t);
    files(t);
    t.requests.sort(Comparator.comparingInt(Request::number));
    ROWS = List.copyOf(t.requests);
    KEYS = ROWS.stream().mapToInt(Request::number).toArray();
  }

  private IoctlRequests() {}

  /** All requests, by number. */
  public static List<Request> rows() {
    return ROWS;
  }

  /** The line of a request, or null. */
  public static @Nullable Request find(int number) {
    int i = Arrays.binarySearch(KEYS, number);
    return i < 0 ? null : ROWS.get(i);
  }

  // spotless:off

  private static void sockets(Builder t) {
    t.out  (    0x541B, "FIONREAD", 4);
    t.out  (    0x5411, "SIOCOUTQ", 4);
    t.in   (    0x5421, "FIONBIO", 4).note("on both kernels");
    t.out  (    0x8905, "SIOCATMARK", 4);
    t.out  (    0x8906, "SIOCGSTAMP", 16);
    t.out  (    0x8907, "SIOCGSTAMPNS", 16);
    t.out  (0x80108906, "SIOCGSTAMP_NEW", 16);
    t.out  (0x80108907, "SIOCGSTAMPNS_NEW", 16);
    t.out  (    0x894B, "SIOCOUTQNSD", 4);
    t.refuse(   0x894C, "SIOCGSKNS", EOPNOTSUPP, "its descriptor would be the device's");
  }

  private static void interfaces(Builder t) {
    t.ofNetwork = true;
    t.route(    0x890B, "SIOCADDRT");
    t.route(    0x890C, "SIOCDELRT");
    t.get  (    0x8910, "SIOCGIFNAME");
    t.set  (    0x8911, "SIOCSIFLINK");
    t.add  (    0x8912, "SIOCGIFCONF", Form.IFCONF, 16);
    t.get  (    0x8913, "SIOCGIFFLAGS");
    t.set  (    0x8914, "SIOCSIFFLAGS");
    t.get  (    0x8915, "SIOCGIFADDR");
    t.set  (    0x8916, "SIOCSIFADDR").least(24);
    t.get  (    0x8917, "SIOCGIFDSTADDR");
    t.set  (    0x8918, "SIOCSIFDSTADDR").least(24);
    t.get  (    0x8919, "SIOCGIFBRDADDR");
    t.set  (    0x891a, "SIOCSIFBRDADDR");
    t.get  (    0x891b, "SIOCGIFNETMASK");
    t.set  (    0x891c, "SIOCSIFNETMASK");
    t.get  (    0x891d, "SIOCGIFMETRIC");
    t.set  (    0x891e, "SIOCSIFMETRIC");
    t.get  (    0x891f, "SIOCGIFMEM");
    t.set  (    0x8920, "SIOCSIFMEM");
    t.get  (    0x8921, "SIOCGIFMTU");
    t.set  (    0x8922, "SIOCSIFMTU");
    t.set  (    0x8923, "SIOCSIFNAME");
    t.set  (    0x8924, "SIOCSIFHWADDR");
    t.get  (    0x8925, "SIOCGIFENCAP");
    t.set  (    0x8926, "SIOCSIFENCAP");
    t.get  (    0x8927, "SIOCGIFHWADDR");
    t.get  (    0x8929, "SIOCGIFSLAVE");
    t.set  (    0x8930, "SIOCSIFSLAVE");
    t.set  (    0x8931, "SIOCADDMULTI");
    t.set  (    0x8932, "SIOCDELMULTI");
    t.get  (    0x8933, "SIOCGIFINDEX");
    t.set  (    0x8934, "SIOCSIFPFLAGS");
    t.get  (    0x8935, "SIOCGIFPFLAGS");
    t.set  (    0x8936, "SIOCDIFADDR").least(24);
    t.set  (    0x8937, "SIOCSIFHWBROADCAST");
    t.get  (    0x8942, "SIOCGIFTXQLEN");
    t.set  (    0x8943, "SIOCSIFTXQLEN");
    t.add  (    0x8946, "SIOCETHTOOL", Form.ETHTOOL, 40).note("commands of a bounded length; others answer EOPNOTSUPP");
    t.get  (    0x8947, "SIOCGMIIPHY");
    t.get  (    0x8948, "SIOCGMIIREG");
    t.set  (    0x8949, "SIOCSMIIREG");
    t.in   (    0x8953, "SIOCDARP", 68);
    t.inout(    0x8954, "SIOCGARP", 68);
    t.in   (    0x8955, "SIOCSARP", 68);
    t.get  (    0x8970, "SIOCGIFMAP");
    t.set  (    0x8971, "SIOCSIFMAP");
    t.inout(    0x8982, "SIOCGIFVLAN", 56);
    t.inout(    0x8983, "SIOCSIFVLAN", 56);
    t.set  (    0x8990, "SIOCBONDENSLAVE");
    t.set  (    0x8991, "SIOCBONDRELEASE");
    t.set  (    0x8992, "SIOCBONDSETHWADDR");
    t.set  (    0x8995, "SIOCBONDCHANGEACTIVE");
    t.in   (    0x89a0, "SIOCBRADDBR", 16);
    t.in   (    0x89a1, "SIOCBRDELBR", 16);
    t.set  (    0x89a2, "SIOCBRADDIF");
    t.set  (    0x89a3, "SIOCBRDELIF");
    t.add  (    0x89b0, "SIOCSHWTSTAMP", Form.HWTSTAMP, 40);
    t.add  (    0x89b1, "SIOCGHWTSTAMP", Form.HWTSTAMP, 40);
  }

  /** {@code include/uapi/linux/if_tun.h}; {@code drivers/net/tun.c}, whatever a number says. */
  private static void tunnels(Builder t) {
    t.inout(0x400454ca, "TUNSETIFF", 40);
    t.value(0x400454cb, "TUNSETPERSIST");
    t.value(0x400454cc, "TUNSETOWNER");
    t.value(0x400454cd, "TUNSETLINK");
    t.value(0x400454ce, "TUNSETGROUP");
    t.out  (0x800454cf, "TUNGETFEATURES", 4);
    t.value(0x400454d0, "TUNSETOFFLOAD");
    t.out  (0x800454d2, "TUNGETIFF", 40);
    t.out  (0x800454d3, "TUNGETSNDBUF", 4);
    t.in   (0x400454d4, "TUNSETSNDBUF", 4);
    t.out  (0x800454d7, "TUNGETVNETHDRSZ", 4);
    t.in   (0x400454d8, "TUNSETVNETHDRSZ", 4);
    t.in   (0x400454d9, "TUNSETQUEUE", 40);
  }

  /**
   * {@code include/uapi/linux/fs.h fiemap.h falloc.h}; {@code fs/ioctl.c}, {@code fs/ext4/ioctl.c}.
   * Where a number says {@code long}, an int crosses: that is what the kernel reads and writes.
   */
  private static void files(Builder t) {
    t.ofNetwork = false;
    t.inout(0x00000001, "FIBMAP", 4);
    t.out  (0x00000002, "FIGETBSZ", 4);
    t.out  (0x00005460, "FIOQSIZE", 8);
    t.out  (0x80086601, "FS_IOC_GETFLAGS", 4);
    t.in   (0x40086602, "FS_IOC_SETFLAGS", 4);
    t.out  (0x80087601, "FS_IOC_GETVERSION", 4);
    t.in   (0x40087602, "FS_IOC_SETVERSION", 4);
    t.out  (0x801c581f, "FS_IOC_FSGETXATTR", 28);
    t.in   (0x401c5820, "FS_IOC_FSSETXATTR", 28);
    t.out  (0x81009431, "FS_IOC_GETFSLABEL", 256);
    t.in   (0x41009432, "FS_IOC_SETFSLABEL", 256);
    t.out  (0x80111500, "FS_IOC_GETFSUUID", 17);
    t.out  (0x80811501, "FS_IOC_GETFSSYSFSPATH", 129);
    t.add  (0xc020660b, "FS_IOC_FIEMAP", Form.FIEMAP, 32).note("at most 36 extents at a time: the last of them says whether there are more");
    t.in   (0x40305828, "FS_IOC_RESVSP", 48);
    t.in   (0x40305829, "FS_IOC_UNRESVSP", 48);
    t.in   (0x4030582a, "FS_IOC_RESVSP64", 48);
    t.in   (0x4030582b, "FS_IOC_UNRESVSP64", 48);
    t.in   (0x40305839, "FS_IOC_ZERO_RANGE", 48);
    t.inout(0xc0185879, "FITRIM", 24);
    t.add  (0x40049409, "FICLONE", Form.DESCRIPTOR, 0).note("from a file of the host EXDEV");
    t.add  (0x4020940d, "FICLONERANGE", Form.DESCRIPTOR, 32).note("from a file of the host EXDEV");
    t.refuse(0xc0189436, "FIDEDUPERANGE", EOPNOTSUPP, "names descriptors in an array");
    t.refuse(0xc0045877, "FIFREEZE", EOPNOTSUPP, "would stop all who share the file system");
    t.refuse(0xc0045878, "FITHAW", EINVAL, "nothing is frozen");
  }

  // spotless:on

  // Slots of Call.saved.
  private static final int POINTED = 0;
  private static final int POINTED_BYTES = 1;

  // Arguments of ioctl.
  private static final int REQUEST = 1;
  private static final int ARGUMENT = 2;

  /** In ifreq: the pointer, and behind it, on the wire alone, how many bytes it points to. */
  static final int IFR_DATA = 16;

  static final int IFR_DATA_BYTES = 24;
  static final int IFREQ_BYTES = 40;

  static final int IFC_LENGTH = 0;
  static final int IFC_BUFFER = 8;
  static final int IFCONF_BYTES = 16;

  /** Room for the addresses of some 1,600 interfaces. */
  static final int IFCONF_ROOM = 64 * 1024;

  static final int ROUTE_BYTES = 120;
  static final int ROUTE6_BYTES = 80;
  static final int ROUTE_DEVICE = 88;

  /** The kernel reads so many bytes of a route's device name, whatever its length. */
  static final int ROUTE_NAME_BYTES = 15;

  static final int HWTSTAMP_BYTES = 12;

  static final int FIEMAP_FLAGS = 16;
  static final int FIEMAP_MAPPED = 20;
  static final int FIEMAP_COUNT = 24;
  static final int FIEMAP_BYTES = 32;
  static final int FIEMAP_EXTENT_BYTES = 56;

  /** So many fit in what the device keeps where no host can change it. */
  static final int FIEMAP_EXTENTS =
      (DeviceMarshaller.NESTED_BYTES - FIEMAP_BYTES) / FIEMAP_EXTENT_BYTES;

  private static final int FIEMAP_MAX_EXTENTS = Integer.divideUnsigned(-1, FIEMAP_EXTENT_BYTES) - 1;

  static final int CLONE_SOURCE = 0;

  /**
   * Of a request with a descriptor in its argument: which of the call's arguments is its handle. No
   * kernel has one there.
   */
  public static final int HANDLE = 3;

  /** In a pointer's place: what the program's pointer faults on. Only some kernels look at it. */
  static final long FAULT = -2;

  private static final long NESTED_AT = 128;

  /** 0 or more, or what to answer. */
  static long encode(long[] a, ProgramMemory m, Call out) {
    Request r = find((int) a[REQUEST]);
    if (r == null) {
      return -ENOTTY;
    }
    out.args[REQUEST] = r.number();
    out.args[ARGUMENT] = 0;
    return switch (r.form()) {
      case REFUSED -> -r.errno();
      case VALUE -> {
        out.args[ARGUMENT] = a[ARGUMENT];
        yield 0;
      }
      case OUT -> r.bytes();
      case IN, INOUT -> readStructure(r, a[ARGUMENT], m, out);
      case IFCONF -> encodeConfiguration(a[ARGUMENT], m, out);
      case ETHTOOL -> encodeEthtool(a[ARGUMENT], m, out);
      case HWTSTAMP -> encodeTimestamping(a[ARGUMENT], m, out);
      case ROUTE -> encodeRoute(a[ARGUMENT], m, out);
      case FIEMAP -> encodeExtents(a[ARGUMENT], m, out);
      case DESCRIPTOR -> {
        out.args[HANDLE] = Call.NULL;
        yield r.bytes() == 0 ? 0 : readStructure(r, a[ARGUMENT], m, out);
      }
    };
  }

  /** Whether a request has a descriptor in its argument. */
  public static boolean namesDescriptor(int number) {
    Request r = find(number);
    return r != null && r.form() == Form.DESCRIPTOR;
  }

  /**
   * The descriptor in the argument of such a request, as the program sees it.
   *
   * @param a the six arguments as the program passed them
   * @param scratch where its structure may be put
   * @return a number, which may be none of an open file; or {@code -EFAULT} below {@code -1}
   */
  public static long descriptor(long[] a, ProgramMemory m, MemorySegment scratch) {
    Request r = find((int) a[REQUEST]);
    if (r == null || r.bytes() == 0) {
      return Math.max(-1, (int) a[ARGUMENT]);
    }
    long error = m.read(a[ARGUMENT], scratch, 0, Long.BYTES);
    return error < 0 ? error : Math.max(-1, (int) scratch.get(Wire.LONG, CLONE_SOURCE));
  }

  /** Back to the program; 0 or more, or what to answer. */
  static long decode(long[] a, Call done, ProgramMemory m) {
    Request r = find((int) a[REQUEST]);
    if (r == null) {
      return -ENOTTY;
    }
    return switch (r.form()) {
      case VALUE, IN, ROUTE, DESCRIPTOR, REFUSED -> 0;
      case OUT, INOUT -> m.write(a[ARGUMENT], done.data, 0, r.bytes());
      case IFCONF -> decodeConfiguration(a[ARGUMENT], done, m);
      case FIEMAP -> decodeExtents(a[ARGUMENT], done, m);
      case ETHTOOL, HWTSTAMP ->
          done.saved[POINTED_BYTES] == 0
              ? 0
              : m.write(done.saved[POINTED], done.data, NESTED_AT, done.saved[POINTED_BYTES]);
    };
  }

  private static long readStructure(Request r, long address, ProgramMemory m, Call out) {
    long error = m.read(address, out.data, 0, r.bytes());
    if (error < 0 && r.least() < r.bytes()) {
      out.data.asSlice(0, r.bytes()).fill((byte) 0);
      error = m.read(address, out.data, 0, r.least());
    }
    return error < 0 ? error : r.bytes();
  }

  private static long encodeConfiguration(long address, ProgramMemory m, Call out) {
    MemorySegment s = out.staging;
    long error = m.read(address, s, 0, IFCONF_BYTES);
    if (error < 0) {
      return error;
    }
    long buffer = s.get(Wire.LONG, IFC_BUFFER);
    int room = HostMarshaller.clamp(s.get(Wire.INT, IFC_LENGTH), IFCONF_ROOM);
    out.data.set(Wire.LONG, IFC_LENGTH, room);
    out.data.set(Wire.LONG, IFC_BUFFER, buffer == 0 ? Call.NULL : NESTED_AT);
    out.saved[POINTED] = buffer;
    out.saved[POINTED_BYTES] = room;
    return NESTED_AT + room;
  }

  private static long decodeConfiguration(long address, Call done, ProgramMemory m) {
    long buffer = done.saved[POINTED];
    int length = Math.max(0, done.data.get(Wire.INT, IFC_LENGTH));
    if (buffer != 0) {
      length = Math.min(length, (int) done.saved[POINTED_BYTES]);
      long error = length == 0 ? 0 : m.write(buffer, done.data, NESTED_AT, length);
      if (error < 0) {
        return error;
      }
    }
    done.staging.set(Wire.INT, 0, length);
    return m.write(address + IFC_LENGTH, done.staging, 0, Integer.BYTES);
  }

  private static long encodeEthtool(long address, ProgramMemory m, Call out) {
    MemorySegment s = out.staging;
    long error = m.read(address, s, 0, IFREQ_BYTES);
    if (error < 0) {
      return error;
    }
    long command = s.get(Wire.LONG, IFR_DATA);
    error = m.read(command, s, NESTED_AT, Integer.BYTES);
    if (error < 0) {
      return error;
    }
    int number = s.get(Wire.INT, NESTED_AT);
    error = m.read(command, s, NESTED_AT, EthtoolCommands.headBytes(number));
    if (error < 0) {
      return error;
    }
    s.set(Wire.INT, NESTED_AT, number); // whatever another thread of the program has written since
    int bytes = EthtoolCommands.bytes(s, NESTED_AT);
    if (bytes < 0) {
      return -EOPNOTSUPP;
    }
    error = m.read(command, out.data, NESTED_AT, bytes);
    if (error < 0) {
      return error;
    }
    // The head that the length follows from.
    MemorySegment.copy(
        s, NESTED_AT, out.data, NESTED_AT, Math.min(bytes, EthtoolCommands.headBytes(number)));
    putNested(out, command, bytes, EthtoolCommands.answers(number));
    return NESTED_AT + bytes;
  }

  private static long encodeTimestamping(long address, ProgramMemory m, Call out) {
    long error = m.read(address, out.staging, 0, IFREQ_BYTES);
    if (error < 0) {
      return error;
    }
    long config = out.staging.get(Wire.LONG, IFR_DATA);
    error = m.read(config, out.data, NESTED_AT, HWTSTAMP_BYTES);
    if (error < 0) {
      return error;
    }
    putNested(out, config, HWTSTAMP_BYTES, true);
    return NESTED_AT + HWTSTAMP_BYTES;
  }

  /** The ifreq in the staging memory goes out, pointing to what lies at NESTED_AT. */
  private static void putNested(Call out, long pointed, int bytes, boolean back) {
    MemorySegment.copy(out.staging, 0, out.data, 0, IFREQ_BYTES);
    out.data.set(Wire.LONG, IFR_DATA, NESTED_AT);
    out.data.set(Wire.LONG, IFR_DATA_BYTES, bytes);
    out.saved[POINTED] = pointed;
    out.saved[POINTED_BYTES] = back ? bytes : 0;
  }

  private static long encodeRoute(long address, ProgramMemory m, Call out) {
    MemorySegment s = out.staging;
    s.asSlice(0, ROUTE_BYTES).fill((byte) 0);
    long error = m.read(address, s, 0, ROUTE_BYTES);
    if (error < 0) {
      error = m.read(address, s, 0, ROUTE6_BYTES);
      if (error < 0) {
        return error;
      }
      s.set(Wire.LONG, ROUTE_DEVICE, FAULT); // an rtentry is not all there, an in6_rtmsg is
    }
    long device = s.get(Wire.LONG, ROUTE_DEVICE);
    long place = Call.NULL;
    if (device != 0) {
      // On an IPv6 socket these bytes are beyond the structure and mean nothing.
      error = m.read(device, out.data, NESTED_AT, ROUTE_NAME_BYTES);
      place = error == -EFAULT ? FAULT : NESTED_AT;
    }
    MemorySegment.copy(s, 0, out.data, 0, ROUTE_BYTES);
    out.data.set(Wire.LONG, ROUTE_DEVICE, place);
    return NESTED_AT + ROUTE_NAME_BYTES;
  }

  private static long encodeExtents(long address, ProgramMemory m, Call out) {
    long error = m.read(address, out.data, 0, FIEMAP_BYTES);
    if (error < 0) {
      return error;
    }
    int count = out.data.get(Wire.INT, FIEMAP_COUNT);
    if (Integer.compareUnsigned(count, FIEMAP_MAX_EXTENTS) > 0) {
      return -EINVAL;
    }
    int crosses = Math.min(count, FIEMAP_EXTENTS);
    out.data.set(Wire.INT, FIEMAP_COUNT, crosses);
    out.saved[POINTED_BYTES] = crosses;
    return FIEMAP_BYTES + (long) crosses * FIEMAP_EXTENT_BYTES;
  }

  private static long decodeExtents(long address, Call done, ProgramMemory m) {
    MemorySegment s = done.staging;
    MemorySegment.copy(done.data, FIEMAP_FLAGS, s, 0, FIEMAP_COUNT - FIEMAP_FLAGS);
    long room = done.saved[POINTED_BYTES];
    long written = HostMarshaller.clamp(s.get(Wire.INT, FIEMAP_MAPPED - FIEMAP_FLAGS), room);
    long error =
        written == 0
            ? 0
            : m.write(
                address + FIEMAP_BYTES, done.data, FIEMAP_BYTES, written * FIEMAP_EXTENT_BYTES);
    return error < 0 ? error : m.write(address + FIEMAP_FLAGS, s, 0, FIEMAP_COUNT - FIEMAP_FLAGS);
  }

  /** Collects requests; lives while the class is initialised. */
  private static final class Builder {
    private final List<Request> requests = new ArrayList<>(128);
    private boolean ofNetwork;

    Builder add(int number, String name, Form form, int bytes) {
      requests.add(new Request(number, name, form, bytes, bytes, 0, ofNetwork, ""));
      return this;
    }

    void value(int number, String name) {
      add(number, name, Form.VALUE, 0);
    }

    Builder in(int number, String name, int bytes) {
      return add(number, name, Form.IN, bytes);
    }

    void out(int number, String name, int bytes) {
      add(number, name, Form.OUT, bytes);
    }

    void inout(int number, String name, int bytes) {
      add(number, name, Form.INOUT, bytes);
    }

    /** Asks about an interface: ifreq. */
    void get(int number, String name) {
      add(number, name, Form.INOUT, IFREQ_BYTES);
    }

    /** Changes an interface: ifreq. */
    Builder set(int number, String name) {
      return add(number, name, Form.IN, IFREQ_BYTES);
    }

    void route(int number, String name) {
      add(number, name, Form.ROUTE, ROUTE_BYTES);
    }

    void refuse(int number, String name, int errno, String why) {
      requests.add(new Request(number, name, Form.REFUSED, 0, 0, errno, ofNetwork, why));
    }

    /** On an IPv6 socket the structure is shorter: {@code struct in6_ifreq}. */
    void least(int bytes) {
      Request r = requests.removeLast();
      requests.add(
          new Request(
              r.number(),
              r.name(),
              r.form(),
              r.bytes(),
              bytes,
              r.errno(),
              r.ofNetwork(),
              r.note()));
    }

    void note(String text) {
      Request r = requests.removeLast();
      requests.add(
          new Request(
              r.number(),
              r.name(),
              r.form(),
              r.bytes(),
              r.least(),
              r.errno(),
              r.ofNetwork(),
              text));
    }
  }
}
