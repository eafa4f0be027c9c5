// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import dev.outboard.abi.Virtio;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.function.Consumer;

/** A virtio file system (virtio 1.3, 5.11): one queue for requests, one for what must not wait. */
final class FileSystemDevice extends RequestDevice {
  private final FuseServer server;

  /**
   * @param tag by which the kernel mounts it; at most 36 bytes
   * @param server its owner closes it, after {@link #stop}
   */
  FileSystemDevice(
      GuestKernel kernel,
      int line,
      String name,
      String tag,
      FuseServer server,
      Consumer<String> notices)
      throws NetException {
    super(
        kernel,
        line,
        name,
        Virtio.ID_FS,
        2,
        0,
        configuration(tag),
        FuseWire.SCRATCH_BYTES,
        notices);
    this.server = server;
  }

  /** {@code struct virtio_fs_config}, 5.11.4. */
  private static byte[] configuration(String tag) {
    return ByteBuffer.allocate(Virtio.FS_CONFIG_BYTES)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put(0, tag.getBytes(StandardCharsets.US_ASCII))
        .putInt(Virtio.FS_CONFIG_QUEUES, 1)
        .array();
  }

  @Override
  void enter() {
    FuseCaller.enter();
  }

  @Override
  boolean serve(Request request) throws RingViolation {
    return server.serve(request);
  }

  @Override
  void serveSlowly(Request request) throws RingViolation {
    server.serveSlowly(request);
  }
}
