// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Bpf;
import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.MessageHeader;
import dev.outboard.abi.Struct;
import dev.outboard.syscalls.Arg.Kind;
import dev.outboard.syscalls.IoctlRequests.Request;
import dev.outboard.syscalls.SocketOptions.Option;
import java.lang.foreign.MemorySegment;

/**
 * The device's half of marshalling: checks a {@link Call} that came from a host and turns its
 * offsets into addresses that the device's kernel gets.
 *
 * <p>The host is hostile until checked, and may change the call's data at any time. So every offset
 * and length comes from the private copy of the arguments, or is read from the data once; and
 * whatever the kernel itself reads a length or a pointer from (msghdr, iovec, socklen_t,
 * sock_fprog, ifconf, ethtool commands) is built in the scratch memory, which the host cannot
 * reach.
 *
 * <p>What comes is canonical, and a kernel of another ABI than x86-64's gets its own flags: see
 * {@link Architecture}. Its numbers are its backend's to know ({@link Row#number}).
 *
 * <p>One instance per shadow thread, used by that thread alone. Nothing is allocated.
 */
public final class DeviceMarshaller {
  /** How much scratch memory is needed. */
  public static final int SCRATCH_BYTES = 3 * 4096;

  // The scratch memory: one object of a call each, never two users at once.
  private static final int LENGTH = 0;
  private static final int IOVEC = 16;
  private static final int MESSAGE = 32;
  private static final int STRUCTURE = 128;
  private static final int NESTED = 512;
  static final int NESTED_BYTES = EthtoolCommands.LONGEST;
  private static final int STRINGS = 4096;

  /** An address that no kernel accepts from a program, for what faulted in the program. */
  private static final long FAULTING = 8;

  // Names of the table, for what is not the same on every machine.
  private static final String OPEN_FLAGS = "O";
  private static final String OPEN_HOW = Struct.OPEN_HOW.cName();

  private final Architecture abi;
  private final long dataAddress;
  private final long dataBytes;
  private final MemorySegment scratch;
  private final long scratchAddress;

  // Where the nested structure of the request under way came from, checked by prepare.
  private long nestedAt;
  private long nestedBytes;

  private final PathSet paths;
  // Paths and names of the call under way, of at most two.
  private int strings;
  private final byte[] path = new byte[Wire.PATH_BYTES];

  /**
   * @param dataAddress where the kernel finds offset 0 of the calls' data
   * @param dataBytes the size of that area
   * @param scratch at least {@link #SCRATCH_BYTES} of memory that the kernel can reach and the host
   *     cannot; the caller owns it and keeps it alive
   * @param paths which paths a host may name
   * @param abi what the kernel takes; {@link Architecture#X86_64} is the canonical one
   */
  public DeviceMarshaller(
      long dataAddress, long dataBytes, MemorySegment scratch, PathSet paths, Architecture abi) {
    this.paths = paths;
    this.abi = abi;
    if (scratch.byteSize() < SCRATCH_BYTES) {
      throw new IllegalArgumentException("scratch memory of " + scratch.byteSize() + " bytes");
    }
    this.dataAddress = dataAddress;
    this.dataBytes = dataBytes;
    this.scratch = scratch;
    this.scratchAddress = scratch.address();
  }

