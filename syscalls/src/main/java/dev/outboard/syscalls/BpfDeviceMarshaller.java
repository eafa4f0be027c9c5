// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Errno;
import dev.outboard.syscalls.BpfCommands.Pointer;
import dev.outboard.syscalls.BpfObject.Kind;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The device's half of {@code bpf(2)}: checks an attribute that came from a host and turns its
 * offsets into addresses. As {@link DeviceMarshaller}, whose rules hold: the attribute that the
 * kernel reads, and the information about an object with the pointers in it, lie in memory that no
 * host can change; how far a pointer leads follows from them and from what the <em>device</em>
 * knows of the object.
 *
 * <p>One instance per shadow thread, used by that thread alone.
 */
public final class BpfDeviceMarshaller {
  /** How much scratch memory is needed. */
  public static final int SCRATCH_BYTES = 768;

  private static final int ATTRIBUTE = 0;
  private static final int INFO_AT = 256;

  // What is known of a map: struct bpf_map_info.
  private static final int MAP_INFO_BYTES = 24;
  private static final int MAP_TYPE = 0;
  private static final int MAP_KEY = 8;
  private static final int MAP_VALUE = 12;

  private final long dataAddress;
  private final long dataBytes;
  private final MemorySegment attribute;
  private final MemorySegment info;

  // Of the call under way: where the information belongs, and what pointers are in it.
  private long infoAt;
  private long infoBytes;
  private List<Pointer> infoPointers = List.of();

  /**
   * @param dataAddress where the kernel finds offset 0 of the calls' data
   * @param dataBytes the size of that area
   * @param scratch at least {@link #SCRATCH_BYTES} of memory that the kernel can reach and the host
   *     cannot; the caller owns it and keeps it alive
   */
  public BpfDeviceMarshaller(long dataAddress, long dataBytes, MemorySegment scratch) {
    this.dataAddress = dataAddress;
    this.dataBytes = dataBytes;
    this.attribute = scratch.asSlice(ATTRIBUTE, BpfCommands.ATTRIBUTE_BYTES);
    this.info = scratch.asSlice(INFO_AT, BpfCommands.INFO_BYTES);
  }

  /**
   * Checks {@code c} and fills in the kernel's arguments.
   *
   * @param subject the descriptor of what the command is about, entered by the caller; -1 for none
   * @param object what that is
   * @return 0, or the {@code -errno} that completes the call
   */
  public long prepare(Call c, int subject, BpfObject object, long[] kernelArgs) {
    infoBytes = 0;
    long size = c.args[BpfCommands.SIZE];
    if (size < 0 || size > BpfCommands.ATTRIBUTE_BYTES) {
      return -Errno.E2BIG;
    }
    int command = (int) c.args[BpfCommands.COMMAND];
    MemorySegment.copy(c.data, 0, attribute, 0, BpfCommands.ATTRIBUTE_BYTES);
    long error = BpfCommands.check(command, attribute);
    if (error < 0) {
      return error;
    }
    if (BpfCommands.subject(command) >= 0) {
      attribute.set(Wire.INT, BpfCommands.subject(command), subject);
    }
    List<Pointer> pointers = BpfCommands.pointers(command, attribute, object);
    for (int at : BpfCommands.pointerFields(command)) {
      if (pointers.stream().noneMatch(p -> p.at() == at)) {
        attribute.set(Wire.LONG, at, 0);
      }
    }
    if (!follow(attribute, pointers)) {
      return -Errno.EFAULT;
    }
    if (command == BpfCommands.OBJ_GET_INFO_BY_FD) {
      error = information(c, object);
    }
    kernelArgs[0] = command;
    kernelArgs[1] = attribute.address();
    kernelArgs[2] = size;
    kernelArgs[3] = 0;
    kernelArgs[4] = 0;
    kernelArgs[5] = 0;
    return error;
  }

