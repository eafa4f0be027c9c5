// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.channel.Frame;
import dev.outboard.channel.SlotLayout;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.SyscallTable;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.Test;

class SendQueueTest {
  private static final int SLOT = 3;
  private static final int HANDLE = 9;

  private final AheadOrder order = new AheadOrder();
  private final ByteQueue.Pool pool = new ByteQueue.Pool();
  private final SendQueue queue = new SendQueue(order, pool);
  private final Call call = new Call(Arena.ofAuto().allocate(SlotLayout.DATA_BYTES));

  private static Frame.Ahead piece(boolean first, boolean end, int flags, byte[] bytes) {
    return new Frame.Ahead(
        SLOT,
        first,
        end ? Frame.Ahead.Kind.END : Frame.Ahead.Kind.BYTES,
        HANDLE,
        flags,
        ByteBuffer.wrap(bytes));
  }

  /** What is sent is what came, in order, and all of it is accounted for, whatever is taken. */
  @Test
  void nothingIsLostAndAllIsAcknowledged() {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    Random random = new Random(seed);
    ByteArrayOutputStream came = new ByteArrayOutputStream();
    ByteArrayOutputStream sent = new ByteArrayOutputStream();
    int frames = 0;
    int framesDone = 0;
    int bytesDone = 0;
    boolean first = true;
    for (int round = 0; round < 600; round++) {
      if (frames - framesDone < 20 && random.nextBoolean()) {
        byte[] bytes =
            new byte[1 + random.nextInt(random.nextInt(8) == 0 ? Frame.Ahead.MAX_BYTES : 3000)];
        random.nextBytes(bytes);
        came.writeBytes(bytes);
        assertThat(queue.add(piece(first, false, random.nextInt(2), bytes))).isNull();
        first = false;
        frames++;
      } else if (queue.fill(call)) {
        assertThat(call.number).isEqualTo(PseudoCall.SEND);
        assertThat(call.args[0]).isEqualTo(HANDLE);
        int most = (int) call.args[2];
        assertThat(most).isBetween(1, Call.PIECE_BYTES);
        int taken = random.nextInt(4) == 0 ? 1 + random.nextInt(most) : most;
        sent.writeBytes(call.data.asSlice(0, taken).toArray(ValueLayout.JAVA_BYTE));
        Frame.Done done = queue.made(SLOT, taken);
        if (done == null && random.nextInt(8) == 0) {
          done = queue.untold(SLOT);
        }
        if (done != null) {
          assertThat(done.errno()).isZero();
          bytesDone += done.bytes();
          framesDone += done.frames();
        }
        assertThat(sent.size() - bytesDone).isBetween(0, SendQueue.TELL_BYTES - 1);
      } else {
        assertThat(framesDone).isEqualTo(frames);
        assertThat(bytesDone).isEqualTo(came.size());
      }
    }
    assertThat(sent.toByteArray())
        .isEqualTo(java.util.Arrays.copyOf(came.toByteArray(), sent.size()));
  }

  @Test
  void whatComesBehindAnErrorIsThrownAwayUntilTheHostBeginsAnew() {
    queue.add(piece(true, false, 0, new byte[100]));
    queue.add(piece(false, false, 0, new byte[50]));
    queue.fill(call);
    assertThat(queue.made(SLOT, 30)).isNull();
    queue.fill(call);
    assertThat(queue.made(SLOT, -Errno.ECONNRESET))
        .isEqualTo(new Frame.Done(SLOT, 150, 2, Errno.ECONNRESET));
    assertThat(queue.dropped(SLOT)).isNull();
    queue.add(piece(false, false, 0, new byte[7]));
    queue.add(piece(false, true, 0, new byte[0]));
    assertThat(queue.dropped(SLOT)).isEqualTo(new Frame.Done(SLOT, 7, 2, Errno.ECONNRESET));
    assertThat(queue.fill(call)).isFalse();
    queue.add(piece(true, false, 0, new byte[5]));
    assertThat(queue.dropped(SLOT)).isNull();
    assertThat(queue.fill(call)).isTrue();
    assertThat(queue.made(SLOT, 5)).isEqualTo(new Frame.Done(SLOT, 5, 1, 0));
  }

  @Test
  void theEndComesBehindTheBytes() {
    queue.add(piece(true, false, 0, new byte[10]));
    queue.add(piece(false, true, 0, new byte[0]));
    assertThat(queue.fill(call)).isTrue();
    assertThat(call.number).isEqualTo(PseudoCall.SEND);
    assertThat(queue.made(SLOT, 10)).isNull();
    assertThat(queue.fill(call)).isTrue();
    assertThat(call.number).isNotEqualTo(PseudoCall.SEND);
    assertThat(queue.made(SLOT, -Errno.ENOTCONN)).isEqualTo(new Frame.Done(SLOT, 10, 2, 0));
    assertThat(queue.fill(call)).isFalse();
  }

