// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import java.net.Inet4Address;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Which network the device has: the value of {@code --net}.
 *
 * <pre>
 * tap:name=ob0,addr=10.77.0.2/24[,gw=10.77.0.1][,addr6=fd00:77::2/64][,gw6=fd00:77::1]
 *     [,mac=02:00:5e:00:53:01][,mtu=1500][,gso=262140|,offload=off]
 * macvtap:if=mv0,addr=...[,gw=...][,addr6=...][,gw6=...][,mtu=...][,gso=...|,offload=off]
 * packet:if=veth0,addr=...[,gw=...][,addr6=...][,gw6=...][,mac=...][,mtu=...][,gso=...]
 * xdp:if=veth0,addr=...[,gw=...][,addr6=...][,gw6=...][,mac=...][,mtu=...]
 * passt[:addr=10.0.2.15/24][,gw=10.0.2.2][,mac=...][,mtu=65520]
 * none
 * </pre>
 *
 * Values; any thread.
 */
public sealed interface NetSpec {
  int DEFAULT_TAP_MTU = 1500;

  /** What passt takes at most: 65535 less the Ethernet header, in whole words. */
  int MAX_PASST_MTU = 65520;

  int MAX_LINK_MTU = 65521;

  /** Linux begins with less than that. */
  int MIN_GSO = 65536;

  /** What the card announces at most; ADR 0028. */
  int MAX_GSO = 4 * 65535;

  /** Below it there is no IPv6, and hardly IPv4. */
  int MIN_MTU = 576;

  int MIN_MTU_IPV6 = 1280;

  /** No card; loopback only. */
  record None() implements NetSpec {}

  /** By what the frames of a {@link Link} are taken and sent. */
  enum Via {
    /** A TAP of the device's machine, made if it is not there. */
    TAP("tap", "name", "mac,gso,offload"),
    /** A macvtap that somebody made. */
    MACVTAP("macvtap", "if", "gso,offload"),
    /** A packet socket on an interface that is the device's from then on. */
    PACKET("packet", "if", "mac,gso"),
    /** An AF_XDP socket on such an interface. */
    XDP("xdp", "if", "mac");

    private final String word;
    private final String nameKey;
    private final String more;

    Via(String word, String nameKey, String more) {
      this.word = word;
      this.nameKey = nameKey;
      this.more = more;
    }

    private Set<String> keys() {
      Set<String> keys = new HashSet<>(Set.of("addr", "gw", "addr6", "gw6", "mtu", nameKey));
      keys.addAll(List.of(more.split(",", -1)));
      return keys;
    }

    /** As the user writes it. */
    @Override
    public String toString() {
      return word;
    }
  }

  /**
   * An interface of the device's machine, whose frames are the device's.
   *
   * @param via how
   * @param name of the interface
   * @param address the device's, IPv4 or IPv6
   * @param gateway on the same link: the machine's end of a TAP, else a router's, or null
   * @param address6 a second address, IPv6, if the first is IPv4
   * @param gateway6 the gateway for it, or null
   * @param mac of the card, or null for the one that the backend chooses
   * @param mtu of the card, and of both ends of a TAP; 0 for the interface's own
   * @param offload whether unfinished checksums and segments above the MTU may cross
   * @param gso bytes of the largest segment that the device makes, headers included; 0 for what
   *     Linux begins with, 64 KiB
   */
  record Link(
      Via via,
      String name,
      InterfaceAddress address,
      @Nullable InetAddress gateway,
      @Nullable InterfaceAddress address6,
      @Nullable InetAddress gateway6,
      @Nullable MacAddress mac,
      int mtu,
      boolean offload,
      int gso)
      implements NetSpec {}

  /**
   * A passt process: outgoing connections and published ports without privileges.
   *
   * @param address the device's, IPv4
   * @param gateway stands for the machine that passt runs on, its loopback included
   */
  record Passt(InterfaceAddress address, InetAddress gateway, @Nullable MacAddress mac, int mtu)
      implements NetSpec {}

