// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.channel.DevicePaths;
import dev.outboard.device.DeviceOptions;
import dev.outboard.device.Limits;
import dev.outboard.posix.Capabilities;
import dev.outboard.service.Confinement;
import dev.outboard.virtio.ExportSpec;
import dev.outboard.virtio.NetSpec;
import dev.outboard.virtio.PortMapping;
import dev.outboard.virtio.Resolver;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * What a device is to be like: the options that {@code device} takes, and that {@code run} takes
 * too for the device that it starts itself.
 *
 * @param hostKernel the kernel of the device's machine executes the calls, not the library kernel
 * @param net the network; null for the default
 * @param published ports of this machine that lead to the device
 * @param hostLoopback ports that lead from the device's 127.0.0.1 to this machine's
 * @param exports directories and images of the device's machine that programs see
 * @param dns name servers; empty for this machine's
 * @param paths patterns of paths that are the device's beside its exports
 * @param memoryBytes the library kernel's RAM
 */
record DeviceSettings(
    boolean hostKernel,
    @Nullable NetSpec net,
    List<PortMapping> published,
    List<Integer> hostLoopback,
    List<ExportSpec> exports,
    List<InetAddress> dns,
    List<String> paths,
    long memoryBytes,
    boolean bpf) {
  private static final long MEMORY_UNIT_BYTES = 4L << 20;
  private static final long MIN_MEMORY_BYTES = 32L << 20;
  private static final long MAX_MEMORY_BYTES = 64L << 30;

  private static final String KERNEL = "--kernel";
  private static final String NET = "--net";
  private static final String PUBLISH = "--publish";
  private static final String HOST_LOOPBACK = "--host-loopback";
  private static final String EXPORT = "--export";
  private static final String DISK = "--disk";
  private static final String DNS = "--dns";
  private static final String DEVICE_PATH = "--device-path";
  private static final String MEMORY = "--memory";
  private static final String BPF = "--bpf";

  /** The options themselves. */
  static final List<Option> OPTIONS =
      List.of(
          Option.single(
              KERNEL,
              "library|host",
              "What executes the calls: Linux built as a library (the default), or",
              "the kernel of the machine that the device runs on."),
          Option.single(
              NET,
              "SPEC",
              "The library kernel's network, one of",
              "passt        outgoing connections and DNS as this machine has them;",
              "             needs no root (the default)",
              "tap:name=NAME,addr=ADDR/BITS[,gw=ADDR][,mac=MAC][,mtu=BYTES]",
              "             an address of its own behind TAP interface NAME, which",
              "             is made if need be and gets the prefix's first address;",
              "             needs root; offload=off: no segments above the MTU;",
              "             gso=262140: segments of up to so many bytes",
              "macvtap:, packet: or xdp:if=NAME,addr=ADDR/BITS[,gw=ADDR][,mtu=BYTES]",
              "             an interface of this machine is the device's from then",
              "             on (docs/networks.md)",
              "none         loopback only"),
          Option.repeated(
              PUBLISH,
              'p',
              "[ADDR:]PORT:PORT",
              "Connections to the first port, this machine's, reach the second, the",
              "device's. /udp at the end publishes UDP."),
          Option.list(
              HOST_LOOPBACK,
              "PORT",
              "127.0.0.1 is the device's own; from there these ports reach this",
              "machine's 127.0.0.1."),
          Option.repeated(
              EXPORT,
              (char) 0,
              "DIR[:AT][:ro]",
              "Directory DIR of the device's machine is the device's at path AT (default:",
              "DIR): programs see it there, and what they send from it to a socket never",
              "crosses to the host. :ro lets them read only."),
          Option.repeated(
              DISK,
              (char) 0,
              "FILE[:AT][:ro]",
              "The same with an image of a file system: ext4, squashfs or erofs."),
          Option.list(
              DNS,
              "ADDR",
              "Name servers in place of this machine's, three at most. Programs then do",
              "not reach the host's services for names (nscd, systemd-resolved, avahi)."),
          Option.repeated(
              DEVICE_PATH,
              (char) 0,
              "GLOB",
              "Paths that match, and all below, are the device's, as the network's",
              "files always are: /proc/net, /proc/sys/net, /sys/class/net, /dev/net/tun.",
              "* and ? stand for a part of one name."),
          Option.single(
              BPF,
              "device|host",
              "Whose bpf(2) is: the library kernel's, for programs of sockets, tc and",
              "XDP, or the host's, for tracing (the default). A device that is there",
              "already must have been started with --bpf=device, too."),
          Option.single(
              MEMORY, "SIZE", "The library kernel's memory, such as 512M or 2G (default: 256M)."));

  /**
   * What was given.
   *
   * @throws Failure if it makes no sense
   */
  static DeviceSettings from(Arguments arguments, Syntax syntax) {
    try {
      String kernel = arguments.value(KERNEL);
      String net = arguments.value(NET);
      String memory = arguments.value(MEMORY);
      boolean hostKernel = kernel != null && isHost(kernel);
      boolean bpf = bpf(arguments);
      if (hostKernel && bpf) {
        throw new IllegalArgumentException(
            "--bpf=device is about the library kernel; with --kernel=host it would be the machine's"
                + " own kernel, and all who use it, that a program changes");
      }
      if (hostKernel) {
        for (String option : List.of(NET, PUBLISH, HOST_LOOPBACK, DISK, MEMORY)) {
          if (arguments.has(option)) {
            throw new IllegalArgumentException(
                option
                    + " is about the library kernel; with --kernel=host "
                    + (option.equals(DISK)
                        ? "mount the image on the machine and use --export"
                        : "the network is the machine's"));
          }
        }
      }
      return new DeviceSettings(
          hostKernel,
          net == null ? null : NetSpec.parse(net),
          arguments.all(PUBLISH).stream().map(PortMapping::parse).toList(),
          arguments.all(HOST_LOOPBACK).stream().map(DeviceSettings::port).toList(),
          exports(arguments),
          nameservers(arguments.all(DNS)),
          paths(arguments.all(DEVICE_PATH)),
          memory == null ? DeviceOptions.DEFAULT_MEMORY_BYTES : bytes(memory),
          bpf);
    } catch (IllegalArgumentException e) {
      throw syntax.usageError(String.valueOf(e.getMessage()));
    }
  }

  /** What words for an {@code outboard device} say, which are right. */
  static DeviceSettings of(List<String> words) {
    Syntax syntax = new Syntax("device", "", "", List.of(), OPTIONS, List.of());
    return from(syntax.parse(words), syntax);
  }

  /** What the process of such a device does that not all of them do. */
  Confinement.Needs needs() {
    List<Confinement.Place> places = new ArrayList<>();
    exports.forEach(e -> places.add(new Confinement.Place(e.source(), !e.readOnly())));
    if (net instanceof NetSpec.Link link) {
      switch (link.via()) {
        case TAP -> places.add(new Confinement.Place(Path.of("/dev/net/tun"), true));
        case MACVTAP ->
            Machine.firstLine("/sys/class/net/" + link.name() + "/ifindex")
                .ifPresent(
                    index -> places.add(new Confinement.Place(Path.of("/dev/tap" + index), true)));
        case PACKET, XDP -> {
          // Sockets.
        }
      }
    }
    return new Confinement.Needs(
        hostKernel,
        passt(),
        net instanceof NetSpec.Link link && link.via() == NetSpec.Via.XDP,
        hostKernel ? Capabilities.ALL : capabilities(),
        places);
  }

  private boolean passt() {
    return !hostKernel && (net == null || net instanceof NetSpec.Passt);
  }

  /** What the library kernel's process makes use of as root, from its first moment to its end. */
  private long capabilities() {
    long needed = 0;
    if (net instanceof NetSpec.Link link) {
      // To make, set up and give back an interface.
      needed |= Capabilities.NET_ADMIN;
      needed |=
          switch (link.via()) {
            case TAP, MACVTAP -> 0;
            case PACKET -> Capabilities.NET_RAW;
            // Its frames are memory that stays where it is.
            case XDP -> Capabilities.NET_RAW | Capabilities.BPF | Capabilities.IPC_LOCK;
          };
    }
    if (passt() || (exports.isEmpty() && needed == 0)) {
      // It becomes nobody by them, and passt does.
      needed |= Capabilities.SETUID | Capabilities.SETGID;
    }
    for (ExportSpec export : exports) {
      needed |= Capabilities.DAC_READ_SEARCH | Capabilities.FOWNER;
      if (!export.readOnly()) {
        needed |= Capabilities.DAC_OVERRIDE;
        // Files are made as the programs' users, and are what root makes of them.
        needed |=
            export.disk()
                ? 0
                : Capabilities.SETUID
                    | Capabilities.SETGID
                    | Capabilities.CHOWN
                    | Capabilities.FSETID
                    | Capabilities.MKNOD
                    | Capabilities.SETFCAP
                    | Capabilities.LINUX_IMMUTABLE;
      }
    }
    int free = firstFreePort();
    return published.stream().anyMatch(mapping -> mapping.outerPort() < free)
        ? needed | Capabilities.NET_BIND_SERVICE
        : needed;
  }

  /** The first port that anybody may listen at. */
  static int firstFreePort() {
    return Machine.firstLine("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .map(Integer::parseInt)
        .orElse(1024);
  }

  /** An option that cannot be had by two kernels at a time; null if none is such. */
  @Nullable String forOneKernelOnly() {
    if (net instanceof NetSpec.Link link) {
      return NET + "=" + link.via();
    }
    if (!published.isEmpty()) {
      return PUBLISH;
    }
    return exports.stream().anyMatch(e -> e.disk() && !e.readOnly()) ? DISK + " without :ro" : null;
  }

  /** A device with these settings, for so many programs; its logs go nowhere. */
  DeviceOptions.Builder options(Limits limits) {
    return DeviceOptions.builder()
        .hostKernel(hostKernel)
        .net(net)
        .publish(published)
        .hostLoopback(hostLoopback)
        .exports(exports)
        .nameservers(dns)
        .devicePaths(paths)
        .memoryBytes(memoryBytes)
        .bpf(bpf)
        .limits(limits);
  }

  /** The same options again, as words for another {@code outboard device}. */
  static List<String> words(Arguments arguments) {
    List<String> words = new ArrayList<>();
    for (Option option : OPTIONS) {
      for (String value : arguments.all(option.name())) {
        words.add(option.name() + "=" + value);
      }
    }
    return words;
  }

  /**
   * Whether {@code bpf(2)} is the device's.
   *
   * @throws IllegalArgumentException if the word is none
   */
  static boolean bpf(Arguments arguments) {
    String bpf = arguments.value(BPF);
    return switch (bpf == null ? "host" : bpf) {
      case "device" -> true;
      case "host" -> false;
      default -> throw new IllegalArgumentException("--bpf is device or host, not '" + bpf + "'");
    };
  }

  /** Whether a setting is the program's, too, and so may be given with a device that is there. */
  static boolean ofProgram(String word) {
    return word.startsWith(BPF + "=");
  }

  private static List<ExportSpec> exports(Arguments arguments) {
    List<ExportSpec> exports = new ArrayList<>();
    arguments.all(EXPORT).forEach(text -> exports.add(ExportSpec.directory(text)));
    arguments.all(DISK).forEach(text -> exports.add(ExportSpec.disk(text)));
    return exports;
  }

  private static boolean isHost(String kernel) {
    return switch (kernel) {
      case "host" -> true;
      case "library" -> false;
      default ->
          throw new IllegalArgumentException("--kernel is library or host, not '" + kernel + "'");
    };
  }

  private static int port(String text) {
    try {
      int port = Integer.parseInt(text);
      if (port > 0 && port < 65536) {
        return port;
      }
    } catch (NumberFormatException e) {
      // As wrong as a number out of range.
    }
    throw new IllegalArgumentException("--host-loopback: '" + text + "' is no port (1 to 65535)");
  }

  private static List<String> paths(List<String> given) {
    if (given.size() > DevicePaths.MAX_PATHS) {
      throw new IllegalArgumentException(
          "--device-path: more than " + DevicePaths.MAX_PATHS + " of them");
    }
    for (String path : given) {
      if (!DevicePaths.valid(path)) {
        throw new IllegalArgumentException(
            "--device-path: '" + path + "' is not an absolute path in its shortest form");
      }
    }
    return given;
  }

  private static List<InetAddress> nameservers(List<String> given) {
    if (given.size() > Resolver.MAX_SERVERS) {
      throw new IllegalArgumentException(
          "--dns: more than " + Resolver.MAX_SERVERS + ", of which a C library asks no other");
    }
    return given.stream().map(DeviceSettings::address).toList();
  }

  private static InetAddress address(String text) {
    try {
      // Only what looks like an address: anything else would be looked up.
      if (text.matches("[0-9.]+") || text.matches("[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")) {
        return InetAddress.getByName(text);
      }
    } catch (UnknownHostException e) {
      // As wrong as a name.
    }
    throw new IllegalArgumentException("--dns: '" + text + "' is no address");
  }

  /** {@code 512M} in bytes, rounded up to what the kernel takes. */
  static long bytes(String text) {
    long bytes = size(text);
    if (bytes < MIN_MEMORY_BYTES || bytes > MAX_MEMORY_BYTES) {
      throw new IllegalArgumentException("--memory: '" + text + "' is not a size from 32M to 64G");
    }
    return Math.ceilDiv(bytes, MEMORY_UNIT_BYTES) * MEMORY_UNIT_BYTES;
  }

  /** {@code 512M} in bytes; K, M, G are powers of 1024. Not positive if it is no size. */
  static long size(String text) {
    if (text.isEmpty()) {
      return 0;
    }
    String upper = text.toUpperCase(Locale.ROOT);
    int shift =
        switch (upper.charAt(upper.length() - 1)) {
          case 'K' -> 10;
          case 'M' -> 20;
          case 'G' -> 30;
          default -> 0;
        };
    String digits = shift == 0 ? upper : upper.substring(0, upper.length() - 1);
    try {
      return Math.multiplyExact(Long.parseLong(digits), 1L << shift);
    } catch (NumberFormatException | ArithmeticException e) {
      return 0;
    }
  }
}
