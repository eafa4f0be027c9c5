// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

/**
 * What a virtual device asks of the kernel that it is plugged into. The device process implements
 * it over the library kernel's binding; this module does not know that binding.
 */
public interface GuestKernel {
  /** The kernel's memory: RAM and, behind it, the user region. The same object each time. */
  GuestMemory memory();

  /**
   * Raises an interrupt line. Called by the device's own platform threads, and by a task's that has
   * sent what it handed over ({@link KeptKicks}); that is outside of the kernel then. When the
   * emulated CPU is free, the kernel's interrupt and what follows from it (the network stack's
   * receive path) run on the calling thread's stack before this returns.
   */
  void raiseInterrupt(int line);

  /**
   * Makes the calling thread keep kicks, as the {@code struct obk_kicks} at that address says
   * ({@code obk_keep_kicks}); 0 ends it. A kernel that does not know that never writes to it, and
   * all kicks come by the eventfds.
   */
  default void keepKicks(long address) {}

  /**
   * Hands the kernel a page of device registers ({@code obk_virtio_register}). Called by the thread
   * that attaches the device, which must be able to make system calls of the kernel; the driver has
   * taken the device, or has refused it, when this returns.
   *
   * @return 0, or {@code -errno}
   */
  long registerVirtioDevice(long pageAddress);
}
