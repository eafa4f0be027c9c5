// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.MessageHeader;
import dev.outboard.abi.Socket;
import java.lang.foreign.MemorySegment;

/**
 * The host's half of marshalling: from the program's arguments and memory to a {@link Call}, and
 * from the completed call back.
 *
 * <p>What the host's kernel checks before it looks at a socket is checked here, in its order
 * ({@code net/socket.c}, {@code fs/read_write.c}, {@code lib/iov_iter.c}), so that EFAULT and
 * EINVAL come as natively. The device may write to a call's data at any time, so decode takes every
 * length from there once and cuts it to what encode reserved.
 *
 * <p>Stateless and thread safe; a call has one user at a time. Nothing is allocated.
 *
 * <p>What decode cannot write since the program's memory faults has left the device's kernel; of a
 * stream it must not be lost, so {@link Call#undelivered} tells of it, and {@link #deliver} makes
 * another call receive it.
 *
 * <p>Known to differ from native: a send from memory that faults after its first page sends
 * nothing, where a stream's kernel would send what came before; MSG_TRUNC into memory that faults
 * is no error.
 */
public final class HostMarshaller {
  /** Private memory per call: the largest structure that is looked into, a control message's. */
  static final int STAGING_BYTES = 256;

  // Slots of Call.saved: what recvmsg's decode needs of its msghdr.
  private static final int NAME = 0;
  private static final int NAME_BYTES = 1;
  private static final int IOV = 2;
  private static final int IOV_COUNT = 3;
  private static final int CONTROL = 4;
  private static final int CONTROL_BYTES = 5;
  private static final int SKIP = 6;

  /** As the kernel has it: no error has a greater number. */
  private static final long MAX_ERRNO = 4095;

  private HostMarshaller() {}

  /** {@link #encode(Row, long[], ProgramMemory, Call, long)} from the first byte on. */
  public static long encode(Row r, long[] programArgs, ProgramMemory m, Call out) {
    return encode(r, programArgs, m, out, 0);
  }

  /**
   * Fills {@code out} with the call and all that it reads. Descriptor arguments are copied as they
   * are: the hook puts the handle in their place.
   *
   * @param r a row with {@link Row#onDevice()}
   * @param programArgs the six arguments as the program passed them
   * @param skip bytes of the transfer that earlier pieces have moved
   * @return 0, or the {@code -errno} to answer the program with
   */
  public static long encode(Row r, long[] programArgs, ProgramMemory m, Call out, long skip) {
    if (!r.onDevice()) {
      return -Errno.ENOSYS;
    }
    out.start(r.canonical());
    out.saved[SKIP] = skip;
    int n = r.argCount();
    System.arraycopy(programArgs, 0, out.args, 0, n);
    // Small objects first: the transfer takes what room they leave.
    long end = 0;
    int transfer = -1;
    for (int i = 0; i < n; i++) {
      Arg arg = r.arg(i);
      switch (arg.kind()) {
        case SCALAR, FLAGS, FD, NEW_FD, SOCKLEN -> {}
        case IN, OUT, INOUT -> {
          if (r.result() == ResultKind.BYTES && arg.lengthArg() >= 0) {
            transfer = i;
          } else {
            end = encodeStructure(arg, i, programArgs, m, out, end);
          }
        }
        case IOVEC_IN, IOVEC_OUT -> transfer = i;
        case SOCKADDR_IN -> end = encodeAddress(r, i, programArgs, m, out, end);
        case SOCKADDR_OUT -> end = reserveAddress(r, i, programArgs, out, end);
        case MSGHDR_IN, MSGHDR_OUT -> end = encodeMessage(r, i, programArgs, m, out, skip);
        case OPTION_IN -> end = SocketOptions.encodeSet(programArgs, m, out);
        case OPTION_OUT -> end = SocketOptions.encodeGet(programArgs, m, out);
        case IOCTL -> end = IoctlRequests.encode(programArgs, m, out);
        case FCNTL -> end = encodeFcntl(programArgs, m, out, end);
        case PATH, STRING -> end = encodeString(i, programArgs, m, out, end);
        case POINTER -> end = -Errno.ENOSYS;
      }
      if (end < 0) {
        return end;
      }
    }
    // What is reserved for a message's bytes is in `end` already, after all else.
    long structures = transfer < 0 ? end - out.carried : end;
    if (transfer >= 0) {
      long error = encodeTransfer(r, transfer, programArgs, m, out, end, skip);
      if (error < 0) {
        return error;
      }
    }
    out.extent = transfer < 0 ? end : out.args[transfer] + out.carried;
    out.toDevice += structures;
    out.fromDevice = structures;
    return 0;
  }

