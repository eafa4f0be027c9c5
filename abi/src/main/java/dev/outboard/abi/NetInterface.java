// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * Network interfaces: TAPs ({@code linux/if_tun.h}) and the ioctls that configure an interface
 * ({@code linux/sockios.h}, {@code linux/if.h}, {@code netdevice(7)}).
 */
public final class NetInterface {
  /** Bytes of an interface's name, the NUL at its end included. */
  public static final int IFNAMSIZ = 16;

  public static final int TUNGETIFF = 0x800454d2;
  public static final int TUNSETIFF = 0x400454ca;
  public static final int TUNSETOFFLOAD = 0x400454d0;
  public static final int TUNSETVNETHDRSZ = 0x400454d8;

  public static final int IFF_TAP = 0x0002;
  public static final int IFF_NO_PI = 0x1000;
  public static final int IFF_VNET_HDR = 0x4000;

  public static final int TUN_F_CSUM = 0x01;
  public static final int TUN_F_TSO4 = 0x02;
  public static final int TUN_F_TSO6 = 0x04;
  public static final int TUN_F_TSO_ECN = 0x08;

  /** Linux 6.2 and later; both or none. */
  public static final int TUN_F_USO4 = 0x20;

  public static final int TUN_F_USO6 = 0x40;

  public static final int SIOCGIFFLAGS = 0x8913;
  public static final int SIOCSIFFLAGS = 0x8914;
  public static final int SIOCGIFADDR = 0x8915;
  public static final int SIOCSIFADDR = 0x8916;
  public static final int SIOCGIFNETMASK = 0x891b;
  public static final int SIOCSIFNETMASK = 0x891c;
  public static final int SIOCGIFMTU = 0x8921;
  public static final int SIOCSIFMTU = 0x8922;
  public static final int SIOCGIFHWADDR = 0x8927;
  public static final int SIOCGIFINDEX = 0x8933;
  public static final int SIOCDIFADDR = 0x8936;

  public static final int IFF_UP = 1;

  /** Hardware type of Ethernet ({@code linux/if_arp.h}). */
  public static final int ARPHRD_ETHER = 1;

  /** {@code struct ifreq}: the name, then a union at {@link #IFREQ_UNION}. */
  public static final int IFREQ_BYTES = 40;

  public static final int IFREQ_UNION = 16;

  /** {@code struct in6_ifreq}: the address, u32 prefix length, int interface index. */
  public static final int IN6_IFREQ_BYTES = 24;

  public static final int IN6_IFREQ_PREFIX = 16;
  public static final int IN6_IFREQ_INDEX = 20;

  /**
   * A message that adds an address ({@code rtnetlink(7)}): {@code struct nlmsghdr}, {@code struct
   * ifaddrmsg}, and the attribute {@link #IFA_LOCAL} with the 16 bytes of one of IPv6.
   */
  public static final int NEW_ADDRESS_BYTES = 44;

  public static final int NEW_ADDRESS_FAMILY = 16;
  public static final int NEW_ADDRESS_PREFIX = 17;
  public static final int NEW_ADDRESS_FLAGS = 18;
  public static final int NEW_ADDRESS_INDEX = 20;
  public static final int NEW_ADDRESS_ATTRIBUTE = 24;
  public static final int NEW_ADDRESS = 28;

  public static final short RTM_NEWADDR = 20;
  public static final short IFA_LOCAL = 2;

  /** Not to be asked for on the link (RFC 4862): good at once. */
  public static final byte IFA_F_NODAD = 2;

  /** Of a request: {@code NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE}. */
  public static final short NETLINK_CREATE = 0x605;

  /** Where the answer to such a request, {@code NLMSG_ERROR}, has 0 or {@code -errno}. */
  public static final int NETLINK_ERROR = 16;

  private NetInterface() {}
}