  private static Frame.Ahead option(boolean first, int name, int value) {
    ByteBuffer bytes = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(0, value);
    return new Frame.Ahead(SLOT, first, Frame.Ahead.Kind.OPTION, HANDLE, name, bytes);
  }

  private void expectOption(int name, int value) {
    assertThat(queue.fill(call)).isTrue();
    assertThat(call.number).isEqualTo(SyscallTable.row("setsockopt").canonical());
    assertThat(call.args).containsExactly(HANDLE, Socket.IPPROTO_TCP, name, 0, 4, 0);
    assertThat(call.data.get(ValueLayout.JAVA_INT, 0)).isEqualTo(value);
  }

  @Test
  void anOptionIsSetBetweenTheBytesWhereItCame() {
    queue.add(option(true, 3, 1));
    queue.add(piece(false, false, 3, new byte[10])); // flags like the option's name
    queue.add(option(false, 3, 0));
    queue.add(piece(false, false, 3, new byte[5]));
    // What holds back the bytes behind it is set with them; again, if they have to wait.
    for (int i = 0; i < 2; i++) {
      assertThat(queue.fill(call)).isTrue();
      assertThat(call.number).isEqualTo(PseudoCall.SEND);
      assertThat(call.args).containsExactly(HANDLE, 0, 10, 3, 0, 1);
      queue.blocks();
    }
    assertThat(queue.made(SLOT, 4)).isNull();
    assertThat(queue.fill(call)).isTrue();
    assertThat(call.args).containsExactly(HANDLE, 0, 6, 3, 0, 0);
    assertThat(queue.made(SLOT, 6)).isNull();
    expectOption(3, 0);
    assertThat(queue.made(SLOT, 0)).isNull();
    assertThat(queue.fill(call)).isTrue();
    assertThat(queue.made(SLOT, 5)).isEqualTo(new Frame.Done(SLOT, 15, 4, 0));
    assertThat(queue.fill(call)).isFalse();
    assertThat(order.isIdle()).isTrue();
  }

  /** Also what came when it was not yet known here that there is an error. */
  @Test
  void whatIsBehindAnErrorIsNoCall() {
    queue.add(piece(true, false, 0, new byte[10]));
    assertThat(queue.fill(call)).isTrue();
    assertThat(queue.made(SLOT, -Errno.ECONNRESET))
        .isEqualTo(new Frame.Done(SLOT, 10, 1, Errno.ECONNRESET));
    assertThat(queue.dropped(SLOT)).isNull();
    queue.add(piece(false, false, 0, new byte[7]));
    assertThat(queue.fill(call)).isFalse();
    assertThat(queue.isEmpty()).isFalse();
    assertThat(queue.dropped(SLOT)).isEqualTo(new Frame.Done(SLOT, 7, 1, Errno.ECONNRESET));
    queue.add(piece(true, false, 0, new byte[5]));
    assertThat(queue.fill(call)).isTrue();
  }

  @Test
  void anOptionThatHoldsBackIsSetWithItsOwnBytesAlone() {
    queue.add(option(true, 3, 1));
    expectOption(3, 1);
    assertThat(queue.made(SLOT, 0)).isEqualTo(new Frame.Done(SLOT, 0, 1, 0));
    queue.add(option(true, 3, 1));
    queue.add(
        new Frame.Ahead(
            SLOT, false, Frame.Ahead.Kind.BYTES, HANDLE + 1, 0, ByteBuffer.wrap(new byte[3])));
    expectOption(3, 1);
    assertThat(queue.made(SLOT, 0)).isNull();
    assertThat(queue.fill(call)).isTrue();
    assertThat(call.args).containsExactly(HANDLE + 1, 0, 3, 0, 0, 0);
    assertThat(queue.made(SLOT, 3)).isEqualTo(new Frame.Done(SLOT, 3, 2, 0));
    // An error throws away what it was set for; it is set all the same.
    queue.add(option(true, 3, 1));
    queue.add(piece(false, false, 0, new byte[4]));
    assertThat(queue.fill(call)).isTrue();
    assertThat(call.args).containsExactly(HANDLE, 0, 4, 0, 0, 1);
    assertThat(queue.made(SLOT, -Errno.EPIPE)).isEqualTo(new Frame.Done(SLOT, 4, 2, Errno.EPIPE));
    queue.add(option(false, 3, 1));
    queue.add(piece(false, false, 0, new byte[4]));
    expectOption(3, 1);
    assertThat(queue.made(SLOT, 0)).isEqualTo(new Frame.Done(SLOT, 0, 1, Errno.EPIPE));
    Frame.Done last = Objects.requireNonNull(queue.dropped(SLOT));
    assertThat(last).isEqualTo(new Frame.Done(SLOT, 4, 1, Errno.EPIPE));
    expectHeldUpUntilTold(last);
  }