  /**
   * Copies back what the call wrote.
   *
   * <p>For accept: if this fails although {@code done.result} is a handle, the handle is the
   * caller's to close.
   *
   * @param programArgs as given to encode
   * @param done the call as encode left it, with its result
   * @return the value to answer the program with: the result or {@code -errno}
   */
  public static long decode(Row r, long[] programArgs, Call done, ProgramMemory m) {
    long result = checked(r, done);
    if (result < 0) {
      return result;
    }
    for (int i = 0; i < r.argCount(); i++) {
      Arg arg = r.arg(i);
      long error =
          switch (arg.kind()) {
            case OUT, INOUT ->
                r.result() == ResultKind.BYTES && arg.lengthArg() >= 0
                    ? decodeTransfer(programArgs, i, done, m)
                    : decodeStructure(arg, programArgs, i, done, m);
            case IOVEC_OUT ->
                scatter(
                    m, done, programArgs[i], (int) programArgs[arg.lengthArg()], done.args[i], 0);
            case SOCKADDR_OUT -> decodeAddress(programArgs, i, arg.lengthArg(), done, m);
            case MSGHDR_OUT -> decodeMessage(programArgs, i, done, m);
            case OPTION_IN -> SocketOptions.decodeSet(programArgs, done, m);
            case OPTION_OUT -> SocketOptions.decodeGet(programArgs, done, m);
            case IOCTL -> IoctlRequests.decode(programArgs, done, m);
            case FCNTL ->
                done.args[1] == Fcntl.F_OFD_GETLK
                    ? m.write(programArgs[2], done.data, done.args[2], FcntlCommands.LOCK_BYTES)
                    : 0;
            default -> 0;
          };
      if (error < 0) {
        return error;
      }
    }
    return result;
  }

  /**
   * The result of a call, if it is one that a kernel could give; else {@code -EIO}, which is the
   * call's result then, too: a device could have the program believe in bytes that it has not got,
   * or the host look for them.
   *
   * @param r the call's row
   * @param done the call as encode left it, or made with the bytes that it asks for as {@link
   *     Call#carried}, with its result
   */
  public static long checked(Row r, Call done) {
    long result = done.result;
    boolean possible =
        result < 0
            ? result >= -MAX_ERRNO
            : switch (r.result()) {
              case FD -> result <= Integer.MAX_VALUE;
              case BYTES -> result <= mostBytes(r, done);
              default -> true;
            };
    if (!possible) {
      done.result = -Errno.EIO;
    }
    return done.result;
  }

  /** How many bytes a call can say that it has moved. */
  private static long mostBytes(Row r, Call c) {
    boolean transfers = false;
    long asked = Long.MAX_VALUE;
    for (int i = 0; i < r.argCount(); i++) {
      Arg arg = r.arg(i);
      switch (arg.kind()) {
        case IN, OUT, INOUT, IOVEC_IN, IOVEC_OUT -> {
          if (arg.lengthArg() >= 0) {
            transfers = true;
            // Asks how much there would be.
            if (c.wanted == 0 && r.arg(arg.lengthArg()).name().equals("size")) {
              return Integer.MAX_VALUE;
            }
          }
        }
        case MSGHDR_IN, MSGHDR_OUT -> transfers = true;
        case FLAGS -> {
          // Says how long the message was.
          if (arg.set().equals("MSG") && (c.args[i] & Socket.MSG_TRUNC) != 0) {
            return Integer.MAX_VALUE;
          }
        }
        case SCALAR -> {
          if (arg.name().equals("count") || arg.name().equals("len")) {
            asked = Math.max(0, c.args[i]);
          }
        }
        default -> {}
      }
    }
    return transfers ? c.carried : asked;
  }