  /**
   * Checks {@code c} and fills in the kernel's six arguments.
   *
   * @param r the row of {@code c.number}
   * @return 0, or the {@code -errno} that completes the call
   */
  public long prepare(Row r, Call c, long[] kernelArgs) {
    if (!r.onDevice()) {
      return -Errno.ENOSYS;
    }
    for (int i = 0; i < 6; i++) {
      kernelArgs[i] = i < r.argCount() ? c.args[i] : 0;
    }
    strings = 0;
    for (int i = 0; i < r.argCount(); i++) {
      Arg arg = r.arg(i);
      long error =
          switch (arg.kind()) {
            case SCALAR, FD, NEW_FD -> 0;
            case FLAGS -> flags(i, arg, kernelArgs);
            case IN ->
                abi == Architecture.X86_64 || !arg.set().equals(OPEN_HOW)
                    ? pointer(i, bytes(arg, c), c, kernelArgs)
                    : openHow(i, c, kernelArgs);
            case OUT, INOUT -> pointer(i, bytes(arg, c), c, kernelArgs);
            case IOVEC_IN, IOVEC_OUT -> vector(i, arg.lengthArg(), c, kernelArgs);
            case SOCKADDR_IN ->
                c.args[arg.lengthArg()] > Wire.ADDRESS_BYTES
                    ? -Errno.EINVAL
                    : pointer(i, c.args[arg.lengthArg()], c, kernelArgs);
            case SOCKADDR_OUT -> pointer(i, Wire.ADDRESS_BYTES, c, kernelArgs);
            case SOCKLEN -> r.arg(i - 1).kind() == Kind.OPTION_OUT ? 0 : length(i, c, kernelArgs);
            case MSGHDR_IN, MSGHDR_OUT -> message(i, c, kernelArgs);
            case OPTION_IN -> optionIn(c, kernelArgs);
            case OPTION_OUT -> optionOut(c, kernelArgs);
            case IOCTL -> request(c, kernelArgs);
            case FCNTL -> control(i, c, kernelArgs);
            case PATH -> path(r, i, c, kernelArgs);
            case STRING -> string(i, c, kernelArgs) < 0 ? -Errno.EFAULT : 0;
            case POINTER -> -Errno.ENOSYS;
          };
      if (error < 0) {
        return error;
      }
    }
    return r.route() == Route.FAMILY ? family((int) c.args[0], (int) c.args[2]) : 0;
  }

  /**
   * Copies to the data what the kernel wrote to the scratch memory.
   *
   * @param result what the kernel returned
   * @return what completes the call: {@code result}
   */
  public long finish(Row r, Call c, long result) {
    if (result < 0) {
      return result;
    }
    for (int i = 0; i < r.argCount(); i++) {
      switch (r.arg(i).kind()) {
        case SOCKLEN -> {
          if (c.args[i] != Call.NULL) {
            c.data.set(Wire.INT, c.args[i], scratch.get(Wire.INT, LENGTH));
          }
        }
        case MSGHDR_OUT -> {
          long at = c.args[i];
          c.data.set(
              Wire.INT,
              at + Wire.MSG_NAME_BYTES,
              scratch.get(Wire.INT, MESSAGE + MessageHeader.NAME_BYTES));
          c.data.set(
              Wire.INT, at + Wire.MSG_FLAGS, scratch.get(Wire.INT, MESSAGE + MessageHeader.FLAGS));
          c.data.set(
              Wire.LONG,
              at + Wire.MSG_CONTROL_BYTES,
              scratch.get(Wire.LONG, MESSAGE + MessageHeader.CONTROL_BYTES));
        }
        case IOCTL -> finishRequest(c);
        case FCNTL -> {
          if ((int) c.args[1] == Fcntl.F_GETFL) {
            return abi.canonicalOpenFlags((int) result);
          }
        }
        default -> {}
      }
    }
    return result;
  }

  private long flags(int i, Arg arg, long[] k) {
    if (abi != Architecture.X86_64 && arg.set().equals(OPEN_FLAGS)) {
      k[i] = abi.openFlags((int) k[i]);
    }
    return 0;
  }

  /** A {@code struct open_how} with other flags, of its first version, which is what crosses. */
  private long openHow(int i, Call c, long[] k) {
    long at = c.args[i];
    int bytes = Struct.OPEN_HOW.bytes();
    if (at == Call.NULL || !inData(at, bytes)) {
      return -Errno.EFAULT;
    }
    MemorySegment.copy(c.data, at, scratch, STRUCTURE, bytes);
    long flags = scratch.get(Wire.LONG, STRUCTURE);
    // Beyond 32 bits there is none, and the kernel says so: openat2(2), EINVAL.
    scratch.set(
        Wire.LONG,
        STRUCTURE,
        (flags & 0xffffffff_00000000L) | Integer.toUnsignedLong(abi.openFlags((int) flags)));
    k[i] = scratchAddress + STRUCTURE;
    k[i + 1] = Math.min(c.args[i + 1], bytes);
    return 0;
  }

