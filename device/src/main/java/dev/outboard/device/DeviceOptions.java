// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.kernel.ConsoleSink;
import dev.outboard.virtio.ExportSpec;
import dev.outboard.virtio.NetSpec;
import dev.outboard.virtio.PortMapping;
import java.net.InetAddress;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * What a device is to be.
 *
 * @param hostKernel the kernel of this machine executes the calls, not the library kernel; network,
 *     published ports, name servers and memory are then the machine's own
 * @param net the library kernel's network; null for passt if it is installed, else none
 * @param publish ports of this machine that lead to the device
 * @param hostLoopback ports that lead from the device's 127.0.0.1 to this machine's
 * @param exports files of the device's machine that programs see
 * @param nameservers what programs are told; empty for this machine's
 * @param devicePaths patterns of paths that are the device's for programs, beside the network's and
 *     where exports are mounted; each is {@link dev.outboard.channel.DevicePaths#valid}
 * @param memoryBytes the library kernel's RAM, a multiple of 4 MiB
 * @param bpf whether programs may call {@code bpf(2)} of the library kernel
 * @param limits what it gives at most
 * @param kernelLog takes the library kernel's log, line by line
 * @param log takes what the device has to say; lines, from any of its threads
 */
public record DeviceOptions(
    boolean hostKernel,
    @Nullable NetSpec net,
    List<PortMapping> publish,
    List<Integer> hostLoopback,
    List<ExportSpec> exports,
    List<InetAddress> nameservers,
    List<String> devicePaths,
    long memoryBytes,
    boolean bpf,
    Limits limits,
    ConsoleSink kernelLog,
    Consumer<String> log) {
  /** RAM of the library kernel unless asked for otherwise. */
  public static final long DEFAULT_MEMORY_BYTES = 256L << 20;

  public DeviceOptions {
    publish = List.copyOf(publish);
    hostLoopback = List.copyOf(hostLoopback);
    exports = List.copyOf(exports);
    nameservers = List.copyOf(nameservers);
    devicePaths = List.copyOf(devicePaths);
  }

  /** A library kernel with the default network, for one program tree; its logs go nowhere. */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Options to be set one after the other; each is named as what it sets, and has the default of
   * {@link #builder()} until then. One thread.
   */
  public static final class Builder {
    private boolean hostKernel;
    private @Nullable NetSpec net;
    private List<PortMapping> publish = List.of();
    private List<Integer> hostLoopback = List.of();
    private List<ExportSpec> exports = List.of();
    private List<InetAddress> nameservers = List.of();
    private List<String> devicePaths = List.of();
    private long memoryBytes = DEFAULT_MEMORY_BYTES;
    private boolean bpf;
    private Limits limits = Limits.EMBEDDED;
    private ConsoleSink kernelLog = ConsoleSink.NONE;
    private Consumer<String> log = line -> {};

    private Builder() {}

    public Builder hostKernel(boolean hostKernel) {
      this.hostKernel = hostKernel;
      return this;
    }

    public Builder net(@Nullable NetSpec net) {
      this.net = net;
      return this;
    }

    public Builder publish(List<PortMapping> publish) {
      this.publish = publish;
      return this;
    }

    public Builder hostLoopback(List<Integer> hostLoopback) {
      this.hostLoopback = hostLoopback;
      return this;
    }

    public Builder exports(List<ExportSpec> exports) {
      this.exports = exports;
      return this;
    }

    public Builder nameservers(List<InetAddress> nameservers) {
      this.nameservers = nameservers;
      return this;
    }

    public Builder devicePaths(List<String> devicePaths) {
      this.devicePaths = devicePaths;
      return this;
    }

    public Builder memoryBytes(long memoryBytes) {
      this.memoryBytes = memoryBytes;
      return this;
    }

    public Builder bpf(boolean bpf) {
      this.bpf = bpf;
      return this;
    }

    public Builder limits(Limits limits) {
      this.limits = limits;
      return this;
    }

    public Builder kernelLog(ConsoleSink kernelLog) {
      this.kernelLog = kernelLog;
      return this;
    }

    public Builder log(Consumer<String> log) {
      this.log = log;
      return this;
    }

    /** The options as they are set now. */
    public DeviceOptions build() {
      return new DeviceOptions(
          hostKernel,
          net,
          publish,
          hostLoopback,
          exports,
          nameservers,
          devicePaths,
          memoryBytes,
          bpf,
          limits,
          kernelLog,
          log);
    }
  }
}