  /** Where in the call's data the bytes are that a receive of row {@code r} transfers. */
  public static long transferAt(Row r, Call c) {
    for (int i = 0; i < r.argCount(); i++) {
      Arg arg = r.arg(i);
      switch (arg.kind()) {
        case OUT, INOUT, IOVEC_OUT -> {
          return c.args[i];
        }
        case MSGHDR_OUT -> {
          return messageDataAt(c.saved[CONTROL_BYTES]);
        }
        default -> {}
      }
    }
    throw new IllegalArgumentException(r.name() + " receives nothing");
  }

  /**
   * Where in the data the bytes lie that a call sends, if it sends nothing else.
   *
   * @param c the call as {@link #encode} left it
   * @return -1 if it names a receiver, or carries control data
   */
  public static long bytesAt(Row r, Call c) {
    long at = -1;
    for (int i = 0; i < r.argCount(); i++) {
      switch (r.arg(i).kind()) {
        case IN, IOVEC_IN -> at = c.args[i];
        case MSGHDR_IN -> {
          boolean plain = c.saved[NAME_BYTES] == 0 && c.saved[CONTROL_BYTES] == 0;
          return plain ? messageDataAt(0) : -1;
        }
        case SOCKADDR_IN -> {
          if (c.args[i] != Call.NULL) {
            return -1;
          }
        }
        default -> {}
      }
    }
    return at;
  }

  /**
   * Where in the data the bytes lie that a call sends, whatever else it has.
   *
   * @param c the call as {@link #encode} left it; -1 if it sends nothing
   */
  public static long sentAt(Row r, Call c) {
    for (int i = 0; i < r.argCount(); i++) {
      switch (r.arg(i).kind()) {
        case IN, IOVEC_IN -> {
          return c.args[i];
        }
        case MSGHDR_IN -> {
          return messageDataAt(c.saved[CONTROL_BYTES]);
        }
        default -> {}
      }
    }
    return -1;
  }

  /**
   * Ends a receive from a stream as if the device had: with these bytes, from nobody, without
   * control data.
   *
   * @param c the call as encode left it; it is not made
   * @param bytes not more than {@link Call#carried}
   * @return as {@link #decode}
   */
  public static long deliver(Row r, long[] programArgs, Call c, byte[] bytes, ProgramMemory m) {
    MemorySegment d = c.data;
    for (int i = 0; i < r.argCount(); i++) {
      switch (r.arg(i).kind()) {
        case SOCKADDR_OUT -> {
          if (c.args[i] != Call.NULL) {
            d.set(Wire.INT, c.args[r.arg(i).lengthArg()], 0);
          }
        }
        case MSGHDR_OUT -> {
          d.set(Wire.INT, Wire.MSG_NAME_BYTES, 0);
          d.set(Wire.INT, Wire.MSG_FLAGS, 0);
          d.set(Wire.LONG, Wire.MSG_CONTROL_BYTES, 0);
        }
        default -> {}
      }
    }
    MemorySegment.copy(bytes, 0, d, Wire.BYTE, transferAt(r, c), bytes.length);
    c.result = bytes.length;
    return decode(r, programArgs, c, m);
  }

  // ---- structures ----

  private static long encodeStructure(
      Arg arg, int i, long[] a, ProgramMemory m, Call out, long end) {
    if (a[i] == 0) {
      out.args[i] = Call.NULL;
      return end;
    }
    long bytes = structureBytes(arg, a);
    long at = Wire.align(end);
    if (bytes < 0 || bytes > out.data.byteSize() - at) {
      return -Errno.EINVAL;
    }
    if (arg.kind() != Arg.Kind.OUT) {
      long error = m.read(a[i], out.data, at, bytes);
      if (error < 0) {
        return error;
      }
    }
    out.args[i] = at;
    return at + bytes;
  }

  private static long decodeStructure(Arg arg, long[] a, int i, Call done, ProgramMemory m) {
    return done.args[i] == Call.NULL
        ? 0
        : m.write(a[i], done.data, done.args[i], structureBytes(arg, a));
  }

  private static long structureBytes(Arg arg, long[] a) {
    if (arg.lengthArg() < 0) {
      return arg.bytes();
    }
    long count = a[arg.lengthArg()];
    return count < 0 || count > Call.PIECE_BYTES ? -1 : count * arg.bytes();
  }

