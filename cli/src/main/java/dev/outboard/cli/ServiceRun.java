// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.channel.LinkException;
import dev.outboard.channel.ServiceFrame;
import dev.outboard.channel.UnixListener;
import dev.outboard.metrics.MetricsServer;
import dev.outboard.posix.Restriction;
import dev.outboard.relay.TcpAddress;
import dev.outboard.relay.TcpDevice;
import dev.outboard.service.Confinement;
import dev.outboard.service.Service;
import dev.outboard.service.ServiceException;
import dev.outboard.service.ServiceOptions;
import dev.outboard.service.Systemd;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** {@code outboard device --listen}: a service, from its start to its end by a signal. */
final class ServiceRun {
  private static final String UNIX = "unix:";
  private static final String SYSTEMD = "systemd";

  /** How often to look whether a service that is to end is idle. */
  private static final Duration LOOK = Duration.ofMillis(50);

  private final Terminal terminal;
  private final Systemd systemd = Systemd.ofThisProcess();

  ServiceRun(Terminal terminal) {
    this.terminal = terminal;
  }

  /**
   * Serves until a signal ends it.
   *
   * @param listen where, one or more: {@code unix:PATH}, {@code tcp:[ADDR:]PORT} or {@code systemd}
   * @param kernelLog takes what kernels print; null if nobody wants it
   * @param logFile where that is written; null if in no file
   */
  int run(
      List<String> listen,
      Arguments arguments,
      Syntax syntax,
      @Nullable Consumer<String> kernelLog,
      @Nullable Path logFile) {
    ServiceSettings settings = ServiceSettings.from(arguments, syntax);
    List<TcpPlace> places =
        listen.stream()
            .filter(where -> where.startsWith(TcpPlace.TCP))
            .map(where -> TcpPlace.of(where, arguments, syntax))
            .toList();
    Confinement.Needs kept = settings.needs(arguments);
    Privileges privileges = privileges(kept, settings, listen, places, logFile, syntax);
    command(settings, arguments, privileges.kernels(kept)); // says what is wrong with it
    Privileges.become(privileges.service(), systemd.handed());
    Signals signals = Signals.take("TERM", "INT", "HUP");
    ServiceOptions options =
        new ServiceOptions(
            Versions.OUTBOARD,
            settings.maxSessions(),
            settings.oneKernel(),
            terminal::say,
            kernelLog == null ? line -> {} : kernelLog);
    Service.Command command = command(settings, arguments, privileges.kernels(kept));
    if (privileges.notice() != null) {
      terminal.say(privileges.notice());
    }
    String missing = Confinement.apply(kept);
    if (missing != null) {
      terminal.say(missing);
    }
    List<TcpDevice> hosts = new ArrayList<>();
    Service service = new Service(command, options);
    try (service) {
      for (String where : listen) {
        if (!where.startsWith(TcpPlace.TCP)) {
          listeners(where, syntax).forEach(service::adopt);
        }
      }
      ServiceFrame.Started started = service.start();
      if (started != null) {
        started.notices().forEach(terminal::say);
      }
      metrics(settings, service);
      service.accept();
      List<String> wheres = new ArrayList<>(listen);
      wheres.removeIf(where -> where.startsWith(TcpPlace.TCP));
      for (TcpPlace place : places) {
        TcpDevice device = place.listen(service, terminal);
        hosts.add(device);
        InetSocketAddress bound = device.address();
        wheres.add(
            TcpPlace.TCP + new TcpAddress(bound.getAddress().getHostAddress(), bound.getPort()));
      }
      String where = String.join(" and ", wheres);
      terminal.say(greeting(started, settings, where));
      systemd.tell("READY=1\nSTATUS=" + greeting(started, settings, where));
      while (true) {
        String signal = signals.await(Long.MAX_VALUE);
        if ("HUP".equals(signal)) {
          reload(service, settings, arguments, kept, privileges);
        } else if (signal != null) {
          break;
        }
      }
      hosts.forEach(TcpDevice::stopListening);
      end(service, settings.drain(), signals);
    } catch (ServiceException | IOException e) {
      throw new Failure(String.valueOf(e.getMessage()));
    } finally {
      hosts.forEach(TcpDevice::close);
    }
    return ExitStatus.OK;
  }

  /** Shows figures, if anybody wants them, until this process ends. */
  private static void metrics(ServiceSettings settings, Service service) {
    InetSocketAddress address = settings.metrics();
    if (address != null) {
      try {
        MetricsServer.start(address, service::status);
      } catch (IOException e) {
        throw new Failure("--metrics: " + address + ": " + e.getMessage());
      }
    }
  }

