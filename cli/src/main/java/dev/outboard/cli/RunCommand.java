// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.abi.Architecture;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.LinkException;
import dev.outboard.channel.LinkListener;
import dev.outboard.channel.LinkOptions;
import dev.outboard.channel.NearEnd;
import dev.outboard.channel.ServiceFrame;
import dev.outboard.hook.Hook;
import dev.outboard.hook.HookException;
import dev.outboard.hook.HookOptions;
import dev.outboard.hook.Statistics;
import dev.outboard.relay.DescriptorWire;
import dev.outboard.relay.HostRelay;
import dev.outboard.relay.TcpAddress;
import dev.outboard.relay.TcpHost;
import dev.outboard.syscalls.CallPolicy;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** {@code outboard run}: a program with its network on a device. */
final class RunCommand implements Command {
  private static final String DEVICE = "--device";
  private static final String SHARE = "--share";
  private static final String HOOK = "--hook";
  private static final String SHIM = "shim";
  private static final String NOTIFIER = "notifier";
  private static final String DENY = "--deny";
  private static final String ALLOW = "--allow";
  private static final String TRACE = "--trace";
  private static final String STATS = "--stats";
  private static final String CLIENT = "outboard run";
  private static final String UNIX = "unix:";
  private static final String TCP = "tcp://";
  private static final String RECONNECT = "--reconnect";
  private static final String AHEAD = "--ahead";
  private static final Duration DEFAULT_RECONNECT = Duration.ofSeconds(30);

  /** How long a link that is dead may look alive, and what an answer takes otherwise. */
  private static final Duration UNNOTICED = Duration.ofSeconds(30);

  /** How long the command may wait for what the program sent last to arrive. */
  private static final Duration USER_WAITS = Duration.ofSeconds(1);

  /** How to reach the device. */
  private interface Connector {
    DeviceLink connect(LinkListener listener) throws LinkException;
  }

  @Override
  public Syntax syntax() {
    List<Option> options = new ArrayList<>();
    options.add(
        Option.single(
            DEVICE,
            "embedded|unix:PATH|tcp://HOST:PORT|ssh://[USER@]HOST[:PORT][/PATH]",
            "The device: one that is started for this program (the default), one",
            "that 'outboard device --listen' runs already, here or elsewhere (see",
            "'outboard keys'), or one that is started for it on another machine, by",
            "ssh without a password, where 'outboard' is in PATH or at /PATH.",
            "Options for the device hold there."));
    options.add(
        Option.single(
            SHARE,
            "NAME",
            "Be on the service's kernel of that name, with all others that say so,",
            "instead of one of its own. It ends with the last of them."));
    options.add(
        Option.single(
            RECONNECT,
            "TIME",
            "For how long a program lives on without a connection to a device at",
            "tcp://, such as 500ms, 30s (the default) or 2m, until there is one",
            "again; 0: the first break is the end."));
    options.add(
        Option.single(
            AHEAD,
            "send,receive,call|off",
            "With a device at tcp:// or ssh://: a send ends when its bytes are on",
            "their way, a receive finds what the device has sent before it was",
            "asked, other calls do not wait for what is certain (all are the",
            "default); off: each call waits for the device."));
    options.addAll(DeviceSettings.OPTIONS);
    options.add(
        Option.single(
            HOOK,
            "shim|notifier",
            "How calls are intercepted: by traps, of which code in the program",
            "spares those on this machine's files (the default), or by traps",
            "alone (the default with --trace, which shows what is trapped)."));
    options.add(
        Option.list(
            DENY,
            "CALL|socket:FAMILY",
            "The program may not make this call, or sockets of this family: EPERM,",
            "and one line says so. 'outboard syscalls' lists calls; no shim then."));
    options.add(
        Option.list(
            ALLOW,
            "socket:FAMILY",
            "It may make sockets of these families only: socket:AF_INET,socket:AF_UNIX."));
    options.add(
        Option.optional(
            TRACE, "FILE", "Write each trapped call, as strace does, to standard error or FILE."));
    options.add(
        Option.optional(
            STATS,
            "FILE",
            "At the end, print what ran where and what it cost, to standard error;",
            "or write it as JSON to FILE."));
    return new Syntax(
        "run",
        "-- PROGRAM [ARGS...]",
        "Runs a program whose network calls the device's kernel carries out.",
        List.of(
            "The program, its children and its threads see the device's network: its addresses, its",
            "127.0.0.1, its name servers, its exports. Other files, terminals, processes, AF_UNIX sockets",
            "and all else are this machine's. It is not changed and need not be dynamically linked.",
            "",
            "Streams, signals, job control and the exit status are the program's own. The status is 125",
            "if outboard fails, 126 or 127 if the program cannot be executed or found, 128+N if signal N",
            "ended it. Processes that the program leaves behind are served after 'run' has returned."),
        options,
        List.of(
            "  outboard run -- curl https://www.debian.org/",
            "      over passt: no root, no set-up",
            "  outboard run -p 8080:80 -- nginx -g 'daemon off;'",
            "      a server, reached at port 8080 of this machine",
            "  outboard run --net tap:name=ob0,addr=10.77.0.2/24 -- python3 -m http.server",
            "      a server on an address of its own: curl http://10.77.0.2:8000/",
            "  outboard run --host-loopback 5432 -- psql -h 127.0.0.1",
            "      with a service of this machine's loopback",
            "  outboard run --trace=calls.txt --stats -- ping -c1 10.0.2.2",
            "      to see what is done where",
            "  outboard run --device ssh://root@nic --net tap:name=ob0,addr=10.77.0.2/24 -- nginx",
            "      on the network of another machine, by its CPU",
            "  outboard device --listen unix:/run/outboard.sock &",
            "  outboard run --device unix:/run/outboard.sock --share cache -- redis-server &",
            "  outboard run --device unix:/run/outboard.sock --share cache -- redis-cli",
            "      two programs on one kernel of a service",
            "  outboard run --device tcp://nic:7000 -- curl https://www.debian.org/",
            "      on a device elsewhere; 'outboard keys --help' says how both get to know each other"));
  }

