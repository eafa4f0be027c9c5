// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.abi.Socket;
import java.util.List;
import org.junit.jupiter.api.Test;

class CallPolicyTest {
  private static boolean denies(CallPolicy policy, String call, long first) {
    return policy.denies(SyscallTable.row(call).x86(), new long[] {first, 0, 0, 0, 0, 0});
  }

  @Test
  void aCallAndItsVariants() {
    CallPolicy policy = CallPolicy.of(List.of("accept", "openat"), List.of());
    for (String call : List.of("accept", "accept4", "open", "openat", "openat2")) {
      assertThat(denies(policy, call, 0)).as(call).isTrue();
    }
    for (String call : List.of("socket", "read", "connect", "close")) {
      assertThat(denies(policy, call, 0)).as(call).isFalse();
    }
    assertThat(policy.isNone()).isFalse();
    assertThat(CallPolicy.of(List.of(), List.of()).isNone()).isTrue();
  }

  @Test
  void families() {
    CallPolicy deny = CallPolicy.of(List.of("socket:AF_PACKET"), List.of());
    assertThat(denies(deny, "socket", Socket.AF_PACKET)).isTrue();
    assertThat(denies(deny, "socket", Socket.AF_INET)).isFalse();
    CallPolicy allow = CallPolicy.of(List.of(), List.of("socket:AF_INET", "socket:AF_UNIX"));
    assertThat(denies(allow, "socket", Socket.AF_INET)).isFalse();
    assertThat(denies(allow, "socket", Socket.AF_INET6)).isTrue();
    assertThat(denies(allow, "socketpair", Socket.AF_UNIX)).isFalse();
    // The kernel looks at 32 bits.
    assertThat(denies(allow, "socket", 1L << 32 | Socket.AF_INET6)).isTrue();
  }

  @Test
  void wordsThatAreNone() {
    for (String word : List.of("bnid", "socket:INET", "socket:", "")) {
      assertThatThrownBy(() -> CallPolicy.of(List.of(word), List.of()))
          .as(word)
          .isInstanceOf(IllegalArgumentException.class);
    }
    assertThatThrownBy(() -> CallPolicy.of(List.of(), List.of("bind")))
        .hasMessageContaining("only families");
  }
}
