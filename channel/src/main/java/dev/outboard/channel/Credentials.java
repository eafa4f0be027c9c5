// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a program thread may do, as its shadow task is to have it. See {@code credentials(7)} and
 * {@code capabilities(7)}; the source on the host is {@code /proc/TID/status}.
 *
 * @param groups supplementary groups, at most {@link #MAX_GROUPS}
 * @param inheritable capability bits
 * @param permitted capability bits
 * @param effective capability bits; what the kernel checks
 */
public record Credentials(
    int uid,
    int euid,
    int suid,
    int fsuid,
    int gid,
    int egid,
    int sgid,
    int fsgid,
    List<Integer> groups,
    long inheritable,
    long permitted,
    long effective) {
  /** NGROUPS_MAX is 65536; a frame of 64 KiB carries fewer, and so does every real machine. */
  public static final int MAX_GROUPS = 4096;

  private static final int FIXED_BYTES = 8 * 4 + 3 * 8 + 4;

  /** All capabilities that a kernel could know. */
  public static final long ALL_CAPABILITIES = -1L;

  public Credentials {
    groups = List.copyOf(groups);
    if (groups.size() > MAX_GROUPS) {
      throw new IllegalArgumentException("more than " + MAX_GROUPS + " groups");
    }
  }

  /** The superuser with all capabilities. */
  public static Credentials root() {
    return new Credentials(
        0, 0, 0, 0, 0, 0, 0, 0, List.of(), 0, ALL_CAPABILITIES, ALL_CAPABILITIES);
  }

  /** An ordinary user without capabilities. */
  public static Credentials user(int uid, int gid) {
    return new Credentials(uid, uid, uid, uid, gid, gid, gid, gid, List.of(), 0, 0, 0);
  }

  /** The length of {@link #encode}'s output. */
  int encodedBytes() {
    return FIXED_BYTES + 4 * groups.size();
  }

  /** Appends this to a buffer in the order that {@code docs/protocol.md} gives. */
  void encode(ByteBuffer to) {
    to.putInt(uid).putInt(euid).putInt(suid).putInt(fsuid);
    to.putInt(gid).putInt(egid).putInt(sgid).putInt(fsgid);
    to.putLong(inheritable).putLong(permitted).putLong(effective);
    to.putInt(groups.size());
    for (int group : groups) {
      to.putInt(group);
    }
  }

  /** The credentials at the start of {@code from}, or null if they are cut short or too long. */
  static @Nullable Credentials decode(ByteBuffer from) {
    if (from.remaining() < FIXED_BYTES) {
      return null;
    }
    int uid = from.getInt();
    int euid = from.getInt();
    int suid = from.getInt();
    int fsuid = from.getInt();
    int gid = from.getInt();
    int egid = from.getInt();
    int sgid = from.getInt();
    int fsgid = from.getInt();
    long inheritable = from.getLong();
    long permitted = from.getLong();
    long effective = from.getLong();
    int count = from.getInt();
    if (count < 0 || count > MAX_GROUPS || from.remaining() < 4L * count) {
      return null;
    }
    List<Integer> groups = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      groups.add(from.getInt());
    }
    return new Credentials(
        uid, euid, suid, fsuid, gid, egid, sgid, fsgid, groups, inheritable, permitted, effective);
  }

  /** The credentials in a slot's data, copied once; null if malformed. */
  public static @Nullable Credentials decode(MemorySegment data, long bytes) {
    if (bytes < FIXED_BYTES || bytes > FIXED_BYTES + 4L * MAX_GROUPS || bytes > data.byteSize()) {
      return null;
    }
    byte[] copy = data.asSlice(0, bytes).toArray(ValueLayout.JAVA_BYTE);
    ByteBuffer from = ByteBuffer.wrap(copy).order(ByteOrder.LITTLE_ENDIAN);
    Credentials credentials = decode(from);
    return from.hasRemaining() ? null : credentials;
  }
}