  private long control(int i, Call c, long[] k) {
    int command = (int) c.args[1];
    if (FcntlCommands.locks(command)) {
      return c.args[i] == Call.NULL ? -Errno.EFAULT : pointer(i, FcntlCommands.LOCK_BYTES, c, k);
    }
    if (command == Fcntl.F_SETFL) {
      k[i] = abi.openFlags((int) k[i]);
    }
    return FcntlCommands.onDevice(command) ? 0 : -Errno.EINVAL;
  }

  /**
   * Copies a string to where no host can change it any more, or take its end away.
   *
   * @return its length, or -1
   */
  private int string(int i, Call c, long[] k) {
    long at = c.args[i];
    if (at == Call.NULL) {
      k[i] = 0;
      return 0;
    }
    if (!inData(at, 1) || strings == 2) {
      return -1;
    }
    int to = STRINGS + strings++ * Wire.PATH_BYTES;
    int room = (int) Math.min(Wire.PATH_BYTES, dataBytes - at);
    MemorySegment.copy(c.data, Wire.BYTE, at, path, 0, room);
    int length = 0;
    while (length < room && path[length] != 0) {
      length++;
    }
    if (length == room) {
      return -1;
    }
    MemorySegment.copy(path, 0, scratch, Wire.BYTE, to, length + 1);
    k[i] = scratchAddress + to;
    return length;
  }

  /** A path must be one of the device's own, or lead down from a directory that the host has. */
  private long path(Row r, int i, Call c, long[] k) {
    int length = string(i, c, k);
    if (length < 0) {
      return -Errno.EFAULT;
    }
    boolean directory = i > 0 && r.arg(i - 1).kind() == Kind.FD && (int) c.args[i - 1] >= 0;
    if (c.args[i] == Call.NULL && !directory) {
      return -Errno.EFAULT;
    }
    boolean relative = length == 0 || path[0] != '/';
    boolean allowed = relative ? directory : paths.match(path, length) >= 0;
    return allowed && !PathSet.climbs(path, length) ? 0 : -Errno.EACCES;
  }

  /** Families that a host may ask for, so that no other kind of socket is ever a device fd. */
  private static long family(int domain, int protocol) {
    return Families.onDevice(domain, protocol) ? 0 : -Errno.EAFNOSUPPORT;
  }

  private static long bytes(Arg arg, Call c) {
    if (arg.lengthArg() < 0) {
      return arg.bytes();
    }
    long count = c.args[arg.lengthArg()];
    return count < 0 || count > Integer.MAX_VALUE ? -1 : count * arg.bytes();
  }

  /** Whether {@code bytes} at {@code offset} lie in the data area. */
  private boolean inData(long offset, long bytes) {
    return offset >= 0 && bytes >= 0 && bytes <= dataBytes && offset <= dataBytes - bytes;
  }

  private long pointer(int i, long bytes, Call c, long[] k) {
    long offset = c.args[i];
    boolean absent = offset == Call.NULL;
    if (!inData(absent ? 0 : offset, bytes)) {
      return -Errno.EFAULT;
    }
    k[i] = absent ? 0 : dataAddress + offset;
    return 0;
  }

  private long vector(int i, int lengthArg, Call c, long[] k) {
    long bytes = c.args[lengthArg];
    if (!inData(c.args[i], bytes)) {
      return -Errno.EFAULT;
    }
    scratch.set(Wire.LONG, IOVEC + MessageHeader.IOV_BASE, dataAddress + c.args[i]);
    scratch.set(Wire.LONG, IOVEC + MessageHeader.IOV_LEN, bytes);
    k[i] = scratchAddress + IOVEC;
    k[lengthArg] = 1;
    return 0;
  }

  private long length(int i, Call c, long[] k) {
    long offset = c.args[i];
    if (offset == Call.NULL) {
      k[i] = 0;
      return 0;
    }
    if (!inData(offset, Integer.BYTES)) {
      return -Errno.EFAULT;
    }
    scratch.set(Wire.INT, LENGTH, Wire.ADDRESS_BYTES);
    k[i] = scratchAddress + LENGTH;
    return 0;
  }

