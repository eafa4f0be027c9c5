// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.function.IntUnaryOperator;

/**
 * Where route netlink names programs of BPF by descriptors: in filters and actions of kind {@code
 * bpf}, and in what an interface is to do with XDP. These attributes and no others are changed; a
 * message that is not well formed stays as it is, for the kernel to judge.
 *
 * <p>Source: {@code include/uapi/linux} of Linux 6.12: {@code netlink.h rtnetlink.h pkt_cls.h
 * pkt_sched.h if_link.h tc_act/tc_bpf.h}.
 */
public final class BpfNetlink {
  private static final int HEADER_BYTES = 16;
  private static final int ATTRIBUTE_BYTES = 4;

  /** Without the bits that say nested, or in the network's order. */
  private static final int TYPE_MASK = 0x3fff;

  private static final int NEW_LINK = 16;
  private static final int SET_LINK = 19;
  private static final int NEW_FILTER = 44;
  private static final int NEW_ACTION = 48;

  private static final int IFINFO_BYTES = 16;
  private static final int TCMSG_BYTES = 20;
  private static final int TCAMSG_BYTES = 4;

  private static final int IFLA_XDP = 43;
  private static final int IFLA_XDP_FD = 1;
  private static final int IFLA_XDP_EXPECTED_FD = 8;

  // Of filters and of actions alike.
  private static final int KIND = 1;
  private static final int OPTIONS = 2;

  private static final int ACTION_TABLE = 1;
  private static final int ACTION_FD = 5;
  private static final int FILTER_FD = 6;

  private BpfNetlink() {}

  /**
   * Changes the messages in {@code data}.
   *
   * @param files the handle of a descriptor
   */
  public static void translate(MemorySegment data, IntUnaryOperator files) {
    long at = 0;
    while (data.byteSize() - at >= HEADER_BYTES) {
      long length = Integer.toUnsignedLong(data.get(Wire.INT, at));
      if (length < HEADER_BYTES || length > data.byteSize() - at) {
        return;
      }
      int type = Short.toUnsignedInt(data.get(Wire.SHORT, at + 4));
      message(type, data.asSlice(at + HEADER_BYTES, length - HEADER_BYTES), files);
      at += (length + 3) & ~3L;
    }
  }

  private static void message(int type, MemorySegment body, IntUnaryOperator files) {
    switch (type) {
      case NEW_LINK, SET_LINK -> {
        MemorySegment xdp = find(after(body, IFINFO_BYTES), IFLA_XDP);
        number(xdp, IFLA_XDP_FD, files);
        number(xdp, IFLA_XDP_EXPECTED_FD, files);
      }
      case NEW_FILTER -> {
        MemorySegment attributes = after(body, TCMSG_BYTES);
        String kind = kind(attributes);
        MemorySegment options = find(attributes, OPTIONS);
        if (kind.equals("bpf")) {
          number(options, FILTER_FD, files);
        }
        int actions =
            switch (kind) {
              case "bpf" -> 1;
              case "matchall" -> 2;
              case "flower", "basic" -> 3;
              case "fw" -> 4;
              case "u32" -> 7;
              default -> -1;
            };
        if (actions > 0) {
          actions(find(options, actions), files);
        }
      }
      case NEW_ACTION -> actions(find(after(body, TCAMSG_BYTES), ACTION_TABLE), files);
      default -> {}
    }
  }

  /** Actions lie in a list, each an attribute whose type is its place. */
  private static void actions(MemorySegment list, IntUnaryOperator files) {
    for (long at = 0; fits(list, at); at = next(list, at)) {
      MemorySegment action = value(list, at);
      if (kind(action).equals("bpf")) {
        number(find(action, OPTIONS), ACTION_FD, files);
      }
    }
  }

  private static String kind(MemorySegment attributes) {
    MemorySegment name = find(attributes, KIND);
    byte[] bytes = name.asSlice(0, Math.min(name.byteSize(), 16)).toArray(Wire.BYTE);
    String text = new String(bytes, StandardCharsets.ISO_8859_1);
    int end = text.indexOf(0);
    return end < 0 ? text : text.substring(0, end);
  }

  /** Negative numbers say that there is to be none. */
  private static void number(MemorySegment attributes, int type, IntUnaryOperator files) {
    MemorySegment at = find(attributes, type);
    if (at.byteSize() >= Integer.BYTES && at.get(Wire.INT, 0) >= 0) {
      at.set(Wire.INT, 0, files.applyAsInt(at.get(Wire.INT, 0)));
    }
  }

  private static MemorySegment after(MemorySegment body, int bytes) {
    return body.byteSize() < bytes ? body.asSlice(0, 0) : body.asSlice(bytes);
  }

  /** The value of the last attribute of that type, as the kernel takes it; empty without one. */
  private static MemorySegment find(MemorySegment attributes, int type) {
    MemorySegment found = attributes.asSlice(0, 0);
    for (long at = 0; fits(attributes, at); at = next(attributes, at)) {
      if ((attributes.get(Wire.SHORT, at + 2) & TYPE_MASK) == type) {
        found = value(attributes, at);
      }
    }
    return found;
  }

  private static boolean fits(MemorySegment attributes, long at) {
    return attributes.byteSize() - at >= ATTRIBUTE_BYTES
        && length(attributes, at) >= ATTRIBUTE_BYTES
        && length(attributes, at) <= attributes.byteSize() - at;
  }

  private static long next(MemorySegment attributes, long at) {
    return at + ((length(attributes, at) + 3) & ~3L);
  }

  private static long length(MemorySegment attributes, long at) {
    return Short.toUnsignedLong(attributes.get(Wire.SHORT, at));
  }

  private static MemorySegment value(MemorySegment attributes, long at) {
    return attributes.asSlice(at + ATTRIBUTE_BYTES, length(attributes, at) - ATTRIBUTE_BYTES);
  }
}
