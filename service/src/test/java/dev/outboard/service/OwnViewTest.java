// SPDX-License-Identifier: MIT
package dev.outboard.service;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.channel.ServiceFrame;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What a guest gets to know, and how many may ask. */
class OwnViewTest {
  private static final Guest ONE = new Guest("one", "one at 10.0.0.1:1");
  private static final Guest OTHER = new Guest("other", "other at 10.0.0.2:1");

  private static ServiceFrame.SessionStatus session(long id, String program) {
    return new ServiceFrame.SessionStatus(
        id,
        "run",
        1,
        2,
        3,
        4,
        5,
        6,
        9,
        10,
        7,
        8,
        List.of(new ServiceFrame.Program(4711, 1000, program)));
  }

  private static ServiceFrame.KernelStatus kernel(ServiceFrame.SessionStatus... sessions) {
    return new ServiceFrame.KernelStatus(
        99, "web", 4242, "library", "6.12", 11, 12, 50, 13, 14, List.of(sessions));
  }

  @Test
  void ofASharedKernelItIsTheSessionsAndNothingThatOthersChange() {
    ServiceFrame.KernelStatus seen =
        OwnView.of(
            kernel(session(7, "mine"), session(8, "secret"), session(9, "mine too")),
            Map.of(7L, 1L, 9L, 2L),
            true);
    assertThat(seen)
        .isEqualTo(
            new ServiceFrame.KernelStatus(
                0,
                "web",
                0,
                "library",
                "6.12",
                0,
                0,
                50,
                0,
                0,
                List.of(session(1, "mine"), session(2, "mine too"))));
    assertThat(seen.toString()).doesNotContain("secret", "4242", "id=7", "id=8", "id=9");
    // The same whether the others are there or not.
    assertThat(
            OwnView.of(
                kernel(session(7, "mine"), session(9, "mine too")), Map.of(7L, 1L, 9L, 2L), true))
        .isEqualTo(seen);
  }

  @Test
  void ofAKernelOfOnesOwnItIsWhatItUses() {
    assertThat(OwnView.of(kernel(session(7, "mine")), Map.of(7L, 3L), false))
        .isEqualTo(
            new ServiceFrame.KernelStatus(
                0, "web", 0, "library", "6.12", 11, 12, 50, 13, 14, List.of(session(3, "mine"))));
  }

  /** A kernel that somebody has got hold of says what it likes. */
  @Test
  void whatAKernelClaimsOfOthersSessionsIsNotBelieved() {
    assertThat(OwnView.of(kernel(session(8, "forged")), Map.of(7L, 1L), false).sessions())
        .isEmpty();
  }

  @Test
  void theServiceSaysOfItselfWhatNobodyElseChanges() throws Exception {
    try (Service service = VisitorsTest.service();
        Asking one = service.ask(ONE, false)) {
      ServiceFrame.ServiceStatus before = one.status(false).service();
      assertThat(before.ownOnly()).isTrue();
      assertThat(before.pid()).isZero();
      assertThat(before.maxSessions()).isEqualTo(2);
      // Another one's refusals are his, and the operator's.
      List<Asking> others = new ArrayList<>();
      for (int i = 0; i < Service.MAX_ASKING_EACH; i++) {
        others.add(service.ask(OTHER, false));
      }
      assertThatThrownBy(() -> service.ask(OTHER, false))
          .isInstanceOf(ServiceException.class)
          .hasMessageContaining(Service.MAX_ASKING_EACH + " times already");
      ServiceFrame.ServiceStatus after = one.status(false).service();
      assertThat(after.refused()).isZero();
      assertThat(after.sessions()).isZero();
      assertThat(others.getFirst().status(false).service().refused()).isEqualTo(1);
      assertThat(one.status(true).service().refused()).isEqualTo(1);
      assertThat(one.status(true).service().ownOnly()).isFalse();
      // One that is over makes room, and only once.
      others.getFirst().close();
      others.getFirst().close();
      service.ask(OTHER, false).close();
      others.set(0, service.ask(OTHER, false));
      assertThatThrownBy(() -> service.ask(OTHER, false)).isInstanceOf(ServiceException.class);
    }
  }

  @Test
  void howManyAskIsBoundedAndTheOperatorGetsIn() throws Exception {
    try (Service service = VisitorsTest.service()) {
      for (int i = 0; i < Service.MAX_ASKING; i++) {
        service.ask(new Guest("guest " + i, "guest"), false);
      }
      assertThatThrownBy(() -> service.ask(ONE, false))
          .isInstanceOf(ServiceException.class)
          .hasMessageContaining("too many hosts");
      for (int i = 0; i < Service.MAX_ASKING_EACH; i++) {
        service.ask(OTHER, true);
      }
      assertThatThrownBy(() -> service.ask(OTHER, true)).isInstanceOf(ServiceException.class);
      assertThat(service.status().service().refused()).isEqualTo(2);
    }
  }
}