  private static long encodeFcntl(long[] a, ProgramMemory m, Call out, long end) {
    int command = FcntlCommands.wire((int) a[1]);
    if (!FcntlCommands.locks(command)) {
      return FcntlCommands.onDevice(command) ? end : -Errno.EINVAL;
    }
    long at = Wire.align(end);
    long error = m.read(a[2], out.data, at, FcntlCommands.LOCK_BYTES);
    if (error < 0) {
      return error;
    }
    if (command != (int) a[1]) {
      // A lock of a process ignores what a lock of an open file insists on.
      out.data.set(Wire.INT, at + FcntlCommands.LOCK_PID, 0);
    }
    out.args[1] = command;
    out.args[2] = at;
    return at + FcntlCommands.LOCK_BYTES;
  }

  private static long encodeString(int i, long[] a, ProgramMemory m, Call out, long end) {
    if (a[i] == 0) {
      // utimensat() and its kin act on the descriptor then; the others fault in the kernel.
      out.args[i] = Call.NULL;
      return end;
    }
    long at = Wire.align(end);
    long length = m.readString(a[i], out.data, at, Wire.PATH_BYTES);
    if (length < 0) {
      return length;
    }
    out.args[i] = at;
    return at + length + 1;
  }

  // ---- transfers ----

  private static long encodeTransfer(
      Row r, int i, long[] a, ProgramMemory m, Call out, long end, long skip) {
    Arg arg = r.arg(i);
    int lengthArg = arg.lengthArg();
    boolean vector = arg.kind() == Arg.Kind.IOVEC_IN || arg.kind() == Arg.Kind.IOVEC_OUT;
    long length = vector ? vectorLength(a[i], a[lengthArg], m) : flatLength(r, a[i], a[lengthArg]);
    if (length < 0) {
      return length;
    }
    long at = reserveTransfer(out, end, length, skip);
    out.args[i] = at;
    out.args[lengthArg] = out.carried;
    boolean reads =
        switch (arg.kind()) {
          case IN, IOVEC_IN -> true;
          default -> false;
        };
    out.receives = !reads;
    if (!reads) {
      if (truncates(r, a)) {
        return keepBytes(m, a[i], vector ? (int) a[lengthArg] : -1, skip, out, at);
      }
      return 0;
    }
    if (out.carried == 0) {
      return 0;
    }
    out.toDevice = out.carried;
    return vector
        ? exactly(
            m.readVector(a[i], (int) a[lengthArg], skip, out.data, at, out.carried), out.carried)
        : m.read(a[i] + skip, out.data, at, out.carried);
  }

  private static long reserveTransfer(Call out, long end, long length, long skip) {
    long at = Wire.align(end);
    out.wanted = Math.max(0, length - skip);
    out.carried =
        Math.min(out.wanted, Math.min(Call.PIECE_BYTES, Math.max(0, out.data.byteSize() - at)));
    return at;
  }

  /**
   * The kernel cuts long transfers; read and write reject what would be negative, and all reject
   * memory of the kernel before they look at the socket.
   */
  private static long flatLength(Row r, long address, long length) {
    // import_ubuf() cuts before access_ok(), vfs_read() asks access_ok() with the full length.
    if (length < 0 && !hasMessageFlags(r)) {
      return -Errno.EFAULT;
    }
    long cut = length < 0 ? Wire.TRANSFER_BYTES : Math.min(length, Wire.TRANSFER_BYTES);
    return address < 0 || address + cut < 0 ? -Errno.EFAULT : cut;
  }

  private static long vectorLength(long address, long count, ProgramMemory m) {
    if (count < 0 || count > Wire.VECTORS) {
      return -Errno.EINVAL;
    }
    if (count == 0) {
      return 0;
    }
    long length = m.vectorLength(address, (int) count);
    return length < 0 ? length : Math.min(length, Wire.TRANSFER_BYTES);
  }

  private static long exactly(long got, long expected) {
    // A vector that shrank meanwhile: the program races with itself, as it could with its kernel.
    return got < 0 ? got : got == expected ? 0 : -Errno.EFAULT;
  }