  // ---- options ----

  // Arguments of getsockopt and setsockopt.
  private static final int LEVEL = 1;
  private static final int NAME = 2;
  private static final int OPTION = 3;
  private static final int OPTION_LENGTH = 4;

  private long optionIn(Call c, long[] k) {
    Option o = SocketOptions.find((int) c.args[LEVEL], (int) c.args[NAME]);
    if (o == null) {
      return -Errno.ENOPROTOOPT;
    }
    return switch (o.form()) {
      case HOOK, REFUSED -> -o.errno();
      case DESCRIPTOR -> -Errno.ENOPROTOOPT;
      case FILTER -> filter(c, k);
      case PROGRAM -> {
        if (c.args[OPTION_LENGTH] != Integer.BYTES) {
          yield -Errno.EINVAL;
        }
        // The caller has looked it up.
        scratch.set(Wire.INT, STRUCTURE, (int) c.args[SocketOptions.HANDLE]);
        k[OPTION] = scratchAddress + STRUCTURE;
        yield 0;
      }
      case INTEGER, STRUCTURE, VARIABLE ->
          inData(0, c.args[OPTION_LENGTH])
              ? pointer(OPTION, c.args[OPTION_LENGTH], c, k)
              : -Errno.EINVAL;
    };
  }

  private long filter(Call c, long[] k) {
    long at = c.args[OPTION];
    if (c.args[OPTION_LENGTH] != SocketOptions.FPROG_BYTES) {
      return -Errno.EINVAL;
    }
    if (!inData(at, SocketOptions.FPROG_BYTES)) {
      return -Errno.EFAULT;
    }
    int instructions = Short.toUnsignedInt(c.data.get(Wire.SHORT, at + SocketOptions.FPROG_LENGTH));
    long program = c.data.get(Wire.LONG, at + SocketOptions.FPROG_FILTER);
    if (!inData(program, (long) instructions * Bpf.INSTRUCTION_BYTES)) {
      return -Errno.EFAULT;
    }
    scratch.set(Wire.LONG, STRUCTURE + SocketOptions.FPROG_LENGTH, instructions);
    scratch.set(Wire.LONG, STRUCTURE + SocketOptions.FPROG_FILTER, dataAddress + program);
    k[OPTION] = scratchAddress + STRUCTURE;
    return 0;
  }

  private long optionOut(Call c, long[] k) {
    Option o = SocketOptions.find((int) c.args[LEVEL], (int) c.args[NAME]);
    if (o == null) {
      return -Errno.ENOPROTOOPT;
    }
    if (!o.crosses()) {
      return -o.errno();
    }
    if (o.form() == SocketOptions.Form.PROGRAM) {
      return -Errno.ENOPROTOOPT;
    }
    long at = c.args[OPTION_LENGTH];
    if (!inData(at, Integer.BYTES)) {
      return -Errno.EFAULT;
    }
    int room = c.data.get(Wire.INT, at);
    if (room < 0) {
      return -Errno.EINVAL;
    }
    long error = pointer(OPTION, (long) room * SocketOptions.unit(o), c, k);
    if (error < 0) {
      return error;
    }
    scratch.set(Wire.INT, LENGTH, room);
    k[OPTION_LENGTH] = scratchAddress + LENGTH;
    return 0;
  }

  // ---- requests ----

  // Arguments of ioctl.
  private static final int REQUEST = 1;
  private static final int ARGUMENT = 2;