  @Override
  public int run(Arguments arguments, Terminal terminal) {
    OwnDescriptors own = OwnDescriptors.find();
    if (Architecture.MACHINE != Architecture.X86_64) {
      throw new Failure("The hook knows the calls of x86-64 alone: this machine can be a device.");
    }
    Syntax syntax = syntax();
    if (arguments.operands().isEmpty()) {
      throw syntax.usageError(
          "which program? It is named after the options, as in: outboard run -- ls");
    }
    ahead(arguments);
    bpf(arguments);
    policy(arguments); // wrong words are an error before anything is started
    String device = arguments.value(DEVICE);
    String share = arguments.value(SHARE);
    if (share != null) {
      if (device == null || !(device.startsWith(UNIX) || device.startsWith(TCP))) {
        throw syntax.usageError(SHARE + " is for a service: --device unix:PATH or tcp://HOST:PORT");
      }
      if (!ServiceFrame.validName(share)) {
        throw syntax.usageError(
            SHARE + ": '" + share + "' is not 1 to 64 letters, digits, dots, dashes, underscores");
      }
    }
    if (arguments.has(RECONNECT) && (device == null || !device.startsWith(TCP))) {
      throw syntax.usageError(RECONNECT + " is for a device at tcp://");
    }
    if (arguments.has(AHEAD) && !overStream(device)) {
      throw syntax.usageError(AHEAD + " is for a device at tcp:// or ssh://");
    }
    if (device == null || device.equals("embedded") || device.startsWith(SshTarget.SCHEME)) {
      // Wrong settings are an error of this command, not of the device's.
      DeviceSettings wanted = DeviceSettings.from(arguments, syntax);
      List<String> settings = DeviceSettings.words(arguments);
      if (device == null || device.equals("embedded")) {
        EmbeddedDevice embedded =
            EmbeddedDevice.start(
                settings, Privileges.ofDevice(wanted, Hook.recorded()), terminal.err()::println);
        return run(
            arguments,
            terminal,
            own,
            embedded,
            listener -> link(embedded.linkFd(), listener, null));
      }
      SshTarget target = SshTarget.parse(device);
      if (target == null) {
        throw syntax.usageError(
            "--device is ssh://[USER@]HOST[:PORT][/PATH], not '" + device + "'");
      }
      EmbeddedDevice ssh =
          EmbeddedDevice.startCarrier(target.command(settings), terminal.err()::println);
      try (HostRelay relay = relay(ssh.linkFd())) {
        return run(
            arguments, terminal, own, ssh, listener -> link(relay.linkFd(), listener, relay));
      }
    }
    boolean tcp = device.startsWith(TCP);
    if (!tcp && (!device.startsWith(UNIX) || device.length() == UNIX.length())) {
      throw syntax.usageError(
          "--device is 'embedded', unix:PATH, tcp://HOST:PORT or ssh://HOST, not '" + device + "'");
    }
    List<String> settings = new ArrayList<>(DeviceSettings.words(arguments));
    settings.removeIf(DeviceSettings::ofProgram);
    if (!settings.isEmpty()) {
      throw syntax.usageError(
          settings.getFirst()
              + " is for a device that is to be started; the one at "
              + device
              + " has settings of its own");
    }
    if (tcp) {
      return overTcp(arguments, terminal, own, device.substring(TCP.length()));
    }
    Path socket = Path.of(device.substring(UNIX.length()));
    return offload(
        arguments,
        terminal,
        own,
        null,
        null,
        listener ->
            // A service may have to boot a kernel first.
            DeviceLink.connect(socket, listener, LinkOptions.ofNewDevice(CLIENT).withShare(share)));
  }

