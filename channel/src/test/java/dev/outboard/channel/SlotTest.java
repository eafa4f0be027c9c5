// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.abi.Errno;
import dev.outboard.syscalls.Call;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class SlotTest {
  private final Arena arena = Arena.ofShared();
  private MemorySegment memory;
  private CallSlot host;
  private DeviceSlot device;

  @BeforeEach
  void make() {
    memory = arena.allocate(SlotLayout.BYTES, 4096);
    device = new DeviceSlot(memory);
    device.reset();
    host = new CallSlot(0, memory, arena.allocate(CallSlot.TIMEOUT_BYTES, 8), new Traffic(), null);
  }

  @AfterEach
  void drop() {
    arena.close();
  }

  /** The layout is what its drawing says, and both sides' words are on lines of their own. */
  @Test
  void layoutIsAsDrawn() {
    assertThat(SlotLayout.REQUEST).isEqualTo(0);
    assertThat(SlotLayout.DEVICE_SLEEPS).isEqualTo(4);
    assertThat(SlotLayout.REPLY).isEqualTo(64);
    assertThat(SlotLayout.HOST_SLEEPS).isEqualTo(68);
    assertThat(SlotLayout.NUMBER).isEqualTo(128);
    assertThat(SlotLayout.FLAGS).isEqualTo(132);
    assertThat(SlotLayout.ARGS).isEqualTo(136);
    assertThat(SlotLayout.ARGS + 6 * 8).isLessThanOrEqualTo(SlotLayout.RESULT);
    assertThat(SlotLayout.TOGETHER).isEqualTo(72);
    assertThat(SlotLayout.CALLER).isEqualTo(176);
    assertThat(SlotLayout.BIRTH).isEqualTo(184);
    assertThat(SlotLayout.TIMES).isEqualTo(384);
    assertThat(SlotLayout.WHERE).isEqualTo(188);
    assertThat(SlotLayout.RESULT).isEqualTo(192);
    assertThat(SlotLayout.NEW_BIRTH).isEqualTo(204);
    assertThat(SlotLayout.MASK).isEqualTo(200);
    assertThat(SlotLayout.STAMP).isEqualTo(208);
    assertThat(SlotLayout.CREDIT).isEqualTo(220);
    assertThat(SlotLayout.CREDIT_GENERATION).isEqualTo(224);
    assertThat(SlotLayout.CREDIT_SINCE).isEqualTo(232);
    assertThat(SlotLayout.OFFER).isEqualTo(240);
    assertThat(SlotLayout.SETTLED).isEqualTo(8);
    assertThat(SlotLayout.GENERATION).isEqualTo(256);
    assertThat(SlotLayout.DRAINED).isEqualTo(264);
    assertThat(SlotLayout.APPENDED).isEqualTo(320);
    assertThat(SlotLayout.TAKINGS).isEqualTo(328);
    assertThat(SlotLayout.PEEKED).isEqualTo(SlotLayout.DATA + SlotLayout.DATA_BYTES);
    assertThat(SlotLayout.RING).isEqualTo(SlotLayout.DATA + Call.PIECE_BYTES);
    assertThat(SlotLayout.DATA).isEqualTo(4096);
    assertThat(SlotLayout.BYTES).isEqualTo(233472);
    assertThat(SlotLayout.BYTES % 4096).isZero();
    assertThat(SlotLayout.fileBytes(1)).isEqualTo(262144);
    assertThat(SlotLayout.fileBytes(16)).isEqualTo(16 * SlotLayout.BYTES);
    assertThat(SlotLayout.fileBytes(SlotLayout.MAX_SLOTS)).isEqualTo(8192 * SlotLayout.BYTES);
    assertThat(SlotLayout.DATA_BYTES).isGreaterThanOrEqualTo(Call.PIECE_BYTES + 32 * 1024);
  }

  @Test
  void fieldsDoNotOverlap() throws ReflectiveOperationException {
    TreeMap<Long, String> fields = new TreeMap<>();
    for (Field f : SlotLayout.class.getDeclaredFields()) {
      if (Modifier.isPublic(f.getModifiers()) && f.getType() == long.class) {
        if (!f.getName().equals("BYTES")) {
          assertThat(fields.put(f.getLong(null), f.getName())).isNull();
        }
      }
    }
    assertThat(fields).hasSize(29);
  }

  @Test
  void aCallCrossesAndItsResultComesBack() {
    Call call = host.call();
    call.number = 63;
    call.flags = 5;
    for (int i = 0; i < 6; i++) {
      call.args[i] = -i;
    }
    call.data.set(ValueLayout.JAVA_LONG, 8, 77);
    host.submit();
    assertThat(host.await(0)).isFalse();
    assertThatThrownBy(host::submit).isInstanceOf(IllegalStateException.class);
    assertThat(device.await()).isEqualTo(host.sequence());
    Call taken = new Call(device.data());
    device.take(taken);
    assertThat(device.slept()).as("it was there").isFalse();
    assertThat(device.where()).as("unknown").isEqualTo(-1);
    assertThat(taken.number).isEqualTo(63);
    assertThat(taken.flags).isEqualTo(5);
    assertThat(taken.args).containsExactly(0, -1, -2, -3, -4, -5);
    assertThat(taken.data.get(ValueLayout.JAVA_LONG, 8)).isEqualTo(77);
    device.complete(-11, 5, 99, 7);
    assertThat(host.await(0)).isTrue();
    assertThat(host.result()).isEqualTo(-11);
    assertThat(host.readyMask()).isEqualTo(5);
    assertThat(host.readyStamp()).isEqualTo(99);
  }

  /** Several may find that the device is gone; what one has said the next does not take back. */
  @Test
  void aLentSlotStaysLost() {
    LentSlot lent = new LentSlot(0, memory, -1);
    for (int i = 0; i < 4; i++) {
      lent.lose();
      assertThat(memory.get(ValueLayout.JAVA_INT, SlotLayout.REPLY)).isNegative();
    }
  }

  /** How long a look may wait is the fifth; in the place of the sixth is the caller's number. */
  @Test
  void aLentSlotsCallHasFiveArguments() {
    DeviceSlot lent = new DeviceSlot(memory, true);
    lent.reset();
    for (int i = 0; i < 6; i++) {
      memory.set(ValueLayout.JAVA_LONG, SlotLayout.ARGS + 8L * i, 10 + i);
    }
    Call taken = new Call(lent.data());
    lent.take(taken);
    assertThat(taken.args).containsExactly(10, 11, 12, 13, 14, 0);
  }

  @Test
  void sequenceNumbersNeverBecomeZeroOrNegative() {
    assertThat(SlotLayout.next(0)).isEqualTo(1);
    assertThat(SlotLayout.next(Integer.MAX_VALUE)).isEqualTo(1);
  }

  /** A wake that is lost makes this hang: both sides sleep and pause in all combinations. */
  @Test
  void noWakeIsLost() throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    int calls = 20_000;
    Thread shadow =
        Thread.ofPlatform()
            .start(() -> {
              Random random = new Random(seed);
              Call call = new Call(device.data());
              while (device.await() != DeviceSlot.CLOSED) {
                device.take(call);
                pause(random);
                device.complete(call.args[0] + call.data.get(ValueLayout.JAVA_LONG, 0), -1, 0, 0);
              }
            });
    Random random = new Random(seed + 1);
    for (int i = 0; i < calls; i++) {
      host.call().args[0] = i;
      host.call().data.set(ValueLayout.JAVA_LONG, 0, 3L * i);
      host.submit();
      pause(random);
      assertThat(host.await(TimeUnit.SECONDS.toNanos(20)))
          .as("call %d of seed %d ends", i, seed)
          .isTrue();
      assertThat(host.result()).isEqualTo(4L * i);
      pause(random);
    }
    device.close();
    shadow.join(5000);
    assertThat(shadow.isAlive()).isFalse();
  }

  private static void pause(Random random) {
    int kind = random.nextInt(64);
    if (kind == 0) {
      LockSupport.parkNanos(random.nextInt(50_000));
    } else if (kind < 32) {
      for (int i = random.nextInt(2000); i > 0; i--) {
        Thread.onSpinWait();
      }
    }
  }

  @Test
  void aWaitHasATimeout() {
    host.submit();
    long start = System.nanoTime();
    assertThat(host.await(TimeUnit.MILLISECONDS.toNanos(30))).isFalse();
    assertThat(System.nanoTime() - start).isBetween(30_000_000L, 2_000_000_000L);
    assertThat(host.pending()).isTrue();
  }

  @Test
  void aLostDeviceEndsThePendingCallAndAllLaterOnes() throws Exception {
    for (int round = 0; round < 200; round++) {
      make();
      CallSlot slot = host;
      slot.submit();
      AtomicReference<Long> result = new AtomicReference<>();
      Thread waiter =
          Thread.ofPlatform()
              .start(() -> {
                slot.await(Long.MAX_VALUE);
                result.set(slot.result());
              });
      if (round % 2 == 0) {
        Thread.sleep(0, 200_000);
      }
      slot.lose();
      waiter.join(5000);
      assertThat(result.get()).as("round %d", round).isEqualTo(-Errno.ENETDOWN);
      slot.submit();
      assertThat(slot.await(0)).isTrue();
      assertThat(slot.result()).isEqualTo(-Errno.ENETDOWN);
    }
  }

  @Test
  void aClosedSlotLetsItsThreadGo() throws Exception {
    for (int round = 0; round < 200; round++) {
      make();
      DeviceSlot slot = device;
      Thread shadow = Thread.ofPlatform().start(slot::await);
      if (round % 2 == 0) {
        Thread.sleep(0, 200_000);
      }
      slot.close();
      shadow.join(5000);
      assertThat(shadow.isAlive()).as("round %d", round).isFalse();
    }
  }

  @Test
  void aHostileRequestWordIsACallAtMost() {
    // Zero, negative and old numbers are no calls; any other change is one.
    host.submit();
    int first = device.await();
    device.complete(0, -1, 0, 0);
    memory.set(ValueLayout.JAVA_INT, SlotLayout.REQUEST, Integer.MAX_VALUE);
    assertThat(device.await()).isEqualTo(Integer.MAX_VALUE).isNotEqualTo(first);
    memory.set(ValueLayout.JAVA_INT, SlotLayout.REQUEST, -5);
    device.close();
    assertThat(device.await()).isEqualTo(DeviceSlot.CLOSED);
  }

  @Test
  void spinningFollowsSuccess() {
    Spin spin = new Spin(8000);
    assertThat(spin.begin()).isEqualTo(8000);
    for (int i = 0; i < 10; i++) {
      spin.end(false);
    }
    int spins = 0;
    for (int i = 0; i < 320; i++) {
      spins += spin.begin() > 0 ? 1 : 0;
    }
    assertThat(spins).as("a look now and then").isBetween(5, 20);
    for (int i = 0; i < 10; i++) {
      spin.end(true);
    }
    assertThat(spin.begin()).isEqualTo(8000);
    assertThat(new Spin(0).begin()).isZero();
  }
}
