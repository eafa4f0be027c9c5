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
  public static DeviceOptions defaults() {
    return new DeviceOptions(
        false,
        null,
        List.of(),
        List.of(),
        List.of(),
        List.of(),
        List.of(),
        DEFAULT_MEMORY_BYTES,
        Limits.EMBEDDED,
        ConsoleSink.NONE,
        line -> {});
  }

  public DeviceOptions withHostKernel(boolean hostKernel) {
    return new DeviceOptions(
        hostKernel,
        net,
        publish,
        hostLoopback,
        exports,
        nameservers,
        devicePaths,
        memoryBytes,
        limits,
        kernelLog,
        log);
  }

  public DeviceOptions withNet(@Nullable NetSpec net) {
    return new DeviceOptions(
        hostKernel,
        net,
        publish,
        hostLoopback,
        exports,
        nameservers,
        devicePaths,
        memoryBytes,
        limits,
        kernelLog,
        log);
  }

  public DeviceOptions withPublish(List<PortMapping> publish) {
    return new DeviceOptions(
        hostKernel,
        net,
        publish,
        hostLoopback,
        exports,
        nameservers,
        devicePaths,
        memoryBytes,
        limits,
        kernelLog,
        log);
  }

  public DeviceOptions withHostLoopback(List<Integer> hostLoopback) {
    return new DeviceOptions(
        hostKernel,
        net,
        publish,
        hostLoopback,
        exports,
        nameservers,
        devicePaths,
        memoryBytes,
        limits,
        kernelLog,
        log);
  }

  public DeviceOptions withExports(List<ExportSpec> exports) {
    return new DeviceOptions(
        hostKernel,
        net,
        publish,
        hostLoopback,
        exports,
        nameservers,
        devicePaths,
        memoryBytes,
        limits,
        kernelLog,
        log);
  }

  public DeviceOptions withNameservers(List<InetAddress> nameservers) {
    return new DeviceOptions(
        hostKernel,
        net,
        publish,
        hostLoopback,
        exports,
        nameservers,
        devicePaths,
        memoryBytes,
        limits,
        kernelLog,
        log);
  }

  public DeviceOptions withDevicePaths(List<String> devicePaths) {
    return new DeviceOptions(
        hostKernel,
        net,
        publish,
        hostLoopback,
        exports,
        nameservers,
        devicePaths,
        memoryBytes,
        limits,
        kernelLog,
        log);
  }

  public DeviceOptions withMemory(long memoryBytes) {
    return new DeviceOptions(
        hostKernel,
        net,
        publish,
        hostLoopback,
        exports,
        nameservers,
        devicePaths,
        memoryBytes,
        limits,
        kernelLog,
        log);
  }

  public DeviceOptions withLimits(Limits limits) {
    return new DeviceOptions(
        hostKernel,
        net,
        publish,
        hostLoopback,
        exports,
        nameservers,
        devicePaths,
        memoryBytes,
        limits,
        kernelLog,
        log);
  }

  public DeviceOptions withLogs(ConsoleSink kernelLog, Consumer<String> log) {
    return new DeviceOptions(
        hostKernel,
        net,
        publish,
        hostLoopback,
        exports,
        nameservers,
        devicePaths,
        memoryBytes,
        limits,
        kernelLog,
        log);
  }
}
