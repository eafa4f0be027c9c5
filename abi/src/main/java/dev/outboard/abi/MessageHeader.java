// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * Offsets in {@code struct msghdr}, {@code struct iovec} and {@code struct cmsghdr} of 64-bit
 * machines.
 *
 * <p>Source: {@code include/linux/socket.h} (user_msghdr), {@code include/uapi/linux/uio.h}.
 */
public final class MessageHeader {
  public static final int NAME = 0;
  public static final int NAME_BYTES = 8;
  public static final int IOV = 16;
  public static final int IOV_COUNT = 24;
  public static final int CONTROL = 32;
  public static final int CONTROL_BYTES = 40;
  public static final int FLAGS = 48;
  public static final int BYTES = 56;

  /** Of {@code struct mmsghdr}: the result of one message. */
  public static final int MMSG_LEN = 56;

  public static final int MMSG_BYTES = 64;

  public static final int IOV_BASE = 0;
  public static final int IOV_LEN = 8;
  public static final int IOV_BYTES = 16;

  public static final int CMSG_LEN = 0;
  public static final int CMSG_LEVEL = 8;
  public static final int CMSG_TYPE = 12;
  public static final int CMSG_BYTES = 16;

  private MessageHeader() {}
}