  private long information(Call c, BpfObject object) {
    long length = BpfCommands.unsigned(attribute, BpfCommands.INFO_LENGTH);
    long at = attribute.get(Wire.LONG, BpfCommands.INFO);
    if (length > BpfCommands.INFO_BYTES) {
      return -Errno.E2BIG;
    }
    if (at == Call.NULL) {
      attribute.set(Wire.LONG, BpfCommands.INFO, 0);
      return 0;
    }
    if (!inData(at, length)) {
      return -Errno.EFAULT;
    }
    info.fill((byte) 0);
    MemorySegment.copy(c.data, at, info, 0, length);
    infoPointers =
        BpfCommands.infoPointers(object, info).stream()
            .filter(p -> p.at() + Long.BYTES <= length)
            .toList();
    if (!follow(info, infoPointers)) {
      return -Errno.EFAULT;
    }
    attribute.set(Wire.LONG, BpfCommands.INFO, info.address());
    infoAt = at;
    infoBytes = length;
    return 0;
  }

  private boolean follow(MemorySegment structure, List<Pointer> pointers) {
    for (Pointer p : pointers) {
      long offset = structure.get(Wire.LONG, p.at());
      if (offset == Call.NULL) {
        structure.set(Wire.LONG, p.at(), 0);
      } else if (inData(offset, p.bytes())) {
        structure.set(Wire.LONG, p.at(), dataAddress + offset);
      } else {
        return false;
      }
    }
    return true;
  }

  private boolean inData(long offset, long bytes) {
    return offset >= 0 && bytes >= 0 && bytes <= dataBytes && offset <= dataBytes - bytes;
  }

  /** Copies to the data what the kernel wrote to the scratch memory, whatever came of the call. */
  public void finish(Call c) {
    for (int at : BpfCommands.results((int) c.args[BpfCommands.COMMAND])) {
      c.data.set(Wire.INT, at, attribute.get(Wire.INT, at));
    }
    if (infoBytes > 0) {
      for (Pointer p : infoPointers) {
        info.set(Wire.LONG, p.at(), 0); // where the device keeps things is nobody's business
      }
      MemorySegment.copy(info, 0, c.data, infoAt, infoBytes);
    }
  }

  /**
   * Fills in the kernel's arguments for a question about a map that the call has just made.
   *
   * @param fd its descriptor
   */
  public void ask(int fd, long[] kernelArgs) {
    info.fill((byte) 0);
    attribute.fill((byte) 0);
    attribute.set(Wire.INT, 0, fd);
    attribute.set(Wire.INT, BpfCommands.INFO_LENGTH, MAP_INFO_BYTES);
    attribute.set(Wire.LONG, BpfCommands.INFO, info.address());
    kernelArgs[0] = BpfCommands.OBJ_GET_INFO_BY_FD;
    kernelArgs[1] = attribute.address();
    kernelArgs[2] = BpfCommands.INFO + Long.BYTES;
    kernelArgs[3] = 0;
    kernelArgs[4] = 0;
    kernelArgs[5] = 0;
  }

  /**
   * What was made, told to the host as well.
   *
   * @param answered for a map: what the kernel returned to {@link #ask}
   * @return null for a map that is none of those that this device makes
   */
  public @Nullable BpfObject made(Call c, Kind kind, long answered) {
    BpfObject object =
        kind != Kind.MAP
            ? new BpfObject(kind, 0, 0, 0)
            : new BpfObject(
                kind,
                info.get(Wire.INT, MAP_TYPE),
                info.get(Wire.INT, MAP_KEY),
                info.get(Wire.INT, MAP_VALUE));
    if (answered < 0 || !object.bounded()) {
      return null;
    }
    c.data.set(Wire.INT, BpfCommands.OBJECT, kind.number());
    c.data.set(Wire.INT, BpfCommands.OBJECT + 4, object.type());
    c.data.set(Wire.INT, BpfCommands.OBJECT + 8, object.keyBytes());
    c.data.set(Wire.INT, BpfCommands.OBJECT + 12, object.valueBytes());
    return object;
  }
}
