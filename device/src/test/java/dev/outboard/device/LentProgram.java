// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Memory;
import dev.outboard.channel.Credentials;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.LentSlot;
import dev.outboard.channel.LinkException;
import dev.outboard.channel.SlotLayout;
import dev.outboard.posix.Linux;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A process of the program that has a call slot to itself, and may write there what it likes. */
final class LentProgram implements AutoCloseable {
  private static final long PATIENCE_NANOS = 20_000_000_000L;

  /** No result: the device is gone. */
  static final long LOST = Long.MAX_VALUE;

  private final DeviceLink link;
  private final LentSlot lent;
  private final MemorySegment slot;
  private int sequence;
  private long appended;

  LentProgram(DeviceLink link) throws LinkException {
    this.link = link;
    lent = link.lend(77, -1, Credentials.root());
    long address =
        Linux.mmap(
            0,
            SlotLayout.BYTES,
            Memory.PROT_READ | Memory.PROT_WRITE,
            Memory.MAP_SHARED,
            lent.descriptor(),
            0);
    assertThat(address).isPositive();
    slot = Linux.at(address, SlotLayout.BYTES);
    lent.given();
    assertThat(lent.descriptor()).isEqualTo(-1);
  }

  MemorySegment data() {
    return slot.asSlice(SlotLayout.DATA, SlotLayout.DATA_BYTES);
  }

  /** Puts one descriptor of a poll into the data. */
  void polled(int index, int handle, int events, int birth) {
    MemorySegment at = data().asSlice((long) index * LentCalls.POLLED_BYTES);
    at.set(ValueLayout.JAVA_INT, 0, handle);
    at.set(ValueLayout.JAVA_INT, 4, events & 0xffff);
    at.set(ValueLayout.JAVA_INT, 8, birth);
  }

  /** Fills the place for an answer. */
  void answers(byte with) {
    data().asSlice(LentCalls.ANSWER, 1024).fill(with);
  }

  /** The first bytes of the answer. */
  byte[] answer(int bytes) {
    return data().asSlice(LentCalls.ANSWER, bytes).toArray(ValueLayout.JAVA_BYTE);
  }

  /** The answer, if it is a number. */
  int number() {
    return data().get(ValueLayout.JAVA_INT, LentCalls.ANSWER);
  }

  /** How long the answer is, or would be. */
  int answered() {
    return data().get(ValueLayout.JAVA_INT, 0);
  }

  /** What the last poll found of one. */
  int found(int index) {
    return data().get(ValueLayout.JAVA_SHORT, (long) index * LentCalls.POLLED_BYTES + 6);
  }

  /** Makes a call; what comes of it, or {@link #LOST}. */
  long call(int number, int birth, long... args) {
    slot.set(ValueLayout.JAVA_INT, SlotLayout.NUMBER, number);
    slot.set(ValueLayout.JAVA_INT, SlotLayout.BIRTH, birth);
    for (int i = 0; i < 6; i++) {
      slot.set(ValueLayout.JAVA_LONG, SlotLayout.ARGS + 8L * i, i < args.length ? args[i] : 0);
    }
    ValueLayout.JAVA_INT.varHandle().setVolatile(slot, SlotLayout.REQUEST, ++sequence);
    Linux.futexWake(slot.address() + SlotLayout.REQUEST, 1);
    long deadline = System.nanoTime() + PATIENCE_NANOS;
    for (; ; ) {
      int reply = (int) ValueLayout.JAVA_INT.varHandle().getVolatile(slot, SlotLayout.REPLY);
      if (reply == sequence) {
        return slot.get(ValueLayout.JAVA_LONG, SlotLayout.RESULT);
      }
      if (reply < 0) {
        return LOST;
      }
      assertThat(System.nanoTime()).isLessThan(deadline);
      Thread.onSpinWait();
    }
  }

  /** Receives as the shim does: what comes is the process's when it has taken it. */
  long receive(int handle, int birth, int bytes, int flags) {
    slot.set(ValueLayout.JAVA_INT, SlotLayout.FLAGS, SlotLayout.WANTS_TAKING);
    long r = call(Canonical.RECVFROM, birth, handle, 0, bytes, flags);
    slot.set(ValueLayout.JAVA_INT, SlotLayout.FLAGS, 0);
    return r;
  }

