// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Memory;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Copies from and to this process itself, which is as good as another one's. */
class ProcessMemoryTest {
  private static final long PAGE = 4096;

  private final Arena arena = Arena.ofShared();
  private final ProcessMemory memory = new ProcessMemory(arena);

  /** Two pages, of which the second is gone. */
  private long pages;

  @BeforeEach
  void map() {
    memory.bind(Processes.gettid());
    pages =
        Linux.mmap(
            0,
            2 * PAGE,
            Memory.PROT_READ | Memory.PROT_WRITE,
            Memory.MAP_PRIVATE | Memory.MAP_ANONYMOUS,
            -1,
            0);
    assertThat(pages).isPositive();
    assertThat(Linux.munmap(pages + PAGE, PAGE)).isZero();
  }

  @AfterEach
  void unmap() {
    Linux.munmap(pages, PAGE);
    arena.close();
  }

  @Test
  void copiesBothWays() {
    MemorySegment here = arena.allocateFrom("hello, world");
    assertThat(memory.write(pages + 10, here, 0, here.byteSize())).isZero();
    MemorySegment back = arena.allocate(32);
    assertThat(memory.read(pages + 10, back, 3, here.byteSize())).isZero();
    assertThat(back.getString(3)).isEqualTo("hello, world");
  }

  @Test
  void memoryThatIsNotThereFaults() {
    MemorySegment here = arena.allocate(64);
    assertThat(memory.read(pages + PAGE, here, 0, 1)).isEqualTo(-Errno.EFAULT);
    assertThat(memory.read(pages + PAGE - 8, here, 0, 16)).isEqualTo(-Errno.EFAULT);
    assertThat(memory.write(pages + PAGE - 8, here, 0, 16)).isEqualTo(-Errno.EFAULT);
    assertThat(memory.read(0, here, 0, 8)).isEqualTo(-Errno.EFAULT);
    assertThat(memory.read(-8, here, 0, 8)).isEqualTo(-Errno.EFAULT);
    assertThat(memory.read(0, here, 0, 0)).isZero();
    assertThat(memory.denied()).isFalse();
  }

  @Test
  void aStringMayEndWithItsPage() {
    byte[] text = "/etc/resolv.conf\0".getBytes(StandardCharsets.US_ASCII);
    MemorySegment to = Linux.at(pages, PAGE);
    MemorySegment.copy(text, 0, to, JAVA_BYTE, PAGE - text.length, text.length);
    MemorySegment out = arena.allocate(64);
    assertThat(memory.readString(pages + PAGE - text.length, out, 0, 64))
        .isEqualTo(text.length - 1);
    assertThat(out.getString(0)).isEqualTo("/etc/resolv.conf");
    to.set(JAVA_BYTE, PAGE - 1, (byte) 'x');
    assertThat(memory.readString(pages + PAGE - text.length, out, 0, 64)).isEqualTo(-Errno.EFAULT);
    assertThat(memory.readString(pages + PAGE - text.length, out, 0, 10))
        .isEqualTo(-Errno.ENAMETOOLONG);
  }

  @Test
  void vectorsAgreeWithAModel() {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("tests.seed=" + seed);
    Random random = new Random(seed);
    MemorySegment area = arena.allocate(4096);
    MemorySegment vector = arena.allocate(16 * 16L, 8);
    MemorySegment piece = arena.allocate(4096);
    for (int round = 0; round < 500; round++) {
      byte[] content = new byte[4096];
      random.nextBytes(content);
      MemorySegment.copy(content, 0, area, JAVA_BYTE, 0, content.length);
      int count = random.nextInt(16);
      int at = 0;
      for (int i = 0; i < count; i++) {
        int length = random.nextInt(4) == 0 ? 0 : random.nextInt(250);
        vector.set(JAVA_LONG, 16L * i, area.address() + at);
        vector.set(JAVA_LONG, 16L * i + 8, length);
        at += length;
      }
      assertThat(memory.vectorLength(vector.address(), count)).isEqualTo(at);
      // The parts lie one after the other, so that the model is one range.
      int skip = at == 0 ? 0 : random.nextInt(at + 1);
      int want = random.nextInt(1000);
      int expected = Math.min(want, at - skip);
      assertThat(memory.readVector(vector.address(), count, skip, piece, 7, want))
          .isEqualTo(expected);
      for (int i = 0; i < expected; i++) {
        assertThat(piece.get(JAVA_BYTE, 7L + i)).isEqualTo(content[skip + i]);
      }
      piece.fill((byte) 0x5a);
      assertThat(memory.writeVector(vector.address(), count, skip, piece, 0, expected))
          .isEqualTo(expected);
      for (int i = 0; i < content.length; i++) {
        byte now = i >= skip && i < skip + expected ? 0x5a : content[i];
        assertThat(area.get(JAVA_BYTE, i)).isEqualTo(now);
      }
    }
  }

  @Test
  void badVectorsAreRefused() {
    MemorySegment vector = arena.allocate(16, 8);
    vector.set(JAVA_LONG, 8, -1);
    assertThat(memory.vectorLength(vector.address(), 1)).isEqualTo(-Errno.EINVAL);
    assertThat(memory.vectorLength(vector.address(), 1025)).isEqualTo(-Errno.EINVAL);
    assertThat(memory.vectorLength(vector.address(), -1)).isEqualTo(-Errno.EINVAL);
    assertThat(memory.vectorLength(pages + PAGE, 1)).isEqualTo(-Errno.EFAULT);
  }
}
