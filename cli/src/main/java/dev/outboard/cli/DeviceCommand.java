// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.abi.Errno;
import dev.outboard.channel.CallCarrier;
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
import java.util.Collections;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** {@code outboard device}: a kernel that carries out calls for programs elsewhere. */
final class DeviceCommand implements Command {
  private static final int STANDARD_INPUT = 0;
  private static final int STANDARD_OUTPUT = 1;
  private static final int STANDARD_ERROR = 2;

  private static final String LISTEN = "--listen";
  private static final String FD = "--fd";
  private static final String STDIO = "--stdio";
  private static final String LOG = "--log";
  private static final String CONTROL = "--control";
  private static final String SHARED = "--shared";

  @Override
  public Syntax syntax() {
    List<Option> options = new ArrayList<>();
    options.add(
        Option.repeated(
            LISTEN,
            (char) 0,
            "unix:PATH|tcp:[ADDR:]PORT|systemd",
            "Be a service: programs of 'outboard run --device unix:PATH', which must",
            "be run by this user, or of 'outboard run --device tcp://HOST:PORT' on",
            "machines that 'outboard keys' knows, get a kernel each, in a process of",
            "its own. A Unix socket is removed at the end. systemd: the socket that it",
            "passes. Given several times, all of them."));
    options.addAll(ServiceSettings.OPTIONS);
    options.add(
        Option.single(
            TcpPlace.RECONNECT,
            "TIME",
            "For how long at most a session of tcp: is kept without a connection,",
            "if its host asks for that (default: 10m; 0: not at all)."));
    options.add(
        Option.single(
            FD,
            "N",
            "Serve one program over inherited descriptor N, a connected Unix socket,",
            "and end with it. So 'outboard run' starts its embedded device."));
    options.add(
        Option.single(
            CONTROL,
            "N",
            "Serve what comes by inherited descriptor N, the link of a service. So",
            "--listen starts its kernels; --shared: more than one session at a time."));
    options.add(Option.flag(SHARED, (char) 0, "See --control."));
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
            "With --listen it is a service: each 'outboard run' gets a kernel of its own, with a network",
            "of its own, unless it says --share NAME or the service was started with --one-kernel. The",
            "other options say what these kernels are like. SIGTERM or SIGINT: no new sessions, those",
            "that there are may go on for a while; a second one ends them.",
            "As root it keeps the capabilities that its options take. Without passt and --kernel=host a",
            "service opens no files but those that it needs, where the machine's kernel has Landlock."),
        options,
        List.of(
            "  outboard device --listen unix:/run/ob.sock",
            "      a kernel with passt for each session",
            "  outboard device --listen unix:/run/ob.sock --one-kernel --net tap:name=ob0,addr=10.77.0.2/24",
            "      one address for all of them",
            "  outboard device --listen tcp:7000 --listen unix:/run/ob.sock",
            "      for programs on other machines; 'outboard status' asks at the socket"));
  }

  @Override
  public int run(Arguments arguments, Terminal terminal) {
    Syntax syntax = syntax();
    List<String> listen = arguments.all(LISTEN);
    String fd = arguments.value(FD);
    boolean stdio = arguments.has(STDIO);
    String control = arguments.value(CONTROL);
    if ((listen.isEmpty() ? 0 : 1)
            + (fd == null ? 0 : 1)
            + (control == null ? 0 : 1)
            + (stdio ? 1 : 0)
        != 1) {
      throw syntax.usageError("a device needs one of --listen, --fd, --control and --stdio");
    }
    for (String where : listen) {
      if (Collections.frequency(listen, where) > 1) {
        throw syntax.usageError(LISTEN + ": " + where + " is given twice");
      }
    }
    if (arguments.has(TcpPlace.RECONNECT)
        && listen.stream().noneMatch(where -> where.startsWith(TcpPlace.TCP))) {
      throw syntax.usageError(TcpPlace.RECONNECT + " is for --listen tcp:");
    }
    DeviceSettings settings = DeviceSettings.from(arguments, syntax);
    String stray = ServiceSettings.given(arguments);
    if (listen.isEmpty() && stray != null) {
      throw syntax.usageError(stray + " is for --listen");
    }
    boolean shared = arguments.has(SHARED);
    if (control == null && shared) {
      throw syntax.usageError(SHARED + " is for " + CONTROL);
    }
    if (stdio) {
      Privileges.become(Privileges.ofDevice(settings, Device.recorded()), 0);
    }
    try (LineLog log = LineLog.open(arguments.value(LOG), LOG, terminal)) {
      Consumer<String> sink = log.sink();
      if (!listen.isEmpty()) {
        String file = arguments.value(LOG);
        return new ServiceRun(terminal)
            .run(
                listen,
                arguments,
                syntax,
                sink,
                file == null || file.isEmpty() ? null : Path.of(file).toAbsolutePath());
      }
      Limits limits =
          ServiceSettings.limits(arguments, shared ? Limits.SHARED : Limits.EMBEDDED, syntax);
      DeviceOptions options =
          settings
              .options(limits)
              .kernelLog(sink == null ? ConsoleSink.NONE : sink::accept)
              // An embedded device tells its one session what it has to say.
              .build();
      if (control != null) {
        return serveFor(options, descriptor(CONTROL, control, syntax), terminal);
      }
      return stdio
          ? stdio(options)
          : serve(options, descriptor(FD, String.valueOf(fd), syntax), null);
    } catch (DeviceException e) {
      throw new Failure(String.valueOf(e.getMessage()));
    }
  }

  private static int serveFor(DeviceOptions options, int fd, Terminal terminal)
      throws DeviceException {
    Device device = Device.start(options);
    try {
      String kept = device.confine();
      if (kept != null) {
        terminal.say(kept);
      }
      device.serveFor(fd);
      device.deliver(EmbeddedDevice.DELIVERY);
    } finally {
      device.leave();
    }
    return ended();
  }

  private static int ended() {
    if (Device.recorded()) {
      System.exit(ExitStatus.OK); // which, unlike the command's usual end, writes the recording
    }
    return ExitStatus.OK;
  }

  private static int serve(DeviceOptions options, int fd, @Nullable CallCarrier carrier)
      throws DeviceException {
    Device device = Device.start(options);
    try {
      if (device.serve(fd, carrier)) {
        device.deliver(EmbeddedDevice.DELIVERY);
      }
    } finally {
      device.leave();
    }
    // Whoever has started this device need not wait until the JVM's memory is freed.
    Linux.close(STANDARD_ERROR);
    return ended();
  }

  /** The session comes by standard input and output: a relay stands between it and the device. */
  private static int stdio(DeviceOptions options) throws DeviceException {
    SocketPair link = SocketPair.open();
    if (link.error() < 0) {
      throw new Failure("cannot make a link to the device: " + Errno.name(-link.error()));
    }
    try {
      Wire wire = DescriptorWire.of(STANDARD_INPUT, STANDARD_OUTPUT);
      DeviceRelay relay = new DeviceRelay(wire, link.other());
      Thread.ofPlatform().daemon().name("relay").start(relay::serve);
      return serve(options, link.one(), relay);
    } catch (IOException e) {
      throw new Failure("cannot carry a session: " + e.getMessage());
    }
  }

  private static int descriptor(String option, String text, Syntax syntax) {
    try {
      int fd = Integer.parseInt(text);
      if (fd >= 0) {
        return fd;
      }
    } catch (NumberFormatException e) {
      // As wrong as a negative one.
    }
    throw syntax.usageError(option + ": '" + text + "' is no descriptor");
  }
}
