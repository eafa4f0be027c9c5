// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.kernel.LinuxKernel;
import dev.outboard.virtio.GuestKernel;
import dev.outboard.virtio.GuestMemory;
import java.lang.foreign.MemorySegment;

/** The library kernel as a virtual device sees it. Immutable; any thread. */
public final class LibraryGuest implements GuestKernel {
  private final LinuxKernel kernel;
  private final GuestMemory memory;

  /**
   * @param kernel its owner halts it after the last device is detached
   */
  public LibraryGuest(LinuxKernel kernel) {
    this.kernel = kernel;
    long bytes = kernel.ram().byteSize() + kernel.userRegion().byteSize();
    this.memory =
        new GuestMemory(
            MemorySegment.ofAddress(kernel.ram().address()).reinterpret(bytes),
            LinuxKernel.PHYSICAL_BASE);
  }

  @Override
  public GuestMemory memory() {
    return memory;
  }

  @Override
  public void raiseInterrupt(int line) {
    kernel.raiseInterrupt(line);
  }

  @Override
  public void keepKicks(long address) {
    kernel.keepKicks(address);
  }

  @Override
  public long registerVirtioDevice(long pageAddress) {
    return kernel.registerVirtioDevice(pageAddress);
  }
}