  @Test
  void anOptionIsSetThoughTheBytesBeforeItAreThrownAway() {
    queue.add(piece(true, false, 0, new byte[10]));
    queue.add(piece(false, false, 0, new byte[10]));
    queue.add(option(false, 1, 1));
    queue.add(piece(false, false, 0, new byte[7]));
    queue.fill(call);
    assertThat(queue.made(SLOT, -Errno.ECONNRESET))
        .isEqualTo(new Frame.Done(SLOT, 20, 2, Errno.ECONNRESET));
    assertThat(queue.dropped(SLOT)).isNull();
    expectOption(1, 1);
    assertThat(queue.made(SLOT, 0)).isEqualTo(new Frame.Done(SLOT, 0, 1, Errno.ECONNRESET));
    Frame.Done last = Objects.requireNonNull(queue.dropped(SLOT));
    assertThat(last).isEqualTo(new Frame.Done(SLOT, 7, 1, Errno.ECONNRESET));
    assertThat(queue.fill(call)).isFalse();
    expectHeldUpUntilTold(last);
  }

  @Test
  void nobodyWaitsForASlotThatIsTakenBack() {
    queue.add(piece(true, false, 0, new byte[10]));
    assertThat(queue.holdsUp(order.added())).isTrue();
    queue.abandon();
    assertThat(queue.holdsUp(order.added())).isFalse();
    assertThat(order.isIdle()).isTrue();
    assertThat(pool.count()).as("its memory is given back").isEqualTo(1);
  }

  /** Calls that come after an error may be about it. */
  private void expectHeldUpUntilTold(Frame.Done error) {
    assertThat(order.isIdle()).isFalse();
    assertThat(queue.holdsUp(order.added())).isTrue();
    assertThat(queue.isOf(HANDLE)).isTrue();
    queue.isTold(error);
    assertThat(order.isIdle()).isTrue();
    assertThat(queue.holdsUp(order.added())).isFalse();
    assertThat(queue.isOf(HANDLE)).isFalse();
  }

  @Test
  void handlesAreClosedOneAfterTheOtherWhateverComesOfIt() {
    for (int handle = 4; handle < 7; handle++) {
      queue.add(
          new Frame.Ahead(
              SLOT, handle == 4, Frame.Ahead.Kind.CLOSE, handle, 0, ByteBuffer.allocate(0)));
    }
    long before = order.added();
    for (int handle = 4; handle < 7; handle++) {
      assertThat(queue.holdsUp(before)).isTrue();
      assertThat(queue.fill(call)).isTrue();
      assertThat(queue.closes()).isTrue();
      assertThat(call.number).isEqualTo(SyscallTable.row("close").canonical());
      assertThat(call.args).containsExactly(handle, 0, 0, 0, 0, 0);
      assertThat(queue.made(SLOT, handle == 5 ? -Errno.EBADF : 0))
          .isEqualTo(handle == 6 ? new Frame.Done(SLOT, 0, 3, 0) : null);
    }
    assertThat(queue.holdsUp(before)).isFalse();
  }

  /** Before the host is short of room, and at once of what was there last. */
  @Test
  void theHostIsToldOfManyBytesOrFramesAtOnce() {
    int piece = 32768;
    int pieces = Frame.Ahead.SLOT_BYTES / piece;
    for (int i = 0; i < pieces; i++) {
      queue.add(piece(i == 0, false, 0, new byte[piece]));
    }
    int untold = 0;
    while (queue.fill(call)) {
      int sent = (int) call.args[2];
      untold += sent;
      Frame.Done done = queue.made(SLOT, sent);
      if (untold < SendQueue.TELL_BYTES) {
        assertThat(done).isNull();
      } else {
        assertThat(done).isEqualTo(new Frame.Done(SLOT, untold, untold / piece, 0));
        untold = 0;
      }
    }
    assertThat(untold).isZero();
    for (int i = 0; i < 2 * SendQueue.TELL_FRAMES + 1; i++) {
      queue.add(option(i == 0, 1, i & 1));
    }
    for (int i = 1; queue.fill(call); i++) {
      boolean told = i % SendQueue.TELL_FRAMES == 0;
      boolean last = i == 2 * SendQueue.TELL_FRAMES + 1;
      int frames = told ? SendQueue.TELL_FRAMES : 1;
      assertThat(queue.made(SLOT, 0))
          .isEqualTo(told || last ? new Frame.Done(SLOT, 0, frames, 0) : null);
    }
    // What is not told by itself, whoever has to wait can tell: once.
    queue.add(piece(true, false, 0, new byte[10]));
    queue.fill(call);
    assertThat(queue.made(SLOT, 4)).isNull();
    assertThat(queue.untold(SLOT)).isEqualTo(new Frame.Done(SLOT, 4, 0, 0));
    assertThat(queue.untold(SLOT)).isNull();
  }

