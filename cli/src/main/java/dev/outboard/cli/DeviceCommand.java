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
import dev.outboard.relay.Identity;
import dev.outboard.relay.PeerKey;
import dev.outboard.relay.TcpAddress;
import dev.outboard.relay.TcpDevice;
import dev.outboard.relay.Wire;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.channels.UnresolvedAddressException;
import java.nio.file.Path;
import java.time.Duration;
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
  private static final String TCP = "tcp:";
  private static final String RECONNECT = "--reconnect";
  private static final Duration DEFAULT_RECONNECT = Duration.ofMinutes(10);

  @Override
  public Syntax syntax() {
    List<Option> options = new ArrayList<>();
    options.add(
        Option.single(
            LISTEN,
            "unix:PATH|tcp:[ADDR:]PORT",
            "Serve programs of 'outboard run --device unix:PATH', which must be run",
            "by this user; the socket is removed at the end. Or those of 'outboard",
            "run --device tcp://HOST:PORT' on machines that 'outboard keys' knows."));
    options.add(
        Option.single(
            RECONNECT,
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
            "  outboard device --listen unix:/run/ob.sock --kernel=host",
            "  outboard device --listen tcp:7000"));
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
    if (arguments.has(RECONNECT) && (listen == null || !listen.startsWith(TCP))) {
      throw syntax.usageError(RECONNECT + " is for --listen tcp:");
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
        if (listen.startsWith(TCP)) {
          return listenTcp(options, arguments, listen.substring(TCP.length()), syntax, terminal);
        }
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

  private static int listenTcp(
      DeviceOptions options, Arguments arguments, String place, Syntax syntax, Terminal terminal)
      throws DeviceException {
    TcpAddress at = TcpAddress.parse(place.indexOf(':') < 0 ? "any:" + place : place);
    if (at == null) {
      throw syntax.usageError("--listen takes tcp:[ADDR:]PORT, not '" + TCP + place + "'");
    }
    String reconnect = arguments.value(RECONNECT);
    KeyFiles keys = KeyFiles.ofThisUser();
    Identity identity = keys.requireIdentity();
    Device device = Device.start(options);
    try {
      TcpDevice listener =
          TcpDevice.listen(
              place.indexOf(':') < 0
                  ? new InetSocketAddress(at.port())
                  : new InetSocketAddress(at.host(), at.port()),
              identity,
              () -> authorized(keys),
              host -> session(device, terminal),
              reconnect == null ? DEFAULT_RECONNECT : Durations.parse(RECONNECT, reconnect, syntax),
              terminal::say);
      Runtime.getRuntime()
          .addShutdownHook(
              Thread.ofPlatform()
                  .name("device-close")
                  .unstarted(() -> {
                    listener.stopListening();
                    device.close();
                    listener.close();
                  }));
      InetSocketAddress bound = listener.address();
      device.notices().forEach(terminal::say);
      terminal.say(
          String.format(
              Locale.ROOT,
              "%s kernel, %s, booted in %d ms; listening at tcp:%s",
              device.kernelKind(),
              device.system(),
              device.bootTime().toMillis(),
              new TcpAddress(bound.getAddress().getHostAddress(), bound.getPort())));
      if (keys.authorizedHosts().isEmpty()) {
        terminal.say(
            "no host may come yet; with the line that 'outboard keys' prints there: outboard keys"
                + " add KEY");
      }
    } catch (IOException | UnresolvedAddressException e) {
      device.close();
      String why = e.getMessage() == null ? "there is no such address" : e.getMessage();
      throw new Failure("cannot listen at tcp:" + place + ": " + why);
    }
    while (true) {
      LockSupport.park();
    }
  }

  private static List<PeerKey> authorized(KeyFiles keys) throws IOException {
    try {
      return keys.authorizedHosts();
    } catch (Failure e) {
      throw new IOException(String.valueOf(e.getMessage()).replace('\n', ' '), e);
    }
  }

  /** A session that the device serves. */
  private static int session(Device device, Terminal terminal) throws IOException {
    SocketPair link = SocketPair.open();
    if (link.error() < 0) {
      throw new IOException("no link within the device: " + Errno.name(-link.error()));
    }
    Thread.ofPlatform()
        .daemon()
        .name("tcp-session")
        .start(() -> {
          try {
            device.serve(link.one());
          } catch (DeviceException e) {
            terminal.say(String.valueOf(e.getMessage()));
          }
        });
    return link.other();
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
      throw syntax.usageError("--listen takes unix:PATH or tcp:[ADDR:]PORT, not '" + listen + "'");
    }
    return Path.of(listen.substring(UNIX.length())).toAbsolutePath();
  }
}