  /** What {@code passt} without options gives. */
  static Passt defaultPasst() {
    return (Passt) parse("passt");
  }

  /**
   * Parses the value of {@code --net}.
   *
   * @throws IllegalArgumentException if it is not one; the message is one sentence for the user
   */
  static NetSpec parse(String text) {
    int colon = text.indexOf(':');
    String kind = colon < 0 ? text : text.substring(0, colon);
    String options = colon < 0 ? "" : text.substring(colon + 1);
    for (Via via : Via.values()) {
      if (kind.equals(via.word)) {
        return link(via, options(kind, options, via.keys()));
      }
    }
    return switch (kind) {
      case "passt" -> passt(options(kind, options, PASST_KEYS));
      case "none" -> {
        if (colon >= 0) {
          throw new IllegalArgumentException("--net none takes no options");
        }
        yield new None();
      }
      default ->
          throw new IllegalArgumentException(
              "--net "
                  + text
                  + ": unknown kind of network; use tap:..., macvtap:..., packet:..., xdp:...,"
                  + " passt or none");
    };
  }

  /** Keys of {@code passt}. */
  Set<String> PASST_KEYS = Set.of("addr", "gw", "mac", "mtu");

  private static Map<String, String> options(String kind, String text, Set<String> keys) {
    Map<String, String> found = new LinkedHashMap<>();
    if (text.isEmpty()) {
      return found;
    }
    for (String option : text.split(",", -1)) {
      int equals = option.indexOf('=');
      String key = equals < 0 ? option : option.substring(0, equals);
      if (!keys.contains(key)) {
        throw new IllegalArgumentException(
            "--net "
                + kind
                + ": unknown option '"
                + key
                + "'; there are "
                + String.join(", ", keys.stream().sorted().toList()));
      }
      if (equals < 0 || equals == option.length() - 1) {
        throw new IllegalArgumentException("--net " + kind + ": option '" + key + "' has no value");
      }
      if (found.put(key, option.substring(equals + 1)) != null) {
        throw new IllegalArgumentException("--net " + kind + ": option '" + key + "' comes twice");
      }
    }
    return found;
  }

  private static Link link(Via via, Map<String, String> options) {
    String name = options.get(via.nameKey);
    String addr = options.get("addr");
    if (name == null || addr == null) {
      throw new IllegalArgumentException(
          "--net "
              + via
              + ": "
              + via.nameKey
              + " and addr are needed, as in "
              + via
              + ":"
              + via.nameKey
              + "=ob0,addr=10.77.0.2/24");
    }
    // dev_valid_name() of net/core/dev.c
    if (name.getBytes(StandardCharsets.UTF_8).length > 15
        || name.equals(".")
        || name.equals("..")
        || name.chars().anyMatch(c -> c == '/' || c == ':' || c == '%' || c <= ' ' || c == 127)) {
      throw new IllegalArgumentException(
          via.nameKey
              + "="
              + name
              + ": an interface's name has 1 to 15 bytes without space, '/', ':' or '%'");
    }
    InterfaceAddress address = address("addr", addr);
    InetAddress gateway = gateway(via, "gw", options.get("gw"), address);
    InterfaceAddress address6 = null;
    InetAddress gateway6 = null;
    String addr6 = options.get("addr6");
    String gw6 = options.get("gw6");
    if (addr6 != null) {
      address6 = address("addr6", addr6);
      if (!(address6.address() instanceof Inet6Address)
          || !(address.address() instanceof Inet4Address)) {
        throw new IllegalArgumentException(
            "addr6=" + addr6 + ": addr6 is an IPv6 address beside an IPv4 one in addr");
      }
      gateway6 = gateway(via, "gw6", gw6, address6);
    } else if (gw6 != null) {
      throw new IllegalArgumentException("gw6=" + gw6 + ": gw6 needs addr6");
    }
    boolean ipv6 = address6 != null || address.address() instanceof Inet6Address;
    int preset = via == Via.TAP ? DEFAULT_TAP_MTU : 0;
    int mtu = mtu(options.get("mtu"), preset, ipv6 ? MIN_MTU_IPV6 : MIN_MTU, MAX_LINK_MTU);
    return new Link(
        via,
        name,
        address,
        gateway,
        address6,
        gateway6,
        mac(options.get("mac")),
        mtu,
        offload(options.getOrDefault("offload", "on")),
        gso(options));
  }