  /** Whether something is on offer, or was and has been taken back. */
  boolean isOffered() {
    return (int) ValueLayout.JAVA_INT.varHandle().getVolatile(slot, SlotLayout.OFFER) != 0;
  }

  /** Takes what the last reply has offered; false if it has been taken back. */
  boolean take() {
    boolean mine =
        ValueLayout.JAVA_INT
            .varHandle()
            .compareAndSet(slot, SlotLayout.OFFER, sequence, sequence | SlotLayout.OFFER_TAKEN);
    if (mine) {
      int takings = slot.get(ValueLayout.JAVA_INT, SlotLayout.TAKINGS);
      ValueLayout.JAVA_INT.varHandle().setVolatile(slot, SlotLayout.TAKINGS, takings + 1);
    }
    return mine;
  }

  /** Writes anything where offers and what is taken of them are told. */
  void scribble(int offer, int takings) {
    ValueLayout.JAVA_INT.varHandle().setVolatile(slot, SlotLayout.OFFER, offer);
    ValueLayout.JAVA_INT.varHandle().setVolatile(slot, SlotLayout.TAKINGS, takings);
  }

  /** Sets the flags of the calls that follow. */
  void flags(int flags) {
    slot.set(ValueLayout.JAVA_INT, SlotLayout.FLAGS, flags);
  }

  /** Sends without waiting, and without waking anybody. */
  void ahead(int handle, int birth, int flags, byte[] bytes) {
    long size = 16 + ((bytes.length + 15L) & -16L);
    long offset = appended % SlotLayout.RING_BYTES;
    if (offset + size > SlotLayout.RING_BYTES) {
      slot.set(ValueLayout.JAVA_INT, SlotLayout.RING + offset, -1);
      appended += SlotLayout.RING_BYTES - offset;
      offset = 0;
    }
    header(offset, handle, birth, flags, bytes.length);
    MemorySegment.copy(
        bytes, 0, slot, ValueLayout.JAVA_BYTE, SlotLayout.RING + offset + 16, bytes.length);
    publish(appended + size);
  }

  /** Writes what stands before a send's bytes. */
  void header(long offset, int... words) {
    for (int i = 0; i < words.length; i++) {
      slot.set(ValueLayout.JAVA_INT, SlotLayout.RING + offset + 4L * i, words[i]);
    }
  }

  /** Says how much was appended ever. */
  void publish(long position) {
    appended = position;
    ValueLayout.JAVA_LONG.varHandle().setVolatile(slot, SlotLayout.APPENDED, position);
  }

  /** Wakes the slot's thread as the shim does, and waits until it has read the ring. */
  void awaitDrained() {
    long deadline = System.nanoTime() + PATIENCE_NANOS;
    if ((int) ValueLayout.JAVA_INT.varHandle().getVolatile(slot, SlotLayout.DEVICE_SLEEPS) != 0) {
      ValueLayout.JAVA_INT.varHandle().setVolatile(slot, SlotLayout.DEVICE_SLEEPS, 0);
      int word = slot.get(ValueLayout.JAVA_INT, SlotLayout.REQUEST) ^ Integer.MIN_VALUE;
      ValueLayout.JAVA_INT.varHandle().setVolatile(slot, SlotLayout.REQUEST, word);
      Linux.futexWake(slot.address() + SlotLayout.REQUEST, 1);
    }
    while (drained() != appended) {
      assertThat(System.nanoTime()).isLessThan(deadline);
      Thread.onSpinWait();
    }
  }

  /** How much of the ring was read ever. */
  long drained() {
    return (long) ValueLayout.JAVA_LONG.varHandle().getVolatile(slot, SlotLayout.DRAINED);
  }

  /** The same call, whose reply is to bring a credit; how many bytes it brought. */
  int credit(int number, int birth, long... args) {
    slot.set(ValueLayout.JAVA_INT, SlotLayout.FLAGS, SlotLayout.WANTS_CREDIT);
    long r = call(number, birth, args);
    slot.set(ValueLayout.JAVA_INT, SlotLayout.FLAGS, 0);
    assertThat(r).isPositive();
    return slot.get(ValueLayout.JAVA_INT, SlotLayout.CREDIT);
  }

  @Override
  public void close() {
    link.takeBack(lent);
    Linux.munmap(slot.address(), slot.byteSize());
  }
}
