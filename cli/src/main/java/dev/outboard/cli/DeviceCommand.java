// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.abi.Errno;
import dev.outboard.device.Device;
import dev.outboard.device.DeviceException;
import dev.outboard.device.DeviceOptions;
import dev.outboard.device.Limits;
import dev.outboard.kernel.ConsoleSink;
import dev.outboard.posix.Linux;
import dev.outboard.posix.SocketPair;
import dev.outboard.relay.DescriptorWire;
import dev.outboard.relay.DeviceRelay;
import dev.outboard.relay.Wire;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;

/** {@code outboard device}: a kernel that carries out calls for programs elsewhere. */
final class DeviceCommand implements Command {
  private static final int STANDARD_INPUT = 0;
  private static final int STANDARD_OUTPUT = 1;
  private static final int STANDARD_ERROR = 2;

  private static final String LISTEN = "--listen";
  private static final String FD = "--fd";
  private static final String STDIO = "--stdio";
  private static final String LOG = "--log";
  private static final String UNIX = "unix:";

  @Override
  public Syntax syntax() {
    List<Option> options = new ArrayList<>();
    options.add(
        Option.single(
            LISTEN,
            "unix:PATH",
            "Serve programs of 'outboard run --device unix:PATH', which must be run",
            "by this user. The socket is removed at the end."));
    options.add(
        Option.single(
            FD,
            "N",
            "Serve one program over inherited descriptor N, a connected Unix socket,",
            "and end with it. So 'outboard run' starts its embedded device."));
    options.add(
        Option.flag(
            STDIO,
            (char) 0,
            "Serve one program over standard input and output, and end with it. So",
            "'outboard run --device ssh://HOST' starts a device on another machine."));
    options.addAll(DeviceSettings.OPTIONS);
    options.add(
        Option.optional(LOG, "FILE", "Write the library kernel's log to standard error or FILE."));
    return new Syntax(
        "device",
        "",
        "Runs a device: a kernel that carries out the network calls of programs.",
        List.of(
            "Programs on one device share its network: its addresses, its ports and its 127.0.0.1. The",
            "device runs until it gets SIGTERM or SIGINT, and then takes its network away with it."),
        options,
        List.of(
            "  outboard device --listen unix:/run/ob.sock --net tap:name=ob0,addr=10.77.0.2/24",
            "  outboard device --listen unix:/run/ob.sock --kernel=host"));
  }

  @Override
  public int run(Arguments arguments, Terminal terminal) {
    Syntax syntax = syntax();
    String listen = arguments.value(LISTEN);
    String fd = arguments.value(FD);
    boolean stdio = arguments.has(STDIO);
    if ((listen == null ? 0 : 1) + (fd == null ? 0 : 1) + (stdio ? 1 : 0) != 1) {
      throw syntax.usageError("a device needs one of --listen, --fd and --stdio");
    }
    DeviceSettings settings = DeviceSettings.from(arguments, syntax);
    try (LineLog log = LineLog.open(arguments.value(LOG), LOG, terminal)) {
      Consumer<String> sink = log.sink();
      DeviceOptions options =
          settings
              .options(listen == null ? Limits.EMBEDDED : Limits.SHARED)
              .kernelLog(sink == null ? ConsoleSink.NONE : sink::accept)
              // An embedded device tells its one session what it has to say.
              .log(listen != null ? terminal::say : line -> {})
              .build();
      if (listen != null) {
        return listen(options, path(listen, syntax), terminal);
      }
      return stdio ? stdio(options) : serve(options, descriptor(String.valueOf(fd), syntax));
    } catch (DeviceException e) {
      throw new Failure(String.valueOf(e.getMessage()));
    }
  }

  private static int serve(DeviceOptions options, int fd) throws DeviceException {
    Device device = Device.start(options);
    try {
      if (device.serve(fd)) {
        device.deliver(EmbeddedDevice.DELIVERY);
      }
    } finally {
      device.leave();
    }
    // Whoever has started this device need not wait until the JVM's memory is freed.
    Linux.close(STANDARD_ERROR);
    return ExitStatus.OK;
  }

  /** The session comes by standard input and output: a relay stands between it and the device. */
  private static int stdio(DeviceOptions options) throws DeviceException {
    SocketPair link = SocketPair.open();
    if (link.error() < 0) {
      throw new Failure("cannot make a link to the device: " + Errno.name(-link.error()));
    }
    try {
      Wire wire = DescriptorWire.of(STANDARD_INPUT, STANDARD_OUTPUT);
      Thread.ofPlatform().daemon().name("relay").start(() -> DeviceRelay.serve(wire, link.other()));
      return serve(options, link.one());
    } catch (IOException e) {
      throw new Failure("cannot carry a session: " + e.getMessage());
    }
  }

  private static int listen(DeviceOptions options, Path path, Terminal terminal)
      throws DeviceException {
    Device device = Device.start(options);
    // The way out is a signal: the JVM then runs this.
    Runtime.getRuntime()
        .addShutdownHook(Thread.ofPlatform().name("device-close").unstarted(device::close));
    device.listen(path);
    device.notices().forEach(terminal::say);
    terminal.say(
        String.format(
            Locale.ROOT,
            "%s kernel, %s, booted in %d ms; listening at unix:%s",
            device.kernelKind(),
            device.system(),
            device.bootTime().toMillis(),
            path));
    while (true) {
      LockSupport.park();
    }
  }

  private static int descriptor(String text, Syntax syntax) {
    try {
      int fd = Integer.parseInt(text);
      if (fd >= 0) {
        return fd;
      }
    } catch (NumberFormatException e) {
      // As wrong as a negative one.
    }
    throw syntax.usageError("--fd: '" + text + "' is no descriptor");
  }

  private static Path path(String listen, Syntax syntax) {
    if (!listen.startsWith(UNIX) || listen.length() == UNIX.length()) {
      throw syntax.usageError("--listen takes unix:PATH, not '" + listen + "'");
    }
    return Path.of(listen.substring(UNIX.length())).toAbsolutePath();
  }
}
