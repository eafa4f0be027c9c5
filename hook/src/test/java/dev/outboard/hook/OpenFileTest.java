// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Socket;
import org.junit.jupiter.api.Test;

class OpenFileTest {
  private final OpenFile file = new OpenFile(4, Socket.AF_INET, Socket.SOCK_STREAM, 0, true);

  @Test
  void anIdleFileIsClosedAtOnce() {
    assertThat(file.use()).isTrue();
    assertThat(file.unuse()).isFalse();
    assertThat(file.abandon()).isTrue();
    assertThat(file.use()).isFalse();
  }

  @Test
  void theLastCallOnAnAbandonedFileClosesIt() {
    assertThat(file.use()).isTrue();
    assertThat(file.use()).isTrue();
    assertThat(file.abandon()).isFalse();
    assertThat(file.use()).isFalse();
    assertThat(file.unuse()).isFalse();
    assertThat(file.unuse()).isTrue();
  }

  @Test
  void aDeferredErrorIsTakenOnce() {
    file.deferError(104);
    assertThat(file.takeDeferredError()).isEqualTo(104);
    assertThat(file.takeDeferredError()).isZero();
  }

  @Test
  void keptBytesAreTakenInOrder() {
    assertThat(file.keeps()).isFalse();
    assertThat(file.takeKept(9, false)).isEmpty();
    file.keep(new byte[] {1, 2, 3});
    file.keep(new byte[] {4});
    assertThat(file.keptBytes()).isEqualTo(4);
    assertThat(file.takeKept(2, true)).containsExactly(1, 2);
    byte[] first = file.takeKept(2, false);
    assertThat(first).containsExactly(1, 2);
    assertThat(file.keptBytes()).isEqualTo(2);
    file.keepAgain(first);
    assertThat(file.takeKept(9, false)).containsExactly(1, 2, 3, 4);
    assertThat(file.keeps()).isFalse();
    file.keepAgain(first);
    file.dropKept();
    assertThat(file.keeps()).isFalse();
  }

  @Test
  void filesAreFoundByHandleUntilTheyAreRemoved() {
    OpenFiles files = new OpenFiles();
    OpenFile far = new OpenFile(50_000, Socket.AF_INET, Socket.SOCK_DGRAM, 0, false);
    files.add(file);
    files.add(far);
    assertThat(files.count()).isEqualTo(2);
    assertThat(files.get(4)).isSameAs(file);
    assertThat(files.get(50_000)).isSameAs(far);
    assertThat(files.get(-1)).isNull();
    assertThat(files.get(1 << 30)).isNull();
    files.remove(4);
    files.remove(4);
    assertThat(files.get(4)).isNull();
    assertThat(files.count()).isEqualTo(1);
  }
}
