// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Socket;
import dev.outboard.channel.SlotLayout;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.SocketOptions;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

class ShimBlobTest {
  private static long constant(String source, String name) {
    Matcher m =
        Pattern.compile("(?m)^#define " + name + " (-?(?:0x[0-9a-f]+|[0-9]+))\\b").matcher(source);
    assertThat(m.find()).as(name).isTrue();
    return Long.decode(m.group(1));
  }

  @Test
  void theSourceHasTheLayoutsAddresses() throws IOException {
    String s =
        Files.readString(Path.of("src/main/c/layout.h"))
            + Files.readString(Path.of("src/main/c/arch/x86_64/addresses.h"));
    assertThat(constant(s, "BASE")).isEqualTo(ShimLayout.BASE);
    assertThat(constant(s, "TEXT")).isEqualTo(ShimLayout.TEXT);
    assertThat(constant(s, "GATE")).isEqualTo(ShimLayout.GATE);
    assertThat(constant(s, "FILE_BYTES")).isEqualTo(ShimLayout.FILE_BYTES);
    assertThat(constant(s, "SELF")).isEqualTo(ShimLayout.SELF);
    assertThat(constant(s, "TABLE")).isEqualTo(ShimLayout.TABLE);
    assertThat(constant(s, "MAX_FD")).isEqualTo(ShimLayout.MAX_FD);
    assertThat(constant(s, "COUNTERS_OFFSET")).isEqualTo(ShimLayout.COUNTERS_OFFSET);
    assertThat(constant(s, "DEVICE_COUNTERS_OFFSET")).isEqualTo(ShimLayout.DEVICE_COUNTERS_OFFSET);
    assertThat(constant(s, "DEVICE_BYTES_OFFSET")).isEqualTo(ShimLayout.DEVICE_BYTES_OFFSET);
    assertThat(constant(s, "CONTROL_OFFSET")).isEqualTo(ShimLayout.CONTROL_OFFSET);
    assertThat(constant(s, "AT_ONCE_OFFSET")).isEqualTo(ShimLayout.AT_ONCE_OFFSET);
    assertThat(constant(s, "AT_ONCE_NUMBERS")).isEqualTo(ShimLayout.AT_ONCE_NUMBERS);
    assertThat(constant(s, "NAMES_OFFSET")).isEqualTo(ShimLayout.NAMES_OFFSET);
    assertThat(constant(s, "NAMES_BYTES")).isEqualTo(ShimLayout.NAMES_BYTES);
    assertThat(constant(s, "HANDLES_OFFSET")).isEqualTo(ShimLayout.HANDLES_OFFSET);
    assertThat(constant(s, "SPINS_OFFSET")).isEqualTo(ShimLayout.SPINS_OFFSET);
    assertThat(constant(s, "SPIN_NUMBERS")).isEqualTo(ShimLayout.SPIN_NUMBERS);
    assertThat(constant(s, "TABLE_BYTES")).isEqualTo(ShimLayout.TABLE_BYTES);
    assertThat(constant(s, "SETS_OFFSET")).isEqualTo(ShimLayout.SETS_OFFSET);
    assertThat(constant(s, "MAX_SETS")).isEqualTo(ShimLayout.MAX_SETS);
    assertThat(constant(s, "SET_BYTES")).isEqualTo(ShimLayout.SET_BYTES);
    assertThat(constant(s, "SET_HEADER")).isEqualTo(ShimLayout.SET_HEADER);
    assertThat(constant(s, "MEMBER_BYTES")).isEqualTo(ShimLayout.MEMBER_BYTES);
    assertThat(constant(s, "STATE_SET")).isEqualTo(ShimLayout.STATE_SET);
    assertThat(constant(s, "ATTACHED")).isEqualTo(ShimLayout.ATTACHED);
    assertThat(constant(s, "STATE_HOST")).isEqualTo(ShimLayout.STATE_HOST);
    assertThat(constant(s, "STATE_DEVICE")).isEqualTo(ShimLayout.STATE_DEVICE);
    assertThat(constant(s, "STATE_FILE")).isEqualTo(ShimLayout.STATE_FILE);
    assertThat(constant(s, "STATE_QUIET_FILE")).isEqualTo(ShimLayout.STATE_QUIET_FILE);
    assertThat(constant(s, "HANDLE_NUMBER")).isEqualTo(ShimLayout.HANDLE_NUMBER);
    assertThat((int) constant(s, "HANDLE_WATCHED")).isEqualTo(ShimLayout.HANDLE_WATCHED);
    assertThat(constant(s, "HANDLE_STREAM")).isEqualTo(ShimLayout.HANDLE_STREAM);
    assertThat(constant(s, "ASK_ATTACH")).isEqualTo(ShimLayout.ASK_ATTACH);
    assertThat(constant(s, "ASK_SLOT")).isEqualTo(ShimLayout.ASK_SLOT);
    assertThat(constant(s, "ASK_KEEP")).isEqualTo(ShimLayout.ASK_KEEP);
    assertThat(constant(s, "ASK_PUT_OFF")).isEqualTo(ShimLayout.ASK_PUT_OFF);
    assertThat(constant(s, "ASK_ATTACHED")).isEqualTo(ShimLayout.ASK_ATTACHED);
    assertThat(constant(s, "SLOTS")).isEqualTo(ShimLayout.SLOTS);
    assertThat(constant(s, "MAX_SLOTS")).isEqualTo(ShimLayout.MAX_SLOTS);
    assertThat(constant(s, "SLOT_BYTES")).isEqualTo(SlotLayout.BYTES);
    assertThat(constant(s, "SLOT_DATA")).isEqualTo(SlotLayout.DATA);
    assertThat(constant(s, "PIECE_BYTES")).isEqualTo(Call.PIECE_BYTES);
    assertThat(constant(s, "RING")).isEqualTo(SlotLayout.RING);
    assertThat(constant(s, "RING_BYTES")).isEqualTo(SlotLayout.RING_BYTES);
    assertThat(constant(s, "AHEAD_BYTES")).isEqualTo(SlotLayout.AHEAD_BYTES);
    assertThat(constant(s, "AHEAD_COST")).isEqualTo(SlotLayout.AHEAD_COST);
    assertThat(constant(s, "CREDIT_BYTES")).isEqualTo(SlotLayout.CREDIT_BYTES);
    assertThat(constant(s, "PEEKED")).isEqualTo(SlotLayout.PEEKED);
    assertThat(constant(s, "PEEKED_ENTRIES")).isEqualTo(SlotLayout.PEEKED_ENTRIES);
    assertThat(constant(s, "PEEKED_BYTES")).isEqualTo(SlotLayout.PEEKED_BYTES);
    assertThat(constant(s, "WANTS_PEEKS")).isEqualTo(SlotLayout.WANTS_PEEKS);
    assertThat(constant(s, "WANTS_TAKING")).isEqualTo(SlotLayout.WANTS_TAKING);
    assertThat(constant(s, "WANTS_CREDIT")).isEqualTo(SlotLayout.WANTS_CREDIT);
    assertThat(constant(s, "ANSWER_BYTES")).isEqualTo(SocketOptions.ASKED_BYTES);
    assertThat(constant(s, "ASKED_SOCKET")).isEqualTo(SocketOptions.asked(Socket.SOL_SOCKET));
    assertThat(constant(s, "ASKED_IP")).isEqualTo(SocketOptions.asked(Socket.SOL_IP));
    assertThat(constant(s, "ASKED_IPV6")).isEqualTo(SocketOptions.asked(Socket.SOL_IPV6));
    assertThat(constant(s, "ASKED_TCP")).isEqualTo(SocketOptions.asked(Socket.IPPROTO_TCP));
  }