  /** As more is about to come; but not of what ends one, or of small sends. */
  @Test
  void inALongTransferTheHostIsToldOfTheLastALittleLater() {
    int size = SendQueue.LONG_BYTES;
    for (int i = 1; i < SendQueue.LONG_CALLS; i++) {
      queue.add(piece(true, false, 0, new byte[size]));
      queue.fill(call);
      assertThat(queue.made(SLOT, size)).isEqualTo(new Frame.Done(SLOT, size, 1, 0));
    }
    for (int i = 0; i < 2; i++) {
      queue.add(piece(true, false, 0, new byte[size]));
      queue.fill(call);
      assertThat(queue.made(SLOT, size)).isNull();
    }
    assertThat(queue.fill(call)).isFalse();
    assertThat(queue.untold(SLOT)).isEqualTo(new Frame.Done(SLOT, 2 * size, 2, 0));
    queue.add(piece(true, false, 0, new byte[size]));
    queue.fill(call);
    assertThat(queue.made(SLOT, size)).isNull();
    queue.add(piece(false, true, 0, new byte[0]));
    queue.fill(call);
    assertThat(queue.made(SLOT, 0)).isEqualTo(new Frame.Done(SLOT, size, 2, 0));
    queue.add(piece(true, false, 0, new byte[size - 1]));
    queue.fill(call);
    assertThat(queue.made(SLOT, size - 1)).isEqualTo(new Frame.Done(SLOT, size - 1, 1, 0));
  }

  @Test
  void itsThreadIsToldOnceUntilItHasFoundNothing() {
    assertThat(queue.wakes()).isFalse();
    queue.add(piece(true, false, 0, new byte[10]));
    assertThat(queue.wakes()).isTrue();
    queue.add(piece(false, false, 0, new byte[10]));
    assertThat(queue.wakes()).isFalse();
    assertThat(queue.fill(call)).isTrue();
    queue.made(SLOT, 20);
    queue.add(piece(true, false, 0, new byte[10]));
    assertThat(queue.wakes()).isFalse(); // it has yet to look
    assertThat(queue.fill(call)).isTrue();
    queue.made(SLOT, 10);
    assertThat(queue.fill(call)).isFalse();
    assertThat(queue.wakes()).isFalse();
    queue.add(piece(true, false, 0, new byte[10]));
    assertThat(queue.wakes()).isTrue();
  }

  @Test
  void aHostThatSendsMoreThanItMayIsFoundOut() {
    SendQueue closes = new SendQueue(new AheadOrder(), pool);
    Frame.Ahead close =
        new Frame.Ahead(SLOT, false, Frame.Ahead.Kind.CLOSE, 4, 0, ByteBuffer.allocate(0));
    for (int i = 0; i <= Frame.Ahead.SLOT_FRAMES; i++) {
      assertThat(closes.add(close)).isNull();
    }
    assertThat(closes.add(close)).contains("more ahead");
    int pieces = Frame.Ahead.SLOT_BYTES / 32768;
    for (int i = 0; i < pieces; i++) {
      assertThat(queue.add(piece(i == 0, false, 0, new byte[32768]))).isNull();
    }
    assertThat(queue.add(piece(false, false, 0, new byte[1]))).contains("more ahead");
    SendQueue other = new SendQueue(order, pool);
    int more = (Frame.Ahead.SESSION_BYTES - Frame.Ahead.SLOT_BYTES) / 32768;
    String wrong = null;
    for (int i = 0; i < more && wrong == null; i++) {
      wrong = other.add(piece(i == 0, false, 0, new byte[32768]));
    }
    assertThat(wrong).contains("more ahead");
  }

  @Test
  void aCallComesBehindWhatASocketTakesAndAheadOfWhatItDoesNot() throws Exception {
    queue.add(piece(true, false, 0, new byte[10]));
    long before = order.added();
    Thread waits = Thread.ofPlatform().start(() -> order.await(before, () -> false));
    assertThat(waits.join(java.time.Duration.ofMillis(50))).isFalse();
    queue.blocks();
    assertThat(waits.join(java.time.Duration.ofSeconds(5))).isTrue();
    assertThat(order.awaitAll(before, HANDLE, false, () -> false)).isFalse();
    assertThat(order.awaitAll(before, HANDLE + 1, true, () -> false)).isTrue();
    queue.fill(call);
    queue.made(SLOT, 10);
    assertThat(order.awaitAll(before, HANDLE, true, () -> false)).isTrue();
  }
}