  private static String greeting(
      ServiceFrame.@Nullable Started started, ServiceSettings settings, String listen) {
    String where = "listening at " + listen;
    return started == null
        ? String.format(
            Locale.ROOT,
            "a kernel for each session, %d sessions at most; %s",
            settings.maxSessions(),
            where)
        : String.format(
            Locale.ROOT,
            "%s kernel, %s, booted in %d ms; %s",
            started.kernel(),
            started.system(),
            started.bootMicros() / 1000,
            where);
  }

  /** What this process is left with, and those that it starts. */
  private static Privileges privileges(
      Confinement.Needs needs,
      ServiceSettings settings,
      List<String> listen,
      List<TcpPlace> places,
      @Nullable Path logFile,
      Syntax syntax) {
    // Directories, as a file in it is replaced by another one.
    List<Path> read = new ArrayList<>();
    places.forEach(place -> read.add(place.keys().directory()));
    if (settings.options() != null) {
      read.add(directory(settings.options()));
    }
    List<Path> sockets =
        listen.stream()
            .filter(where -> where.startsWith(UNIX))
            .map(where -> directory(path(where, syntax)))
            .toList();
    int free = DeviceSettings.firstFreePort();
    boolean lowPort =
        places.stream().map(place -> place.address().getPort()).anyMatch(p -> p > 0 && p < free);
    return Privileges.ofService(needs, read, sockets, logFile, lowPort);
  }

  private static Path directory(Path file) {
    Path parent = file.getParent();
    return parent == null ? file : parent;
  }

  private static Service.Command command(
      ServiceSettings settings, Arguments arguments, Restriction left) {
    List<String> words = settings.words(arguments);
    return new Service.Command(
        EmbeddedDevice.controlled(words, false),
        EmbeddedDevice.controlled(words, true),
        settings.cpu(arguments),
        left);
  }

  private void reload(
      Service service,
      ServiceSettings settings,
      Arguments arguments,
      Confinement.Needs kept,
      Privileges privileges) {
    systemd.tell("RELOADING=1");
    try {
      Confinement.Needs needs = settings.needs(arguments);
      if (!needs.within(kept, privileges.ofRoot(), privileges.service().confinesFiles())) {
        throw new Failure(
            "what its kernels would need now was given up when the service was started;"
                + " to have it, start it anew");
      }
      service.setCommand(command(settings, arguments, privileges.kernels(needs)));
      terminal.say("kernels that start from now on have the options as they are now");
    } catch (Failure | ServiceException e) {
      terminal.say("nothing is changed: " + e.getMessage());
    }
    systemd.tell("READY=1");
  }

  /** Lets sessions go on for a while, unless somebody insists. */
  private void end(Service service, Duration limit, Signals signals) {
    systemd.tell("STOPPING=1");
    service.drain();
    int sessions = service.sessions();
    if (sessions > 0) {
      terminal.say(
          String.format(
              Locale.ROOT,
              "no new sessions; %d may go on for %d s; another SIGTERM ends them at once",
              sessions,
              limit.toSeconds()));
    }
    long deadline = System.nanoTime() + limit.toNanos();
    while (!service.awaitIdle(LOOK)) {
      String signal = signals.await(0);
      if (System.nanoTime() > deadline || (signal != null && !signal.equals("HUP"))) {
        break;
      }
    }
  }

  private List<UnixListener> listeners(String listen, Syntax syntax) {
    List<UnixListener> listeners = new ArrayList<>();
    if (listen.equals(SYSTEMD)) {
      systemd.sockets().forEach(fd -> listeners.add(UnixListener.inherited(fd)));
      if (listeners.isEmpty()) {
        throw new Failure(
            "--listen systemd: systemd has given this process no socket that listens");
      }
      return listeners;
    }
    try {
      listeners.add(UnixListener.open(path(listen, syntax)));
    } catch (LinkException e) {
      throw new Failure(String.valueOf(e.getMessage()));
    }
    return listeners;
  }

  private static Path path(String listen, Syntax syntax) {
    if (!listen.startsWith(UNIX) || listen.length() == UNIX.length()) {
      throw syntax.usageError(
          "--listen takes unix:PATH, tcp:[ADDR:]PORT or systemd, not '" + listen + "'");
    }
    return Path.of(listen.substring(UNIX.length())).toAbsolutePath();
  }
}
