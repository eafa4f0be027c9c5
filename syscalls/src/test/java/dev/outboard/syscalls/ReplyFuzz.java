// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.outboard.abi.Socket;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Random;

/**
 * What a hostile device answers a call, on the host. {@code -Pfuzz} looks for some that do harm
 * ({@code SECURITY.md}); {@link ReplyFuzzTest} replays what is kept.
 *
 * <p>An input is two bytes for the row, one for whether the device goes on writing while the host
 * reads, four for the seed of the program's call, eight for the result, and what the device writes
 * to the slot's data.
 */
class ReplyFuzz {
  static final int HEAD_BYTES = 2 + 1 + 4 + 8;

  private static final List<Row> ROWS = MarshallingTest.deviceRows();

  /** Of the data, which a device that goes on writing changes. */
  private static final int CHANGED_BYTES = 600;

  private final FakeProgram program = new FakeProgram();
  private final DeviceSpace device = new DeviceSpace();
  private final Call call = new Call(device.data);

  /** The program's memory changes only where the call may write, and no error is the host's own. */
  @FuzzTest(maxDuration = "90s")
  void anyReplyToACall(byte[] bytes) {
    if (bytes.length < HEAD_BYTES) {
      return;
    }
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    Row row = ROWS.get(Short.toUnsignedInt(in.getShort()) % ROWS.size());
    boolean goesOn = (in.get() & 1) != 0;
    Random random = new Random(in.getInt());
    long result = in.getLong();
    program.restart();
    device.data.fill((byte) 0);
    Samples samples = new Samples(program, random);
    long[] args = samples.call(row, false);
    if (HostMarshaller.encode(row, args, program, call) < 0) {
      return;
    }
    long[] asked = args.clone();
    int length = Math.min(in.remaining(), DeviceSpace.DATA_BYTES);
    MemorySegment.copy(bytes, HEAD_BYTES, device.data, ValueLayout.JAVA_BYTE, 0, length);
    call.result = result;
    long answer;
    program.watch(
        samples.outputs,
        goesOn ? () -> DeviceSpace.scramble(random, device.data, CHANGED_BYTES) : () -> {});
    try {
      answer = HostMarshaller.decode(row, args, call, program);
    } finally {
      program.unwatch();
    }
    if (answer < -4095) {
      throw new AssertionError(row + " ends with " + answer);
    }
    boolean counts = row.result() == ResultKind.BYTES && call.wanted > 0 && !truncates(row, call);
    if (counts && answer > call.carried) {
      throw new AssertionError(row + " says " + answer + " of " + call.carried + " bytes");
    }
    if (answer != result && answer >= 0) {
      throw new AssertionError(row + " ends with " + answer + ", the device says " + result);
    }
    if (call.undelivered < 0 || call.undelivered > call.carried) {
      throw new AssertionError(call.undelivered + " of " + call.carried + " were not delivered");
    }
    for (int i = 0; i < args.length; i++) {
      if (args[i] != asked[i]) {
        throw new AssertionError("the program's argument " + i + " was changed");
      }
    }
  }

  /** Whether the call asks how long a message was. */
  static boolean truncates(Row row, Call call) {
    for (int i = 0; i < row.argCount(); i++) {
      if (row.arg(i).kind() == Arg.Kind.FLAGS
          && row.arg(i).set().equals("MSG")
          && (call.args[i] & Socket.MSG_TRUNC) != 0) {
        return true;
      }
    }
    return false;
  }
}