  private static int gso(Map<String, String> options) {
    String text = options.get("gso");
    if (text == null) {
      return 0;
    }
    if ("off".equals(options.get("offload"))) {
      throw new IllegalArgumentException(
          "gso=" + text + ": there are no segments with offload=off");
    }
    return number("gso", text, MIN_GSO, MAX_GSO);
  }

  /** The machine is the gateway behind a TAP; on other links there is one only if it is named. */
  private static @Nullable InetAddress gateway(
      Via via, String key, @Nullable String text, InterfaceAddress address) {
    return text == null && via != Via.TAP ? null : gateway(key, text, address);
  }

  private static boolean offload(String text) {
    return switch (text) {
      case "on" -> true;
      case "off" -> false;
      default -> throw new IllegalArgumentException("offload=" + text + ": use on or off");
    };
  }

  private static Passt passt(Map<String, String> options) {
    InterfaceAddress address = address("addr", options.getOrDefault("addr", "10.0.2.15/24"));
    if (!(address.address() instanceof Inet4Address)) {
      throw new IllegalArgumentException(
          "addr=" + options.get("addr") + ": passt takes an IPv4 address; IPv6 is set by itself");
    }
    String gw = options.get("gw");
    InetAddress gateway =
        gw == null && !address.address().equals(address.second())
            ? address.second()
            : gateway("gw", gw, address);
    int mtu = mtu(options.get("mtu"), MAX_PASST_MTU, MIN_MTU_IPV6, MAX_PASST_MTU);
    return new Passt(address, gateway, mac(options.get("mac")), mtu);
  }

  private static InterfaceAddress address(String key, String text) {
    InterfaceAddress address = InterfaceAddress.parse(key, text);
    InetAddress a = address.address();
    if (address.isReserved()
        || a.isLoopbackAddress()
        || a.isMulticastAddress()
        || a.isAnyLocalAddress()) {
      throw new IllegalArgumentException(
          key + "=" + text + ": not an address that an interface can have");
    }
    return address;
  }

  private static InetAddress gateway(String key, @Nullable String text, InterfaceAddress address) {
    InetAddress gateway = text == null ? address.first() : InterfaceAddress.parseAddress(key, text);
    if (gateway.equals(address.address())) {
      throw new IllegalArgumentException(
          text == null
              ? address
                  + ": the device's address is the first of its prefix, which is the host's"
                  + " end's; choose another or give "
                  + key
                  + "="
              : key + "=" + text + ": that is the device's own address");
    }
    if (!address.contains(gateway)
        || new InterfaceAddress(gateway, address.prefixBits()).isReserved()) {
      throw new IllegalArgumentException(
          key + "=" + gateway.getHostAddress() + ": not an address in " + address);
    }
    return gateway;
  }

  private static @Nullable MacAddress mac(@Nullable String text) {
    return text == null ? null : MacAddress.parse(text);
  }

  private static int mtu(@Nullable String text, int preset, int least, int most) {
    return text == null ? preset : number("mtu", text, least, most);
  }

  private static int number(String key, String text, int least, int most) {
    int number;
    try {
      number = Integer.parseInt(text);
    } catch (NumberFormatException e) {
      number = -1;
    }
    if (number < least || number > most) {
      throw new IllegalArgumentException(
          key + "=" + text + ": a number from " + least + " to " + most + " is needed");
    }
    return number;
  }
}