  @Test
  void stubsAndPointersFit() {
    long stubs = ShimLayout.STUBS + (long) ShimLayout.MAX_STUBS * ShimLayout.STUB_BYTES;
    assertThat(stubs).isLessThanOrEqualTo(ShimLayout.TEXT);
    assertThat(ShimLayout.BASE + (long) ShimLayout.MAX_STUBS * ShimLayout.POINTER_BYTES)
        .isLessThanOrEqualTo(ShimLayout.IMAGE_NUMBER);
    assertThat(ShimLayout.BASE >>> 16).as("the code of syscall").isEqualTo(0x050f);
    assertThat(ShimLayout.STUBS >>> 16).isEqualTo(0x0510);
    assertThat(ShimLayout.TABLE + ShimLayout.TABLE_BYTES).isLessThanOrEqualTo(ShimLayout.SLOTS);
  }

  @Test
  void anInjectionHasItsParameters() {
    ShimBlob blob = ShimBlob.load();
    byte[] code = blob.injection(0x1234_5678_9abcL, 257, 11, 12, 3);
    assertThat(code).hasSize(blob.injectionBytes()).hasSizeLessThan(512);
    ByteBuffer tail =
        ByteBuffer.wrap(code, code.length - 28, 28).slice().order(ByteOrder.LITTLE_ENDIAN);
    assertThat(tail.getLong()).isEqualTo(0x1234_5678_9abaL);
    assertThat(tail.getLong()).isEqualTo(3L * ShimLayout.TABLE_BYTES);
    assertThat(tail.getInt()).isEqualTo(11);
    assertThat(tail.getInt()).isEqualTo(12);
    assertThat(tail.getInt()).isEqualTo(257);
  }
}
