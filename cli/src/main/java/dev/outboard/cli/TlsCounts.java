// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.channel.CallSlot;
import dev.outboard.channel.Credentials;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.LinkException;
import dev.outboard.posix.Processes;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;

/**
 * For how many connections a kernel has been given keys since it started. See {@code
 * Documentation/networking/tls.rst} of Linux.
 *
 * @param sending connections that it encrypts what is sent on (TlsTxSw)
 * @param receiving connections that it decrypts what is received on (TlsRxSw)
 */
record TlsCounts(long sending, long receiving) {
  /** Programs fall back to TLS of their own without a word: this tells. */
  private static final String FILE = "/proc/net/tls_stat";

  private static final int FILE_BYTES_MAX = 4096;
  private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(10);

  /** Anybody may read them. */
  private static final int NOBODY = 65534;

  /**
   * Asks the device's kernel, by calls of this process's own. Any platform thread may, beside the
   * program's.
   *
   * @throws Failure if it has no such counts or is gone
   */
  static TlsCounts of(DeviceLink link) {
    try {
      CallSlot slot =
          link.attach(Processes.getpid(), Processes.gettid(), -1, Credentials.user(NOBODY, NOBODY));
      try {
        return read(slot);
      } finally {
        link.detach(slot);
      }
    } catch (LinkException e) {
      throw new Failure(String.valueOf(e.getMessage()));
    }
  }

  private static TlsCounts read(CallSlot slot) {
    Call call = slot.call();
    MemorySegment data = call.data;
    call.start(SyscallTable.row("openat").canonical());
    data.setString(0, FILE);
    call.toDevice = FILE.length() + 1L;
    call.args[0] = Fcntl.AT_FDCWD;
    call.args[2] = Fcntl.O_RDONLY;
    long file = ended(slot);
    call.start(SyscallTable.row("read").canonical());
    call.receives = true;
    call.args[0] = file;
    call.args[2] = FILE_BYTES_MAX;
    // The device may be any: what it says is not taken for the length of anything.
    long bytes = Math.min(ended(slot), FILE_BYTES_MAX);
    byte[] text = data.asSlice(0, bytes).toArray(ValueLayout.JAVA_BYTE);
    call.start(SyscallTable.row("close").canonical());
    call.args[0] = file;
    ended(slot);
    return parse(new String(text, StandardCharsets.US_ASCII));
  }

  private static long ended(CallSlot slot) {
    slot.submit();
    if (!slot.await(PATIENCE_NANOS)) {
      throw new Failure("the device does not answer");
    }
    if (slot.result() < 0) {
      throw new Failure(
          "cannot read " + FILE + " of the device's kernel: " + Errno.name((int) -slot.result()));
    }
    return slot.result();
  }

  /**
   * Takes the counts out of the file's text.
   *
   * @throws Failure if they are not in it
   */
  static TlsCounts parse(String text) {
    return new TlsCounts(count(text, "TlsTxSw"), count(text, "TlsRxSw"));
  }

  private static long count(String text, String name) {
    for (String line : text.lines().toList()) {
      String[] words = line.strip().split("\\s+", -1);
      if (words.length == 2 && words[0].equals(name)) {
        try {
          return Long.parseLong(words[1]);
        } catch (NumberFormatException e) {
          break;
        }
      }
    }
    throw new Failure(FILE + " of the device's kernel does not say " + name);
  }

  TlsCounts since(TlsCounts before) {
    return new TlsCounts(sending - before.sending, receiving - before.receiving);
  }
}
