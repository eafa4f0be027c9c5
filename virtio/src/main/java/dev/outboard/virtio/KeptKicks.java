// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Lets one thread send itself what the kernel hands to the network card while the thread runs it,
 * instead of waking the card's own thread ({@code obk_keep_kicks} of {@code outboard_kernel.h}).
 *
 * <p>That is shorter where little is sent; where much is, two threads are faster. So it is so only
 * between {@link #keep} and {@link #settle}. A thread that sleeps in the kernel keeps nothing while
 * it does.
 *
 * <p>Owned by the thread that made it, which closes it.
 */
public final class KeptKicks implements AutoCloseable {
  /** {@code struct obk_kicks}. */
  static final int BYTES = 8;

  static final int KEEPS = 0;
  static final int KEPT = 4;

  private final GuestKernel kernel;
  private final NetDevice card;
  private final Arena arena = Arena.ofConfined();
  private final MemorySegment kicks = arena.allocate(BYTES, 8);

  /** For the calling thread. */
  KeptKicks(GuestKernel kernel, NetDevice card) {
    this.kernel = kernel;
    this.card = card;
    kernel.keepKicks(kicks.address());
  }

  /** From now on kicks are kept; the caller is about to enter the kernel. */
  public void keep() {
    kicks.set(ValueLayout.JAVA_INT, KEEPS, 1);
  }

  /** Sends what was kept, and keeps no more. */
  public void settle() {
    kicks.set(ValueLayout.JAVA_INT, KEEPS, 0);
    if (kicks.get(ValueLayout.JAVA_INT, KEPT) != 0) {
      kicks.set(ValueLayout.JAVA_INT, KEPT, 0);
      card.transmitNow();
    }
  }

  @Override
  public void close() {
    kernel.keepKicks(0);
    arena.close();
  }
}