  private static boolean hasMessageFlags(Row r) {
    return r.argCount() > 3 && r.arg(3).kind() == Arg.Kind.FLAGS && r.arg(3).set().equals("MSG");
  }

  private static boolean truncates(Row r, long[] a) {
    return hasMessageFlags(r) && (a[3] & Socket.MSG_TRUNC) != 0;
  }

  /**
   * A stream receives no bytes under MSG_TRUNC, though its result counts them: what the program has
   * in its buffer must come back unchanged.
   */
  private static long keepBytes(
      ProgramMemory m, long address, int vectors, long skip, Call out, long at) {
    if (out.carried > 0) {
      out.toDevice = out.carried;
      long got =
          vectors < 0
              ? m.read(address + skip, out.data, at, out.carried)
              : m.readVector(address, vectors, skip, out.data, at, out.carried);
      if (got < 0) {
        out.data.asSlice(at, out.carried).fill((byte) 0);
      }
    }
    return 0;
  }

  private static long decodeTransfer(long[] a, int i, Call done, ProgramMemory m) {
    long n = Math.min(done.result, done.carried);
    if (n <= 0) {
      return 0;
    }
    long error = m.write(a[i] + done.saved[SKIP], done.data, done.args[i], n);
    done.undelivered = error < 0 ? n : 0;
    return error < 0 && (a[3] & Socket.MSG_TRUNC) != 0 && done.number == RECVFROM ? 0 : error;
  }

  private static final int RECVFROM = 207;

  private static long scatter(
      ProgramMemory m, Call done, long iov, int count, long at, long messageFlags) {
    long n = Math.min(done.result, done.carried);
    if (n <= 0) {
      return 0;
    }
    long error = m.writeVector(iov, count, done.saved[SKIP], done.data, at, n);
    done.undelivered = error < 0 ? n : 0;
    return error < 0 && (messageFlags & Socket.MSG_TRUNC) != 0 ? 0 : Math.min(error, 0);
  }

  // ---- addresses ----

  private static long encodeAddress(Row r, int i, long[] a, ProgramMemory m, Call out, long end) {
    int lengthArg = r.arg(i).lengthArg();
    int length = (int) a[lengthArg];
    if (a[i] == 0 && r.result() == ResultKind.BYTES) {
      // sendto() without an address ignores the length; bind() and connect() do not.
      out.args[i] = Call.NULL;
      out.args[lengthArg] = 0;
      return end;
    }
    if (length < 0 || length > Wire.ADDRESS_BYTES) {
      return -Errno.EINVAL;
    }
    long at = Wire.align(end);
    if (length > 0) {
      long error = m.read(a[i], out.data, at, length);
      if (error < 0) {
        return error;
      }
    }
    out.args[i] = at;
    return at + length;
  }

  private static long reserveAddress(Row r, int i, long[] a, Call out, long end) {
    int lengthArg = r.arg(i).lengthArg();
    // Without an address accept() and recvfrom() ignore the length; getsockname() faults on both.
    if (a[i] == 0 && r.result() != ResultKind.ZERO) {
      out.args[i] = Call.NULL;
      out.args[lengthArg] = Call.NULL;
      return end;
    }
    long at = Wire.align(end);
    out.args[i] = at;
    out.args[lengthArg] = at + Wire.ADDRESS_BYTES;
    return at + Wire.ADDRESS_BYTES + Integer.BYTES;
  }

  private static long decodeAddress(long[] a, int i, int lengthArg, Call done, ProgramMemory m) {
    if (done.args[i] == Call.NULL) {
      return 0;
    }
    int actual = clamp(done.data.get(Wire.INT, done.args[lengthArg]), Wire.ADDRESS_BYTES);
    return moveAddressToUser(m, done, done.args[i], actual, a[i], a[lengthArg]);
  }

  /** As {@code move_addr_to_user()} of net/socket.c. */
  private static long moveAddressToUser(
      ProgramMemory m, Call done, long at, int actual, long address, long lengthAddress) {
    MemorySegment staging = done.staging;
    long error = m.read(lengthAddress, staging, 0, Integer.BYTES);
    if (error < 0) {
      return error;
    }
    int length = Math.min(staging.get(Wire.INT, 0), actual);
    if (length < 0) {
      return -Errno.EINVAL;
    }
    if (length > 0) {
      error = m.write(address, done.data, at, length);
      if (error < 0) {
        return error;
      }
    }
    staging.set(Wire.INT, 0, actual);
    return m.write(lengthAddress, staging, 0, Integer.BYTES);
  }

