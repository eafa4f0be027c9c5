// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.channel.ServiceFrame;
import dev.outboard.device.Limits;
import dev.outboard.service.Confinement;
import dev.outboard.service.CpuShare;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * What {@code outboard device --listen} is to be like, beside its kernels' own settings.
 *
 * @param oneKernel all sessions share one kernel
 * @param maxSessions sessions at a time
 * @param drain how long sessions may go on when the service is to end
 * @param options a file with more settings for kernels, one option a line; null for none
 * @param metrics where figures can be had; null for nowhere
 */
record ServiceSettings(
    boolean oneKernel,
    int maxSessions,
    Duration drain,
    @Nullable Path options,
    @Nullable InetSocketAddress metrics) {
  private static final int DEFAULT_SESSIONS = 64;
  private static final int MOST_SESSIONS = 1024;
  private static final Duration DEFAULT_DRAIN = Duration.ofSeconds(30);

  private static final String ONE_KERNEL = "--one-kernel";
  private static final String MAX_SESSIONS = "--max-sessions";
  private static final String DRAIN = "--drain";
  private static final String OPTIONS_FILE = "--options";
  static final String LIMIT = "--limit";
  private static final String METRICS = "--metrics";
  private static final String CPU = "cpu";

  private static final int MOST_TASKS = 1024;
  private static final int MOST_HANDLES = 60_000;

  private static final String MEMORY = "memory";
  private static final long LEAST_MEMORY_BYTES = 4L << 20;
  private static final long MOST_MEMORY_BYTES = 64L << 30;

  /** The options themselves. */
  static final List<Option> OPTIONS =
      List.of(
          Option.flag(
              ONE_KERNEL,
              (char) 0,
              "With --listen: one kernel for all sessions, which share its network,",
              "instead of one for each session."),
          Option.single(
              MAX_SESSIONS,
              "N",
              "With --listen: sessions at a time (default: " + DEFAULT_SESSIONS + ")."),
          Option.list(
              LIMIT,
              "NAME=N",
              "What a kernel gives at most: tasks, program threads of a session that",
              "make calls (default: 1024, shared 512); handles, open descriptors of a",
              "session (60000); sessions of a kernel that is shared (4); memory, of the",
              "kernel's, that each of these may use, such as 64M (none). With --listen",
              "also what a kernel gets: cpu=50%, of one processor, above 100% of more;",
              "fair (the default): the same of a busy machine as another, where control",
              "groups can be made; none: as any process."),
          Option.single(
              DRAIN,
              "SECONDS",
              "With --listen: how long sessions may go on after SIGTERM (default: 30)."),
          Option.single(
              OPTIONS_FILE,
              "FILE",
              "With --listen: more options for kernels, such as --net=none, one a line.",
              "Read again at SIGHUP, for kernels that start from then on."),
          Option.single(
              METRICS,
              "[ADDR:]PORT",
              "With --listen: figures for Prometheus at http://ADDR:PORT/metrics, for",
              "whoever can connect there (default: 127.0.0.1)."));

  /**
   * What was given.
   *
   * @throws Failure if it makes no sense
   */
  static ServiceSettings from(Arguments arguments, Syntax syntax) {
    String options = arguments.value(OPTIONS_FILE);
    return new ServiceSettings(
        arguments.has(ONE_KERNEL),
        number(
            arguments.value(MAX_SESSIONS), DEFAULT_SESSIONS, MOST_SESSIONS, MAX_SESSIONS, syntax),
        Duration.ofSeconds(
            number(
                arguments.value(DRAIN),
                (int) DEFAULT_DRAIN.toSeconds(),
                (int) Duration.ofDays(1).toSeconds(),
                DRAIN,
                syntax)),
        options == null ? null : Path.of(options).toAbsolutePath(),
        metrics(arguments.value(METRICS), syntax));
  }

  private static @Nullable InetSocketAddress metrics(@Nullable String text, Syntax syntax) {
    if (text == null) {
      return null;
    }
    int colon = text.lastIndexOf(':');
    String address = colon < 0 ? "127.0.0.1" : text.substring(0, colon).replaceAll("[\\[\\]]", "");
    String port = text.substring(colon + 1);
    try {
      if (port.matches("[0-9]{1,5}")) {
        return new InetSocketAddress(InetAddress.ofLiteral(address), Integer.parseInt(port));
      }
    } catch (IllegalArgumentException e) {
      // As wrong as a port that is none.
    }
    throw syntax.usageError(METRICS + " takes [ADDR:]PORT, not '" + text + "'");
  }

  /** The first option that is for a service and was given; null if none was. */
  static @Nullable String given(Arguments arguments) {
    for (Option option : OPTIONS) {
      if (!option.name().equals(LIMIT) && arguments.has(option.name())) {
        return option.name();
      }
    }
    return null;
  }

  private static int number(
      @Nullable String text, int otherwise, int most, String option, Syntax syntax) {
    if (text == null) {
      return otherwise;
    }
    if (text.matches("[0-9]{1,9}")) {
      int n = Integer.parseInt(text);
      if (n <= most && (n > 0 || option.equals(DRAIN))) {
        return n;
      }
    }
    throw syntax.usageError(option + ": '" + text + "' is no number up to " + most);
  }

  /**
   * What a kernel gives at most.
   *
   * @param base where nothing else is said
   * @throws Failure if it makes no sense
   */
  static Limits limits(Arguments arguments, Limits base, Syntax syntax) {
    return limits(arguments.all(LIMIT), base, syntax);
  }

  private static Limits limits(List<String> texts, Limits base, Syntax syntax) {
    Map<String, Integer> given = new TreeMap<>();
    long memory = 0;
    for (String text : texts) {
      int equals = text.indexOf('=');
      String name = equals < 0 ? text : text.substring(0, equals);
      if (name.equals(MEMORY)) {
        if (memory > 0) {
          throw syntax.usageError(LIMIT + ": memory is given twice");
        }
        memory = memory(equals < 0 ? "" : text.substring(equals + 1), syntax);
        continue;
      }
      int most =
          switch (name) {
            case "tasks" -> MOST_TASKS;
            case "handles" -> MOST_HANDLES;
            case "sessions" -> ServiceFrame.KernelStatus.MAX_SESSIONS;
            case "cpu" -> throw syntax.usageError(LIMIT + " cpu is for --listen");
            default ->
                throw syntax.usageError(
                    LIMIT + " is of tasks, handles, sessions, memory or cpu, not '" + name + "'");
          };
      String value = equals < 0 ? "" : text.substring(equals + 1);
      if (given.put(name, number(value, 0, most, LIMIT, syntax)) != null) {
        throw syntax.usageError(LIMIT + ": " + name + " is given twice");
      }
    }
    int tasks = given.getOrDefault("tasks", base.slots());
    int sessions = base.sessions() == 1 ? 1 : given.getOrDefault("sessions", base.sessions());
    return new Limits(
        sessions,
        tasks,
        // What one session alone may have, and another as much.
        given.containsKey("tasks") ? Math.min(sessions, 2) * tasks : base.threads(),
        given.getOrDefault("handles", base.handles()),
        memory);
  }

  private static long memory(String text, Syntax syntax) {
    long bytes = DeviceSettings.size(text);
    if (bytes < LEAST_MEMORY_BYTES || bytes > MOST_MEMORY_BYTES) {
      throw syntax.usageError(LIMIT + ": memory: '" + text + "' is not a size from 4M to 64G");
    }
    return bytes;
  }

  /**
   * What CPU time each kernel gets, by the command line and the file.
   *
   * @throws Failure if it makes no sense
   */
  CpuShare cpu(Arguments arguments) {
    Syntax syntax = kernelSyntax();
    CpuShare share = null;
    for (String text : syntax.parse(given(arguments, options)).all(LIMIT)) {
      if (ofCpu(text)) {
        if (share != null) {
          throw syntax.usageError(LIMIT + ": cpu is given twice");
        }
        try {
          share = CpuShare.parse(text.substring(Math.min(text.length(), CPU.length() + 1)));
        } catch (IllegalArgumentException e) {
          throw syntax.usageError(LIMIT + " cpu: " + e.getMessage());
        }
      }
    }
    return share == null ? CpuShare.FAIR : share;
  }

  /** A limit that the service sets, and that its kernels know nothing of. */
  private static boolean ofCpu(String limit) {
    return limit.equals(CPU) || limit.startsWith(CPU + "=");
  }

  private static Syntax kernelSyntax() {
    List<Option> known = new ArrayList<>(DeviceSettings.OPTIONS);
    known.addAll(OPTIONS.stream().filter(o -> o.name().equals(LIMIT)).toList());
    return new Syntax("device", "", "", List.of(), known, List.of());
  }

  private static List<String> given(Arguments arguments, @Nullable Path options) {
    List<String> words = new ArrayList<>(DeviceSettings.words(arguments));
    arguments.all(LIMIT).forEach(limit -> words.add(LIMIT + "=" + limit));
    if (options != null) {
      try {
        Files.readString(options)
            .lines()
            .map(String::strip)
            .filter(line -> !line.isEmpty() && !line.startsWith("#"))
            .forEach(words::add);
      } catch (IOException e) {
        throw new Failure(OPTIONS_FILE + ": cannot read " + options + ": " + e.getMessage());
      }
    }
    return words;
  }

  /**
   * What kernels' processes do that not all of them do, by the command line and the file.
   *
   * @throws Failure if the options make no sense
   */
  Confinement.Needs needs(Arguments arguments) {
    Syntax syntax = kernelSyntax();
    return DeviceSettings.from(syntax.parse(given(arguments, options)), syntax).needs();
  }

  /**
   * The words of kernels' options: those of the command line, and those in the file.
   *
   * @throws Failure if they make no sense, or ask for what only one kernel can have
   */
  List<String> words(Arguments arguments) {
    Syntax syntax = kernelSyntax();
    Arguments all = syntax.parse(given(arguments, options));
    DeviceSettings settings = DeviceSettings.from(all, syntax);
    List<String> ofKernel = all.all(LIMIT).stream().filter(limit -> !ofCpu(limit)).toList();
    if (limits(ofKernel, Limits.SHARED, syntax).memoryBytes() > 0 && settings.hostKernel()) {
      throw syntax.usageError(
          LIMIT + " memory is about the library kernel; with --kernel=host it is the machine's");
    }
    String single = settings.forOneKernelOnly();
    if (single != null && !oneKernel) {
      throw new Failure(
          single
              + " is for one kernel, and here each session gets one of its own. "
              + ONE_KERNEL
              + " lets all sessions share one.");
    }
    List<String> normal = new ArrayList<>(DeviceSettings.words(all));
    ofKernel.forEach(limit -> normal.add(LIMIT + "=" + limit));
    return normal;
  }
}
