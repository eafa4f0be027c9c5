// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.channel.Frame;
import dev.outboard.channel.SlotLayout;
import dev.outboard.syscalls.PseudoCall;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class LookAheadTest {
  private static final int SLOT = 2;
  private static final int HANDLE = 7;

  /** Sockets with their queues, and what the host was told. */
  private static final class Kernel implements LookAhead.Looker {
    final Map<Integer, byte[]> queues = new HashMap<>();
    final List<Frame.Looked> told = new ArrayList<>();
    final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    final ByteArrayOutputStream taken = new ByteArrayOutputStream();
    final MemorySegment data = Arena.ofAuto().allocate(SlotLayout.DATA_BYTES);
    int also;
    int made;
    int last;
    boolean fromStartOnly;

    byte[] queue(int handle) {
      return queues.getOrDefault(handle, new byte[0]);
    }

    void come(int handle, byte[] more) {
      byte[] q = queue(handle);
      byte[] all = Arrays.copyOf(q, q.length + more.length);
      System.arraycopy(more, 0, all, q.length, more.length);
      queues.put(handle, all);
    }

    @Override
    public long make(int number, int handle, long first, long second) {
      made++;
      last = handle;
      byte[] q = queue(handle);
      return switch (number) {
        case PseudoCall.LOOK -> {
          if (first > 0 && fromStartOnly) {
            yield -Errno.EOPNOTSUPP;
          }
          int n = (int) Math.max(0, Math.min(second, q.length - first));
          MemorySegment.copy(q, (int) Math.min(first, q.length), data, ValueLayout.JAVA_BYTE, 0, n);
          yield n;
        }
        case PseudoCall.TAKE -> {
          int n = (int) Math.min(first, q.length);
          taken.write(q, 0, n);
          queues.put(handle, Arrays.copyOfRange(q, n, q.length));
          yield n;
        }
        case PseudoCall.SAMPLE -> q.length > 0 ? Poll.POLLIN : 0;
        default -> 0;
      };
    }

    @Override
    public int mask() {
      return also | (queue(last).length > 0 ? Poll.POLLIN : 0);
    }

    @Override
    public MemorySegment data() {
      return data;
    }

    @Override
    public void tell(Frame.Looked frame) {
      byte[] copy = new byte[frame.bytes().remaining()];
      frame.bytes().get(copy);
      bytes.writeBytes(copy);
      told.add(frame);
    }

    @Override
    public void served() {}

    @Override
    public void due() {}
  }

  private final Kernel kernel = new Kernel();
  private final LookAhead looks = new LookAhead(kernel);

  private void look(int handle, int generation) {
    assertThat(looks.look(new Frame.Look(SLOT, handle, generation))).isNull();
  }

  private static byte[] random(Random random, int count) {
    byte[] bytes = new byte[count];
    random.nextBytes(bytes);
    return bytes;
  }

  private int edges;

  private void edge(int handle) {
    edges++;
    tellEdge(handle);
  }

  /** Tells the last edge, perhaps once more, as a SYNC does. */
  private void tellEdge(int handle) {
    looks.ready(List.of(new Frame.Sample(handle, PseudoCall.withEdges(Poll.POLLIN, edges), edges)));
  }

  @Test
  void anEdgeIsLookedForOnceHoweverOftenItIsTold() {
    look(HANDLE, 1);
    looks.serve();
    kernel.come(HANDLE, new byte[] {1, 2});
    edge(HANDLE);
    tellEdge(HANDLE);
    looks.serve();
    int made = kernel.made;
    tellEdge(HANDLE);
    looks.serve();
    assertThat(kernel.made).isEqualTo(made);
    kernel.come(HANDLE, new byte[] {3});
    edge(HANDLE);
    looks.serve();
    assertThat(kernel.bytes.toByteArray()).containsExactly(1, 2, 3);
    // One that looks anew knows nothing of what others were told.
    kernel.bytes.reset();
    look(HANDLE, 2);
    looks.serve();
    assertThat(kernel.bytes.toByteArray()).containsExactly(1, 2, 3);
    assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, 2, 3))).isNull();
    looks.serve();
    kernel.come(HANDLE, new byte[] {4});
    tellEdge(HANDLE);
    looks.serve();
    assertThat(kernel.bytes.toByteArray()).containsExactly(1, 2, 3, 4);
  }

  /** What is told is what comes, in order and once, and is taken out as the host says. */
  @Test
  void everyByteIsToldOnceAndStaysUntilItIsTaken() {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    Random random = new Random(seed);
    ByteArrayOutputStream came = new ByteArrayOutputStream();
    int received = 0;
    look(HANDLE, 1);
    for (int round = 0; round < 500; round++) {
      switch (random.nextInt(3)) {
        case 0 -> {
          byte[] more = random(random, 1 + random.nextInt(100_000));
          came.writeBytes(more);
          kernel.come(HANDLE, more);
          edge(HANDLE);
        }
        case 1 -> {
          int here = kernel.bytes.size() - received;
          if (here > 0) {
            int n = 1 + random.nextInt(here);
            assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, 1, n))).isNull();
            received += n;
          }
        }
        default -> looks.serve();
      }
      assertThat(kernel.bytes.size() - received).isLessThanOrEqualTo(Frame.Looked.FILE_BYTES);
    }
    while (received < came.size()) {
      looks.serve();
      int here = kernel.bytes.size() - received;
      assertThat(here).isPositive();
      assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, 1, here))).isNull();
      received += here;
    }
    looks.serve();
    assertThat(kernel.bytes.toByteArray()).isEqualTo(came.toByteArray());
    assertThat(kernel.taken.toByteArray()).isEqualTo(came.toByteArray());
    assertThat(kernel.queue(HANDLE)).isEmpty();
    assertThat(kernel.told).noneMatch(Frame.Looked::end);
  }

  @Test
  void eachLookIsAnsweredAndTheEndIsTold() {
    look(HANDLE, 3);
    looks.serve();
    assertThat(kernel.told).hasSize(1);
    assertThat(kernel.told.getFirst().generation()).isEqualTo(3);
    assertThat(kernel.told.getFirst().end()).isFalse();
    kernel.come(HANDLE, new byte[] {1, 2});
    kernel.also = Poll.POLLIN | Poll.POLLRDHUP;
    edge(HANDLE);
    looks.serve();
    assertThat(kernel.bytes.toByteArray()).containsExactly(1, 2);
    Frame.Looked last = kernel.told.getLast();
    assertThat(last.end()).isTrue();
    assertThat(last.never()).isTrue();
    assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, 3, 2))).isNull();
    looks.serve();
    assertThat(kernel.queue(HANDLE)).isEmpty();
    assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, 3, 1))).contains("not told");
  }

  @Test
  void theHostTakesNoMoreThanItWasTold() {
    kernel.come(HANDLE, new byte[10]);
    look(HANDLE, 1);
    looks.serve();
    assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, 1, 6))).isNull();
    assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, 1, 5))).contains("not told");
    assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, 2, 1))).contains("not told");
    assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE + 1, 1, 1))).contains("not told");
  }

  /** What was looked at for nothing is looked at anew, and counts no more. */
  @Test
  void aLookThatEndsLeavesTheQueueAndGivesRoomBack() {
    byte[] all = random(new Random(1), Frame.Looked.FILE_BYTES);
    for (int generation = 1; generation < 6; generation++) {
      kernel.queues.put(HANDLE, all);
      kernel.bytes.reset();
      look(HANDLE, generation);
      looks.serve();
      assertThat(kernel.bytes.toByteArray()).isEqualTo(all);
      assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, generation, 100))).isNull();
      look(HANDLE, 0);
      looks.serve();
      assertThat(kernel.queue(HANDLE)).hasSize(all.length - 100);
    }
    assertThat(kernel.told).noneMatch(Frame.Looked::end);
  }

  /** A host that begins and ends as fast as it can leaves nothing to be done behind. */
  @Test
  void aLookThatEndsBeforeItBeginsIsNothing() {
    for (int generation = 1; generation < 1000; generation++) {
      look(HANDLE, generation);
      assertThat(looks.isQuiet()).isFalse();
    }
    look(HANDLE, 0);
    assertThat(looks.isQuiet()).isTrue();
    looks.serve();
    assertThat(kernel.made).isZero();
    assertThat(kernel.told).isEmpty();
  }

  /** The room of one that fails after the host has ended its look is there for others. */
  @Test
  void aTakeThatFailsGivesRoomBack() {
    for (int generation = 1; generation < 6; generation++) {
      kernel.queues.put(HANDLE, new byte[Frame.Looked.FILE_BYTES]);
      kernel.bytes.reset();
      look(HANDLE, generation);
      looks.serve();
      assertThat(kernel.bytes.size()).isEqualTo(Frame.Looked.FILE_BYTES);
      assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, generation, 100))).isNull();
      look(HANDLE, 0);
      kernel.queues.put(HANDLE, new byte[3]); // somebody else took them
      looks.serve();
    }
  }

  @Test
  void oneThatFindsNoRoomIsGivenUpUntilItIsAskedForAgain() {
    for (int handle = 0; handle < 3; handle++) {
      kernel.come(handle, new byte[Frame.Looked.FILE_BYTES]);
      look(handle, handle + 1);
    }
    looks.serve();
    assertThat(kernel.bytes.size()).isEqualTo(Frame.Looked.SESSION_BYTES);
    Frame.Looked last = kernel.told.getLast();
    assertThat(last.handle()).isEqualTo(2);
    assertThat(last.end()).isTrue();
    assertThat(last.never()).isFalse();
    assertThat(looks.taken(new Frame.Taken(SLOT, 0, 1, Frame.Looked.FILE_BYTES))).isNull();
    look(2, 9);
    kernel.bytes.reset();
    looks.serve();
    assertThat(kernel.bytes.size()).isPositive();
  }

  /** A kernel that can only look from a queue's start goes on when that is reached. */
  @Test
  void anOlderKernelTellsPieceAfterPiece() {
    kernel.fromStartOnly = true;
    byte[] all = random(new Random(2), 400_000);
    kernel.come(HANDLE, all);
    look(HANDLE, 1);
    int received = 0;
    while (received < all.length) {
      looks.serve();
      int here = kernel.bytes.size() - received;
      assertThat(here).isPositive();
      received += here;
      assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, 1, here))).isNull();
    }
    assertThat(kernel.bytes.toByteArray()).isEqualTo(all);
  }

  @Test
  void bytesThatAreGoneFailTheSocket() {
    kernel.come(HANDLE, new byte[10]);
    look(HANDLE, 1);
    looks.serve();
    kernel.queues.put(HANDLE, new byte[3]); // somebody else took them
    assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, 1, 10))).isNull();
    looks.serve();
    Frame.Looked last = kernel.told.getLast();
    assertThat(last.end()).isTrue();
    assertThat(last.errno()).isEqualTo(Errno.EIO);
  }

  /** What is received whole is not looked for again: what comes then is told of by an edge. */
  @Test
  void whatIsTakenWholeIsOneCall() {
    look(HANDLE, 1);
    looks.serve();
    for (int i = 0; i < 10; i++) {
      kernel.come(HANDLE, new byte[100]);
      edge(HANDLE);
      looks.serve();
      int before = kernel.made;
      assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, 1, 100))).isNull();
      looks.serve();
      assertThat(kernel.made - before).isOne();
    }
    assertThat(kernel.bytes.size()).isEqualTo(1000);
  }

  /** Calls wait for what the host has asked before them, and SYNCs for all. */
  @Test
  void whoeverComesAfterWaits() throws InterruptedException {
    look(HANDLE, 1);
    looks.serve();
    kernel.come(HANDLE, new byte[10]);
    edge(HANDLE);
    looks.awaitAsked(looks.asked(), () -> false); // that an edge waits is nothing to a call
    Thread sync = Thread.ofPlatform().start(() -> looks.await(looks.changed(HANDLE), () -> false));
    assertThat(sync.join(java.time.Duration.ofMillis(50))).isFalse();
    looks.serve();
    sync.join();
    assertThat(looks.taken(new Frame.Taken(SLOT, HANDLE, 1, 10))).isNull();
    long asked = looks.asked();
    Thread call = Thread.ofPlatform().start(() -> looks.awaitAsked(asked, () -> false));
    assertThat(call.join(java.time.Duration.ofMillis(50))).isFalse();
    looks.serve();
    call.join();
    assertThat(kernel.queue(HANDLE)).isEmpty();
  }
}
