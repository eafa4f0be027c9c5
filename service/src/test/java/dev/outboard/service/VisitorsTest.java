// SPDX-License-Identifier: MIT
package dev.outboard.service;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.channel.Decoded;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.ServiceFrame;
import dev.outboard.posix.Restriction;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Who may ask a service what. */
class VisitorsTest {
  private static final int LIMIT_MILLIS = 10_000;

  /** One of which no kernel ever comes up. */
  static Service service() {
    List<String> never = List.of("/bin/false");
    return new Service(
        new Service.Command(never, never, CpuShare.NONE, Restriction.NONE),
        new ServiceOptions("test", 2, false, line -> {}, line -> {}));
  }

  /** By a relay its kernel's sessions, those of other hosts among them, could be seen. */
  @Test
  void whoComesFromElsewhereIsNotToldTheStatus() throws Exception {
    try (Service service = service();
        FrameStream stream = new FrameStream(service.open(new Guest("key", "a host elsewhere")))) {
      stream.send(new ServiceFrame.StatusRequest(1));
      assertThat(stream.receive(LIMIT_MILLIS))
          .isInstanceOfSatisfying(
              Decoded.Received.class,
              answer ->
                  assertThat(answer.frame())
                      .isInstanceOfSatisfying(
                          Frame.Bye.class,
                          bye -> assertThat(bye.why()).contains("no session asks for the status")));
      assertThat(service.status().service().refused()).isEqualTo(1);
      assertThat(service.status().service().sessions()).isZero();
    }
  }

  /** The kernel's process that it is to have ends at once: it is told why it gets none. */
  @Test
  void aSessionWhoseKernelDoesNotStartIsToldSo() throws Exception {
    try (Service service = service();
        FrameStream stream = new FrameStream(service.open(new Guest("key", "a host elsewhere")))) {
      stream.send(new ServiceFrame.Join("name"));
      assertThat(stream.receive(LIMIT_MILLIS))
          .isInstanceOfSatisfying(
              Decoded.Received.class,
              answer -> assertThat(answer.frame().toString()).contains("did not start"));
    }
  }
}