  private long request(Call c, long[] k) {
    Request r = IoctlRequests.find((int) c.args[REQUEST]);
    if (r == null || c.args[REQUEST] != r.number()) {
      return -Errno.ENOTTY;
    }
    if (r.form() == IoctlRequests.Form.REFUSED) {
      return -r.errno();
    }
    long at = c.args[ARGUMENT];
    if (r.form() == IoctlRequests.Form.VALUE) {
      k[REQUEST] = Integer.toUnsignedLong(r.number());
      return 0;
    }
    if (!inData(at, Math.max(r.bytes(), sizeInNumber(r.number())))) {
      return -Errno.EFAULT;
    }
    k[REQUEST] = Integer.toUnsignedLong(r.number());
    k[ARGUMENT] = scratchAddress + STRUCTURE;
    switch (r.form()) {
      case VALUE, IN, OUT, INOUT, REFUSED -> {
        k[ARGUMENT] = dataAddress + at;
        return 0;
      }
      case IFCONF, ETHTOOL, HWTSTAMP, ROUTE, DESCRIPTOR ->
          MemorySegment.copy(c.data, at, scratch, STRUCTURE, r.bytes());
      case FIEMAP -> {
        k[ARGUMENT] = scratchAddress + NESTED;
        return extents(at, c);
      }
    }
    return switch (r.form()) {
      case IFCONF -> configuration();
      case ROUTE -> route();
      case ETHTOOL, HWTSTAMP -> nested(r.form(), c);
      case DESCRIPTOR -> {
        // The caller has looked it up; what the host wrote into the structure counts for nothing.
        scratch.set(
            Wire.LONG, STRUCTURE + IoctlRequests.CLONE_SOURCE, c.args[IoctlRequests.HANDLE]);
        if (r.bytes() == 0) {
          k[ARGUMENT] = c.args[IoctlRequests.HANDLE];
        }
        yield 0;
      }
      case VALUE, IN, OUT, INOUT, FIEMAP, REFUSED -> 0;
    };
  }

  /**
   * A driver or file system may go by the size that is in a request's number ({@code _IOC_SIZE}).
   */
  private static int sizeInNumber(int request) {
    return request >>> 16 & 0x3fff;
  }

  /** The count and the extents behind it lie where no host can change the count. */
  private long extents(long at, Call c) {
    MemorySegment.copy(c.data, at, scratch, NESTED, IoctlRequests.FIEMAP_BYTES);
    int count = scratch.get(Wire.INT, NESTED + IoctlRequests.FIEMAP_COUNT);
    if (count < 0 || count > IoctlRequests.FIEMAP_EXTENTS) {
      return -Errno.EINVAL;
    }
    long bytes = IoctlRequests.FIEMAP_BYTES + (long) count * IoctlRequests.FIEMAP_EXTENT_BYTES;
    if (!inData(at, bytes)) {
      return -Errno.EFAULT;
    }
    // Extents that the kernel does not write must not show what was here before.
    scratch
        .asSlice(NESTED + IoctlRequests.FIEMAP_BYTES, bytes - IoctlRequests.FIEMAP_BYTES)
        .fill((byte) 0);
    nestedAt = at;
    nestedBytes = bytes;
    return 0;
  }

  private long configuration() {
    int room = scratch.get(Wire.INT, STRUCTURE + IoctlRequests.IFC_LENGTH);
    long buffer = scratch.get(Wire.LONG, STRUCTURE + IoctlRequests.IFC_BUFFER);
    if (buffer != Call.NULL && !inData(buffer, room)) {
      return -Errno.EFAULT;
    }
    scratch.set(
        Wire.LONG,
        STRUCTURE + IoctlRequests.IFC_BUFFER,
        buffer == Call.NULL ? 0 : dataAddress + buffer);
    return 0;
  }

  private long route() {
    long device = scratch.get(Wire.LONG, STRUCTURE + IoctlRequests.ROUTE_DEVICE);
    if (device == Call.NULL || device == IoctlRequests.FAULT) {
      device = device == Call.NULL ? 0 : FAULTING;
    } else if (inData(device, IoctlRequests.ROUTE_NAME_BYTES)) {
      device += dataAddress;
    } else {
      return -Errno.EFAULT;
    }
    scratch.set(Wire.LONG, STRUCTURE + IoctlRequests.ROUTE_DEVICE, device);
    return 0;
  }

