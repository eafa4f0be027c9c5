// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * Requests of {@code ioctl(2)} that sockets and files know.
 *
 * <p>Source: {@code include/uapi/asm-generic/ioctls.h}, {@code include/uapi/asm-generic/sockios.h},
 * {@code include/uapi/linux/sockios.h}.
 */
public final class Ioctl {
  public static final int FIONREAD = 0x541B;
  public static final int SIOCATMARK = 0x8905;
  public static final int FIONBIO = 0x5421;
  public static final int FIOASYNC = 0x5452;
  public static final int SIOCOUTQ = 0x5411;

  public static final int FIOSETOWN = 0x8901;
  public static final int SIOCSPGRP = 0x8902;
  public static final int FIOGETOWN = 0x8903;
  public static final int SIOCGPGRP = 0x8904;

  /** {@code include/uapi/linux/nsfs.h}: which CLONE_ flag makes such a namespace. */
  public static final int NS_GET_NSTYPE = 0xb703;

  public static final int FIBMAP = 1;
  public static final int FIGETBSZ = 2;
  public static final int FIOQSIZE = 0x5460;

  private Ioctl() {}
}
