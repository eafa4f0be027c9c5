// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;

/**
 * AF_ALG. The machine's own kernel may lack it, so it is judged on the library kernel alone; what
 * comes out is compared with known answers and with what the program computes by itself.
 */
class CiphersTest {
  @Scenario(modes = Mode.LIBRARY)
  void hashesAndCiphersOfTheDevicesKernel(Trial trial) {
    Finished done =
        trial
            .program(Programs.PYTHON, Programs.python("ciphers"))
            .run(Duration.ofSeconds(60))
            .expectSuccess();
    assertThat(done.output().lines())
        .containsExactly(
            "sha256 True",
            "sha256 of two parts True",
            "duplicated True",
            "sha512 by send True True",
            "sha512 by write True True",
            "sha512 by sendmsg True True",
            "sha512 by sendfile True True",
            "hmac True",
            "cbc True True",
            "ecb True True",
            "ctr True True",
            "xts True True",
            "first block True",
            "all blocks True",
            "gcm(aes) True True",
            "gcm(aes) changed: Bad message",
            "ccm(aes) True True",
            "ccm(aes) changed: Bad message",
            "rfc7539(chacha20,poly1305) True True",
            "rfc7539(chacha20,poly1305) changed: Bad message",
            "random [128, 20, 128, 128, 20, 128] True True",
            "no such hash");
  }
}