  /** What ifr_data points to is copied to where no host can change its command or length. */
  private long nested(IoctlRequests.Form form, Call c) {
    long at = scratch.get(Wire.LONG, STRUCTURE + IoctlRequests.IFR_DATA);
    long bytes = scratch.get(Wire.LONG, STRUCTURE + IoctlRequests.IFR_DATA_BYTES);
    if (bytes < Integer.BYTES || bytes > NESTED_BYTES || !inData(at, bytes)) {
      return -Errno.EFAULT;
    }
    scratch.asSlice(NESTED, EthtoolCommands.HEAD_BYTES).fill((byte) 0);
    MemorySegment.copy(c.data, at, scratch, NESTED, bytes);
    int needed =
        form == IoctlRequests.Form.HWTSTAMP
            ? IoctlRequests.HWTSTAMP_BYTES
            : EthtoolCommands.bytes(scratch, NESTED);
    if (needed < 0) {
      return -Errno.EOPNOTSUPP;
    }
    if (needed != bytes) {
      return -Errno.EINVAL;
    }
    nestedAt = at;
    nestedBytes = bytes;
    scratch.set(Wire.LONG, STRUCTURE + IoctlRequests.IFR_DATA, scratchAddress + NESTED);
    scratch.set(Wire.LONG, STRUCTURE + IoctlRequests.IFR_DATA_BYTES, 0);
    return 0;
  }

  private void finishRequest(Call c) {
    Request r = IoctlRequests.find((int) c.args[REQUEST]);
    if (r == null) {
      return;
    }
    switch (r.form()) {
      case IFCONF ->
          c.data.set(
              Wire.INT,
              c.args[ARGUMENT] + IoctlRequests.IFC_LENGTH,
              scratch.get(Wire.INT, STRUCTURE + IoctlRequests.IFC_LENGTH));
      case ETHTOOL, HWTSTAMP, FIEMAP ->
          MemorySegment.copy(scratch, NESTED, c.data, nestedAt, nestedBytes);
      case VALUE, IN, OUT, INOUT, ROUTE, DESCRIPTOR, REFUSED -> {}
    }
  }

  // ---- messages ----

  private long message(int i, Call c, long[] k) {
    long at = c.args[i];
    if (!inData(at, Wire.MSG_BYTES)) {
      return -Errno.EFAULT;
    }
    MemorySegment d = c.data;
    long name = d.get(Wire.LONG, at + Wire.MSG_NAME);
    int nameBytes = d.get(Wire.INT, at + Wire.MSG_NAME_BYTES);
    int flags = d.get(Wire.INT, at + Wire.MSG_FLAGS);
    long data = d.get(Wire.LONG, at + Wire.MSG_DATA);
    long dataLength = d.get(Wire.LONG, at + Wire.MSG_DATA_BYTES);
    long control = d.get(Wire.LONG, at + Wire.MSG_CONTROL);
    long controlBytes = d.get(Wire.LONG, at + Wire.MSG_CONTROL_BYTES);
    if (nameBytes < 0 || nameBytes > Wire.ADDRESS_BYTES) {
      return -Errno.EINVAL;
    }
    boolean hasName = name != Call.NULL;
    boolean hasControl = control != Call.NULL;
    if ((hasName && !inData(name, nameBytes))
        || !inData(data, dataLength)
        || (hasControl && !inData(control, controlBytes))) {
      return -Errno.EFAULT;
    }
    scratch.set(Wire.LONG, IOVEC + MessageHeader.IOV_BASE, dataAddress + data);
    scratch.set(Wire.LONG, IOVEC + MessageHeader.IOV_LEN, dataLength);
    scratch.set(Wire.LONG, MESSAGE + MessageHeader.NAME, hasName ? dataAddress + name : 0);
    scratch.set(Wire.LONG, MESSAGE + MessageHeader.NAME_BYTES, nameBytes);
    scratch.set(Wire.LONG, MESSAGE + MessageHeader.IOV, scratchAddress + IOVEC);
    scratch.set(Wire.LONG, MESSAGE + MessageHeader.IOV_COUNT, 1);
    scratch.set(Wire.LONG, MESSAGE + MessageHeader.CONTROL, hasControl ? dataAddress + control : 0);
    scratch.set(Wire.LONG, MESSAGE + MessageHeader.CONTROL_BYTES, hasControl ? controlBytes : 0);
    scratch.set(Wire.LONG, MESSAGE + MessageHeader.FLAGS, flags);
    k[i] = scratchAddress + MESSAGE;
    return 0;
  }
}
