// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.abi.Errno;
import org.junit.jupiter.api.Test;

/** What the demo takes for a proof that a kernel encrypts. */
class TlsProofTest {
  private static final String TEXT =
      """
      TlsCurrTxSw                     \t7
      TlsCurrRxSw                     \t8
      TlsTxSw                         \t12
      TlsRxSw                         \t3
      TlsTxDevice                     \t0
      TlsDecryptError                 \t0
      """;

  private static boolean right(DemoSite.By by, long sending, long receiving) {
    return new TlsProof(new DemoSite.Request("1k", by), "agreed", new TlsCounts(sending, receiving))
        .doubt()
        .isEmpty();
  }

  @Test
  void aConnectionCountsOnce() {
    assertThat(right(DemoSite.By.TLS_1_2, 1, 1)).isTrue();
    assertThat(right(DemoSite.By.TLS_1_3, 1, 0)).isTrue();
    assertThat(right(DemoSite.By.TLS_1_3, 1, 1)).isTrue();
    assertThat(right(DemoSite.By.TLS_1_2, 1, 0)).isFalse();
    for (DemoSite.By by : new DemoSite.By[] {DemoSite.By.TLS_1_2, DemoSite.By.TLS_1_3}) {
      assertThat(right(by, 0, 0)).isFalse();
      assertThat(right(by, 0, 1)).isFalse();
      assertThat(right(by, 2, 1)).isFalse();
      assertThat(right(by, 1, 2)).isFalse();
      assertThat(right(by, -1, 1)).isFalse();
      assertThat(right(by, 1, -1)).isFalse();
    }
  }

  @Test
  void theKernelsCountsAreRead() {
    TlsCounts counts = TlsCounts.parse(TEXT);
    assertThat(counts).isEqualTo(new TlsCounts(12, 3));
    assertThat(counts.since(new TlsCounts(10, 3))).isEqualTo(new TlsCounts(2, 0));
    for (String wrong :
        new String[] {"", "TlsTxSw 1", "TlsTxSw 1\nTlsRxSw x", "TlsTxSw\nTlsRxSw"}) {
      assertThatThrownBy(() -> TlsCounts.parse(wrong))
          .isInstanceOf(Failure.class)
          .hasMessageContaining("tls_stat");
    }
  }

  @Test
  void theHostsAnswerIsUnderstood() {
    assertThat(HostTls.answered(-Errno.ENOENT)).isEqualTo(HostTls.LACKING);
    assertThat(HostTls.answered(-Errno.ENOTCONN)).isEqualTo(HostTls.READY);
    assertThat(HostTls.answered(-Errno.EPERM)).isEqualTo(HostTls.UNKNOWN);
  }
}