  /** With a device that listens at an address. */
  private static int overTcp(
      Arguments arguments, Terminal terminal, OwnDescriptors own, String place) {
    Syntax syntax = new RunCommand().syntax();
    TcpAddress address = TcpAddress.parse(place);
    if (address == null) {
      throw syntax.usageError("--device is tcp://HOST:PORT, not '" + TCP + place + "'");
    }
    String reconnect = arguments.value(RECONNECT);
    Duration asked =
        reconnect == null ? DEFAULT_RECONNECT : Durations.parse(RECONNECT, reconnect, syntax);
    KeyFiles keys = KeyFiles.ofThisUser();
    LinkWatch watch = new LinkWatch(own::keep);
    try {
      TcpHost.Stream stream =
          TcpHost.connect(
              address,
              keys.requireIdentity(),
              keys.keysOf(address),
              asked,
              arguments.value(SHARE),
              watch);
      Duration patience = stream.patience();
      if (reconnect != null && patience.compareTo(asked) < 0) {
        terminal.say(
            "the device keeps a session without a connection for %s s only"
                .formatted(patience.toMillis() / 1e3));
      }
      // What is asked while the link is down gets its answer when there is one again.
      LinkOptions options =
          new LinkOptions(
              CLIENT, LinkOptions.DEFAULT_SLOTS, Duration.ofMinutes(2), patience.plus(UNNOTICED));
      try (HostRelay relay = HostRelay.start(stream.wire())) {
        return offload(
            arguments,
            terminal,
            own,
            null,
            watch,
            listener -> DeviceLink.overDescriptor(relay.linkFd(), listener, options, relay));
      }
    } catch (LinkException e) {
      throw new Failure(String.valueOf(e.getMessage()));
    } catch (IOException e) {
      throw new Failure("cannot carry a session: " + e.getMessage());
    }
  }

  private static DeviceLink link(int fd, LinkListener listener, @Nullable NearEnd near)
      throws LinkException {
    return DeviceLink.overDescriptor(fd, listener, LinkOptions.ofNewDevice(CLIENT), near);
  }

  private static HostRelay relay(int fd) {
    try {
      return HostRelay.start(DescriptorWire.of(fd, fd), LinkOptions.ofNewDevice(CLIENT).greeting());
    } catch (IOException e) {
      throw new Failure("cannot carry a session: " + e.getMessage());
    }
  }

  /** With a device that was started for this program, and ends after it. */
  private static int run(
      Arguments arguments,
      Terminal terminal,
      OwnDescriptors own,
      EmbeddedDevice device,
      Connector connector) {
    try {
      int status = offload(arguments, terminal, own, device, null, connector);
      if (!device.awaitEnd(USER_WAITS)) {
        // What the program sent last is on its way: that is no reason to keep the user.
        ProgramWatch.release(Front.ofThisProcess(), status);
      }
      return status;
    } catch (Failure e) {
      device.awaitLastWords();
      throw e;
    } finally {
      device.awaitEnd();
    }
  }

