// SPDX-License-Identifier: MIT
package dev.outboard.service;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.channel.SessionFate;
import dev.outboard.posix.Restriction;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** Who comes to a service from elsewhere. */
class VisitorsTest {
  /** One of which no kernel ever comes up. */
  static Service service() {
    List<String> never = List.of("/bin/false");
    return new Service(
        new Service.Command(never, never, CpuShare.NONE, Restriction.NONE),
        new ServiceOptions("test", 2, false, line -> {}, line -> {}));
  }

  private static final class Fates implements SessionFate {
    final BlockingQueue<String> told = new LinkedBlockingQueue<>();

    @Override
    public void says(String line) {
      told.add(line);
    }

    @Override
    public void ended(String why) {
      told.add("ended: " + why);
    }
  }

  /** The kernel's process that it is to have ends at once: it is told why it gets none. */
  @Test
  void aSessionWhoseKernelDoesNotStartIsToldSo() throws Exception {
    try (Service service = service()) {
      Fates fates = new Fates();
      assertThatThrownBy(() ->
              service.open(new Guest("key", "a host elsewhere"), "name", Duration.ZERO, fates))
          .isInstanceOf(ServiceException.class)
          .hasMessageContaining("did not start");
      assertThat(fates.told.poll(10, TimeUnit.SECONDS)).startsWith("ended: its kernel's process");
      assertThat(service.status().service().refused()).isEqualTo(1);
      assertThat(service.sessions()).isZero();
    }
  }
}
