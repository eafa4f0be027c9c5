// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

/** A kernel that has nothing but memory, and takes no notice of interrupts. */
class ModelKernel implements GuestKernel {
  private final GuestMemory memory;

  ModelKernel(GuestMemory memory) {
    this.memory = memory;
  }

  @Override
  public GuestMemory memory() {
    return memory;
  }

  @Override
  public void raiseInterrupt(int line) {}

  @Override
  public long registerVirtioDevice(long pageAddress) {
    return 0;
  }
}