  /**
   * @param device null for one that was there already
   * @param linkWatch what is known of a link that may break; null for others
   */
  private static int offload(
      Arguments arguments,
      Terminal terminal,
      OwnDescriptors own,
      @Nullable EmbeddedDevice device,
      @Nullable LinkWatch linkWatch,
      Connector connector) {
    Front front = Front.ofThisProcess();
    boolean shim = shim(arguments);
    String statsFile = arguments.value(STATS);
    Statistics statistics = statsFile == null ? null : new Statistics();
    try (LineLog trace = LineLog.open(arguments.value(TRACE), TRACE, terminal);
        LineLog stats = LineLog.open(statsFile, STATS, terminal);
        ProgramWatch watch = new ProgramWatch(front, statsFile != null)) {
      if (linkWatch != null) {
        linkWatch.trace(trace.sink());
      }
      HookOptions options =
          HookOptions.builder(arguments.operands())
              .ignoredSignals(front == null ? 0 : front.ignoredSignals())
              .events(watch)
              .ownChild(pid -> device != null && pid == device.pid())
              .messages(terminal::say)
              .statistics(statistics)
              .trace(trace.sink())
              .shim(shim)
              .executes(!NOTIFIER.equals(arguments.value(HOOK)))
              .ahead(ahead(arguments).contains("send"))
              .certain(ahead(arguments).contains("call"))
              .looks(ahead(arguments).contains("receive"))
              .bpf(bpf(arguments))
              .policy(policy(arguments))
              .build();
      Hook hook = new Hook(options);
      try (DeviceLink link = connector.connect(hook.listener())) {
        link.welcome().notices().forEach(terminal::say);
        own.keep();
        try {
          return hook.run(link);
        } finally {
          if (statistics != null) {
            report(statistics, stats, device, linkWatch);
          }
        }
      }
    } catch (LinkException e) {
      throw new Failure(String.valueOf(e.getMessage()));
    } catch (HookException e) {
      terminal.say(String.valueOf(e.getMessage()));
      return e.status();
    }
  }

  private static CallPolicy policy(Arguments arguments) {
    try {
      return CallPolicy.of(arguments.all(DENY), arguments.all(ALLOW));
    } catch (IllegalArgumentException e) {
      throw new RunCommand().syntax().usageError("--deny, --allow: " + e.getMessage());
    }
  }

  private static boolean bpf(Arguments arguments) {
    try {
      return DeviceSettings.bpf(arguments);
    } catch (IllegalArgumentException e) {
      throw new RunCommand().syntax().usageError(String.valueOf(e.getMessage()));
    }
  }

  private static boolean overStream(@Nullable String device) {
    return device != null && (device.startsWith(TCP) || device.startsWith(SshTarget.SCHEME));
  }

  /** With a device beside the program a call is as fast as it is told. */
  private static Set<String> ahead(Arguments arguments) {
    Set<String> all = Set.of("send", "receive", "call");
    String ahead = arguments.value(AHEAD);
    if (!overStream(arguments.value(DEVICE)) || "off".equals(ahead)) {
      return Set.of();
    }
    if (ahead == null) {
      return all;
    }
    Set<String> named = new HashSet<>(Arrays.asList(ahead.split(",", -1)));
    if (!all.containsAll(named)) {
      throw new RunCommand()
          .syntax()
          .usageError(
              AHEAD + " is 'send', 'receive', 'call', some of them, or 'off', not '" + ahead + "'");
    }
    return named;
  }

  private static boolean shim(Arguments arguments) {
    String hook = arguments.value(HOOK);
    if (hook != null && !hook.equals(SHIM) && !hook.equals(NOTIFIER)) {
      throw new RunCommand()
          .syntax()
          .usageError("--hook is '" + SHIM + "' or '" + NOTIFIER + "', not '" + hook + "'");
    }
    // A trace is to show every call; whoever wants both has to say so.
    return hook == null ? arguments.value(TRACE) == null : hook.equals(SHIM);
  }

  /** While the device still runs: its CPU time is part of it. */
  private static void report(
      Statistics statistics,
      LineLog log,
      @Nullable EmbeddedDevice device,
      @Nullable LinkWatch linkWatch) {
    PrintStream to = log.stream();
    if (to == null) {
      return;
    }
    List<CpuTime> cpu = new ArrayList<>();
    cpu.add(CpuTime.ofThisProcess());
    if (device != null) {
      cpu.add(CpuTime.of(device.role(), device.pid()));
    }
    StatsReport report =
        StatsReport.of(statistics, cpu, linkWatch == null ? null : linkWatch.counts());
    if (log.toFile()) {
      report.printJson(to);
    } else {
      report.print(to);
    }
  }
}
