// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.channel.CallCarrier;
import dev.outboard.channel.DevicePaths;
import dev.outboard.kernel.KernelException;
import dev.outboard.kernel.LinuxKernel;
import dev.outboard.virtio.ExportException;
import dev.outboard.virtio.ExportSpec;
import dev.outboard.virtio.Exports;
import dev.outboard.virtio.NetCounts;
import dev.outboard.virtio.NetException;
import dev.outboard.virtio.NetSpec;
import dev.outboard.virtio.Network;
import dev.outboard.virtio.NetworkConfig;
import dev.outboard.virtio.Resolver;
import java.net.InetAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A device in this process: a kernel, its network, and a server for program trees. What {@code
 * outboard device} runs.
 *
 * <p>{@link #start} boots it; {@link #serve} and {@link #serveFor} let programs in; {@link #close}
 * ends everything, in the reverse order. Any thread may call any method, {@code close} once.
 *
 * <p>One process should have one device: a panic of its kernel ends the process (exit status
 * {@value dev.outboard.kernel.LinuxKernel#EXIT_PANIC}), and with it all that it holds.
 */
public final class Device implements AutoCloseable {
  private final Kernel kernel;
  private final @Nullable Network network;
  private final @Nullable HostLoopback loopback;
  private final @Nullable Exports exports;
  private final @Nullable CacheRelief relief;
  private final DeviceServer server;
  private final List<String> notices;
  private final Duration bootTime;

  private Device(
      Kernel kernel,
      @Nullable Network network,
      @Nullable HostLoopback loopback,
      @Nullable Exports exports,
      @Nullable CacheRelief relief,
      DeviceServer server,
      List<String> notices,
      Duration bootTime) {
    this.kernel = kernel;
    this.network = network;
    this.loopback = loopback;
    this.exports = exports;
    this.relief = relief;
    this.server = server;
    this.notices = notices;
    this.bootTime = bootTime;
  }

  /**
   * Boots a device. Takes some tens of milliseconds.
   *
   * @throws DeviceException if it cannot be had as asked for; nothing is left behind then
   */
  public static Device start(DeviceOptions options) throws DeviceException {
    long start = System.nanoTime();
    return options.hostKernel() ? startHost(options, start) : startLibrary(options, start);
  }

  private static Device startHost(DeviceOptions options, long start) throws DeviceException {
    if (options.net() != null
        || !options.publish().isEmpty()
        || !options.hostLoopback().isEmpty()) {
      throw new DeviceException(
          "With the host kernel the network is the machine's: no --net, --publish or"
              + " --host-loopback.");
    }
    if (options.bpf()) {
      throw new DeviceException(
          "With the host kernel bpf(2) would be the machine's own, for all who use it: no --bpf=device.");
    }
    List<String> notices = new ArrayList<>();
    HostKernelBackend kernel = new HostKernelBackend(options.exports());
    if (!kernel.privileged()) {
      notices.add(
          "the device is not root: its kernel sees its own user, whatever the program's is");
    }
    DeviceServer server =
        new DeviceServer(
            kernel,
            options.limits(),
            resolvConf(options, null),
            !options.nameservers().isEmpty(),
            devicePaths(options, options.exports().stream().map(ExportSpec::at).toList()),
            notices,
            options.log(),
            false);
    return new Device(kernel, null, null, null, null, server, notices, since(start));
  }

  private static Device startLibrary(DeviceOptions options, long start) throws DeviceException {
    List<String> notices = new ArrayList<>();
    NetSpec spec = options.net();
    if (spec == null) {
      spec = defaultNet(notices);
    }
    // What is opened so far, to be closed if the rest fails; the last one first.
    List<Runnable> undo = new ArrayList<>();
    boolean done = false;
    try {
      Network network = Network.open(spec, options.publish());
      undo.addFirst(network::close);
      Exports exports = Exports.open(options.exports());
      undo.addFirst(exports::close);
      LibraryKernelBackend.Division division = LibraryKernelBackend.Division.of(options.limits());
      LinuxKernel linux =
          LinuxKernel.boot(
              new LinuxKernel.Options(
                  LinuxKernel.locate(),
                  options.memoryBytes(),
                  division.userBytes(),
                  options.limits().countsMemory()
                      ? LinuxKernel.Options.COUNTING_COMMAND_LINE
                      : LinuxKernel.Options.COMMAND_LINE,
                  options.kernelLog()));
      LibraryKernelBackend kernel = new LibraryKernelBackend(linux, division);
      undo.addFirst(kernel::close);
      if (options.limits().countsMemory()) {
        kernel.memoryGroups(MemoryGroups.open(kernel, options.limits().memoryBytes()));
      }
      NetworkSetup.base(kernel);
      NetworkConfig config = network.config().orElse(null);
      if (config != null) {
        undo.addFirst(network::detach);
        attach(network, kernel, linux, options);
        NetworkSetup.card(kernel, config);
        notices.addAll(config.notices());
      }
      CacheRelief relief = null;
      if (!options.exports().isEmpty()) {
        relief = new CacheRelief(kernel, options.log());
        undo.addFirst(exports::detach);
        undo.addFirst(relief::close);
        attach(exports, relief, kernel, linux, options);
        undo.addFirst(() -> ExportSetup.unmount(kernel, exports.mounts(), line -> {}));
        ExportSetup.mount(kernel, exports);
        kernel.exports(exports);
      }
      HostLoopback loopback =
          options.hostLoopback().isEmpty()
              ? null
              : HostLoopback.start(kernel, options.hostLoopback(), options.log());
      if (loopback != null) {
        undo.addFirst(loopback::close);
      }
      DeviceServer server =
          new DeviceServer(
              kernel,
              options.limits(),
              resolvConf(options, config),
              !options.nameservers().isEmpty(),
              devicePaths(options, exports.paths()),
              notices,
              options.log(),
              options.bpf());
      Device device =
          new Device(kernel, network, loopback, exports, relief, server, notices, since(start));
      done = true;
      return device;
    } catch (NetException | ExportException | KernelException e) {
      throw new DeviceException(String.valueOf(e.getMessage()), e);
    } finally {
      if (!done) {
        undo.forEach(Runnable::run);
      }
    }
  }

  private static NetSpec defaultNet(List<String> notices) {
    if (Network.passtInstalled()) {
      return NetSpec.defaultPasst();
    }
    notices.add(
        "passt is not installed, so the device has no network but its loopback;"
            + " apt-get install passt, or use --net tap:...");
    return new NetSpec.None();
  }

  /** Plugs the card in, as a task: the driver makes system calls of the calling thread. */
  private static void attach(
      Network network, LibraryKernelBackend kernel, LinuxKernel linux, DeviceOptions options)
      throws DeviceException, NetException {
    int tid = kernel.enterTask(0, true);
    if (tid < 0) {
      throw new DeviceException("The device's kernel gives no task: " + Errno.name(-tid) + ".");
    }
    try {
      network.attach(new LibraryGuest(linux), LinuxKernel.FIRST_LINE, options.log());
      kernel.network(network);
    } finally {
      kernel.leaveTask();
    }
  }

  /** Plugs the exports' devices in, likewise. */
  private static void attach(
      Exports exports,
      CacheRelief relief,
      LibraryKernelBackend kernel,
      LinuxKernel linux,
      DeviceOptions options)
      throws DeviceException, ExportException {
    int tid = kernel.enterTask(0, true);
    if (tid < 0) {
      throw new DeviceException("The device's kernel gives no task: " + Errno.name(-tid) + ".");
    }
    try {
      exports.attach(new LibraryGuest(linux), LinuxKernel.LAST_LINE, options.log(), relief::ask);
    } finally {
      kernel.leaveTask();
    }
  }

  private static String resolvConf(DeviceOptions options, @Nullable NetworkConfig config) {
    List<InetAddress> given = options.nameservers();
    if (!given.isEmpty()) {
      Resolver machine = Resolver.ofMachine();
      return ResolvConf.of(given, machine.searchDomains(), machine.options());
    }
    if (config != null) {
      return ResolvConf.of(config.nameservers(), config.searchDomains(), config.resolverOptions());
    }
    return options.hostKernel() ? ResolvConf.ofMachine() : "";
  }

  private static List<String> devicePaths(DeviceOptions options, List<String> exports)
      throws DeviceException {
    List<String> paths = new ArrayList<>(exports);
    paths.addAll(options.devicePaths());
    if (paths.size() > DevicePaths.MAX_PATHS) {
      throw new DeviceException(
          "More than " + DevicePaths.MAX_PATHS + " exports and --device-path together.");
    }
    return paths;
  }

  private static Duration since(long start) {
    return Duration.ofNanos(System.nanoTime() - start);
  }

  /**
   * Serves one program tree over a connected Unix stream socket, and returns when it has ended.
   *
   * @param fd owned by the device from here on
   * @return whether the host ended it by saying so, with no program left
   * @throws DeviceException if the device has too many links
   */
  public boolean serve(int fd) throws DeviceException {
    return serve(fd, null);
  }

  /**
   * The same for a host that shares no memory with the device.
   *
   * @param carrier who brings the session's calls; the other end of the socket is its, too
   */
  public boolean serve(int fd, @Nullable CallCarrier carrier) throws DeviceException {
    Threads.join(server.serve(fd, carrier));
    return server.parted();
  }

  /**
   * Waits until what programs had sent before they ended has arrived; the kernel of a machine sees
   * to that by itself. Called after {@link #serve}.
   *
   * @param limit how long at most; what is left then is lost
   */
  public void deliver(Duration limit) throws DeviceException {
    if (network != null && network.config().isPresent()) {
      Delivery.await(kernel, limit);
    }
  }

  /**
   * Serves the program trees whose links come over a service's control link, and returns when that
   * link is closed and no program tree is left.
   *
   * @param controlFd a connected Unix socket; owned by the device from here on
   */
  public void serveFor(int controlFd) {
    new ServiceLink(this, server, controlFd).run();
  }

  /**
   * Gives up what the process of this device does not need any more, as far as its work allows: it
   * keeps all with a kernel that is the machine's, exports, or an interface of the machine. Nothing
   * else may run in this process then. Called once, before anybody is served.
   *
   * @return a line for the user about what it keeps; null if it keeps nothing
   */
  public @Nullable String confine() {
    if (recorded()) {
      return "a recording of JFR is to be written, so the device keeps what privileges it has";
    }
    if (network == null || exports == null || !exports.paths().isEmpty() || !network.isPlain()) {
      return null;
    }
    return Confinement.apply(loopback != null);
  }

  /** Whether JFR records in this process: then its end must be one that lets JFR write its file. */
  public static boolean recorded() {
    return FlightEvents.recorded();
  }

  /** For tests. */
  Kernel kernel() {
    return kernel;
  }

  /** Requests that the kernel has made of the exports so far; 0 without exports. */
  public long exportRequests() {
    return exports == null ? 0 : exports.requests();
  }

  /** {@code library} or {@code host}. */
  public String kernelKind() {
    return kernel.kind();
  }

  /** The kernel's {@code uname -r}. */
  public String release() {
    return kernel.release();
  }

  /** The kernel's {@code uname -srvm}. */
  public String system() {
    return kernel.system();
  }

  /** How long {@link #start} took. */
  public Duration bootTime() {
    return bootTime;
  }

  /** What the device had to decide; each session is told, too. */
  public List<String> notices() {
    return List.copyOf(notices);
  }

  /** Program trees that are served now. */
  public int sessions() {
    return server.sessions();
  }

  /** What the network card did so far; empty without one. */
  public Optional<NetCounts> networkCounts() {
    return network == null ? Optional.empty() : network.counts();
  }

  /**
   * Instead of {@link #close}, for a process that ends next: gives back all that others could
   * notice. A kernel without exports is left as it is, to end with the process.
   */
  public void leave() {
    if (exports != null) {
      close();
      return;
    }
    quiet();
    if (network != null) {
      network.unplug();
    }
  }

  /**
   * Ends all sessions, writes exports back, then ends the kernel, then what it was plugged into.
   */
  @Override
  public void close() {
    quiet();
    kernel.close();
    if (network != null) {
      network.close();
    }
    if (exports != null) {
      exports.close();
    }
  }

  /** Ends all sessions and writes exports back; no thread of the device's is in the kernel then. */
  private void quiet() {
    server.close();
    if (loopback != null) {
      loopback.close();
    }
    if (exports != null) {
      if (relief != null) {
        relief.close();
      }
      ExportSetup.unmount(kernel, exports.mounts(), line -> {});
      exports.detach();
    }
    if (network != null) {
      network.detach();
    }
  }
}