  /** {@code value} if it is between 0 and {@code max}, else the nearer of the two. */
  static int clamp(int value, int max) {
    return Math.max(0, Math.min(value, max));
  }

  /** {@code value} if it is between 0 and {@code max}, else the nearer of the two. */
  static long clamp(long value, long max) {
    return Math.max(0, Math.min(value, max));
  }

  // ---- messages ----

  private static long encodeMessage(Row r, int i, long[] a, ProgramMemory m, Call out, long skip) {
    boolean send = r.arg(i).kind() == Arg.Kind.MSGHDR_IN;
    MemorySegment h = out.staging;
    long error = m.read(a[i], h, 0, MessageHeader.BYTES);
    if (error < 0) {
      return error;
    }
    // The order of __copy_msghdr(), then import_iovec(), then ____sys_sendmsg().
    long name = h.get(Wire.LONG, MessageHeader.NAME);
    int nameBytes = name == 0 ? 0 : h.get(Wire.INT, MessageHeader.NAME_BYTES);
    long iov = h.get(Wire.LONG, MessageHeader.IOV);
    long iovCount = h.get(Wire.LONG, MessageHeader.IOV_COUNT);
    long control = h.get(Wire.LONG, MessageHeader.CONTROL);
    long controlBytes = h.get(Wire.LONG, MessageHeader.CONTROL_BYTES);
    if (nameBytes < 0) {
      return -Errno.EINVAL;
    }
    nameBytes = Math.min(nameBytes, Wire.ADDRESS_BYTES);
    long nameAt = Wire.align(Wire.MSG_BYTES);
    if (send && nameBytes > 0) {
      error = m.read(name, out.data, nameAt, nameBytes);
      if (error < 0) {
        return error;
      }
    }
    if (Long.compareUnsigned(iovCount, Wire.VECTORS) > 0) {
      return -Errno.EMSGSIZE;
    }
    long length = vectorLength(iov, iovCount, m);
    if (length < 0) {
      return length;
    }
    long controlAt = nameAt + Wire.ADDRESS_BYTES;
    if (send) {
      if (Long.compareUnsigned(controlBytes, Wire.CONTROL_BYTES) > 0) {
        return -Errno.ENOBUFS; // as for anything above the kernel's optmem_max
      }
      if (controlBytes > 0) {
        error = m.read(control, out.data, controlAt, controlBytes);
        if (error >= 0) {
          error = passesDescriptors(m, control, controlBytes, h) ? -Errno.EINVAL : 0;
        }
        if (error < 0) {
          return error;
        }
      }
    } else if (Long.compareUnsigned(controlBytes, Wire.CONTROL_BYTES) > 0) {
      controlBytes = Wire.CONTROL_BYTES;
    }
    boolean hasControl = send ? controlBytes > 0 : control != 0;
    long end = controlAt + (hasControl ? controlBytes : 0);
    long dataAt = reserveTransfer(out, end, length, skip);
    out.receives = !send;
    if (send && out.carried > 0) {
      out.toDevice = out.carried;
      error =
          exactly(
              m.readVector(iov, (int) iovCount, skip, out.data, dataAt, out.carried), out.carried);
      if (error < 0) {
        return error;
      }
    } else if (!send && (a[2] & Socket.MSG_TRUNC) != 0) {
      keepBytes(m, iov, (int) iovCount, skip, out, dataAt);
    }
    MemorySegment d = out.data;
    boolean hasName = send ? nameBytes > 0 : name != 0;
    d.set(Wire.LONG, Wire.MSG_NAME, hasName ? nameAt : Call.NULL);
    d.set(Wire.INT, Wire.MSG_NAME_BYTES, !hasName ? 0 : send ? nameBytes : Wire.ADDRESS_BYTES);
    d.set(Wire.INT, Wire.MSG_FLAGS, send ? h.get(Wire.INT, MessageHeader.FLAGS) : 0);
    d.set(Wire.LONG, Wire.MSG_DATA, dataAt);
    d.set(Wire.LONG, Wire.MSG_DATA_BYTES, out.carried);
    d.set(Wire.LONG, Wire.MSG_CONTROL, hasControl ? controlAt : Call.NULL);
    d.set(Wire.LONG, Wire.MSG_CONTROL_BYTES, controlBytes);
    out.args[i] = 0;
    long[] saved = out.saved;
    saved[NAME] = name;
    saved[NAME_BYTES] = nameBytes;
    saved[IOV] = iov;
    saved[IOV_COUNT] = iovCount;
    saved[CONTROL] = control;
    saved[CONTROL_BYTES] = hasControl ? controlBytes : 0;
    return dataAt + out.carried;
  }

  /** Takes the control data out of an encoded sendmsg. */
  public static void dropControl(Call c) {
    c.data.set(Wire.LONG, Wire.MSG_CONTROL, Call.NULL);
    c.data.set(Wire.LONG, Wire.MSG_CONTROL_BYTES, 0);
  }

  /** Whether control data of the program holds SCM_RIGHTS, as the kernel would walk it. */
  private static boolean passesDescriptors(
      ProgramMemory m, long control, long bytes, MemorySegment staging) {
    // Read again, to memory that no device can change; short, as control data mostly is.
    long at = 0;
    while (bytes - at >= MessageHeader.CMSG_BYTES) {
      if (m.read(control + at, staging, MessageHeader.BYTES, MessageHeader.CMSG_BYTES) < 0) {
        return false;
      }
      long length = staging.get(Wire.LONG, MessageHeader.BYTES + MessageHeader.CMSG_LEN);
      int level = staging.get(Wire.INT, MessageHeader.BYTES + MessageHeader.CMSG_LEVEL);
      int type = staging.get(Wire.INT, MessageHeader.BYTES + MessageHeader.CMSG_TYPE);
      if (length < MessageHeader.CMSG_BYTES || length > bytes - at) {
        return false; // the device's kernel answers EINVAL
      }
      if (level == Socket.SOL_SOCKET && type == Socket.SCM_RIGHTS) {
        return true;
      }
      at += (length + 7) & ~7L;
    }
    return false;
  }

  private static long messageDataAt(long controlBytes) {
    return Wire.align(Wire.align(Wire.MSG_BYTES) + Wire.ADDRESS_BYTES + controlBytes);
  }

  /** As ____sys_recvmsg() after the socket's recvmsg. */
  private static long decodeMessage(long[] a, int i, Call done, ProgramMemory m) {
    MemorySegment d = done.data;
    long[] saved = done.saved;
    int actualName = clamp(d.get(Wire.INT, Wire.MSG_NAME_BYTES), Wire.ADDRESS_BYTES);
    int flags = d.get(Wire.INT, Wire.MSG_FLAGS);
    long controlBytes = clamp(d.get(Wire.LONG, Wire.MSG_CONTROL_BYTES), saved[CONTROL_BYTES]);
    long nameAt = Wire.align(Wire.MSG_BYTES);
    long controlAt = nameAt + Wire.ADDRESS_BYTES;
    long dataAt = messageDataAt(saved[CONTROL_BYTES]);
    long error = scatter(m, done, saved[IOV], (int) saved[IOV_COUNT], dataAt, a[2]);
    if (error < 0) {
      return error;
    }
    if (controlBytes > 0 && m.write(saved[CONTROL], d, controlAt, controlBytes) < 0) {
      controlBytes = 0; // put_cmsg() of the kernel leaves out what it cannot write
    }
    if (saved[NAME] != 0) {
      error =
          moveAddressToUser(
              m, done, nameAt, actualName, saved[NAME], a[i] + MessageHeader.NAME_BYTES);
      if (error < 0) {
        return error;
      }
    }
    // msg_controllen and msg_flags lie side by side.
    done.staging.set(Wire.LONG, 0, controlBytes);
    done.staging.set(Wire.INT, Long.BYTES, flags);
    return m.write(a[i] + MessageHeader.CONTROL_BYTES, done.staging, 0, Long.BYTES + Integer.BYTES);
  }
}
