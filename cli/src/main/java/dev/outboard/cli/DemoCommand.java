// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.LinkException;
import dev.outboard.channel.LinkOptions;
import dev.outboard.hook.Hook;
import dev.outboard.hook.HookException;
import dev.outboard.hook.HookOptions;
import dev.outboard.hook.ProgramEvents;
import dev.outboard.hook.Statistics;
import dev.outboard.posix.Processes;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * {@code outboard demo}: stock nginx on the device's network, fetched from by stock curl on this
 * machine, and an account of what ran where.
 */
final class DemoCommand implements Command {
  private static final int START_SECONDS = 20;
  private static final int STOP_SECONDS = 10;

  /** Calls of which the table shows a line each; the others are in its last line. */
  private static final int CALLS_SHOWN = 14;

  @Override
  public Syntax syntax() {
    return new Syntax(
        "demo",
        "",
        "Serves files with stock nginx from a kernel in another process; shows what ran where.",
        List.of(
            "nginx runs on this machine and its sockets are the device's. curl, not offloaded, fetches",
            "1 KiB and 100 MiB from it, by HTTP and by HTTPS: as root through a TAP interface, otherwise",
            "through published ports. The contents are compared by SHA-256. By HTTPS it is the device's",
            "kernel that encrypts (kernel TLS), whether or not this machine's can: its own counts are",
            "read before and after each connection. The exit status is 1 if contents differ, or if nginx",
            "has encrypted by itself. Everything that it makes is removed at the end."),
        List.of(),
        List.of());
  }

  @Override
  public int run(Arguments arguments, Terminal terminal) {
    OwnDescriptors own = OwnDescriptors.find();
    try (DemoSite site = DemoSite.create()) {
      return run(site, DemoNetwork.choose(), own, terminal);
    } catch (IOException e) {
      throw new Failure("the demo cannot write its files: " + e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return ExitStatus.OURS;
    }
  }

  private static int run(DemoSite site, DemoNetwork network, OwnDescriptors own, Terminal terminal)
      throws IOException, InterruptedException {
    List<String> command = site.nginx(network.address());
    terminal.say("starting nginx with its sockets on a device (" + network.description() + ")");
    EmbeddedDevice device =
        EmbeddedDevice.start(
            network.settings(),
            Privileges.ofDevice(DeviceSettings.of(network.settings()), Hook.recorded()),
            terminal.err()::println);
    Statistics statistics = new Statistics();
    CountDownLatch started = new CountDownLatch(1);
    Program program = new Program(started);
    CompletableFuture<Integer> ended = new CompletableFuture<>();
    HookOptions options =
        HookOptions.builder(command)
            .ownChild(pid -> pid == device.pid() || site.isClient(pid))
            .events(program)
            .messages(terminal::say)
            .statistics(statistics)
            .build();
    Hook hook = new Hook(options);
    try (DeviceLink link =
        DeviceLink.overDescriptor(
            device.linkFd(), hook.listener(), LinkOptions.ofNewDevice("outboard demo"))) {
      link.welcome().notices().forEach(terminal::say);
      CpuTime before = CpuTime.ofThisProcess();
      own.keep();
      Thread.ofPlatform()
          .name("demo-program")
          .start(() -> {
            try {
              ended.complete(hook.run(link));
            } catch (HookException | RuntimeException e) {
              ended.completeExceptionally(e);
            } finally {
              started.countDown();
            }
          });
      Map<DemoSite.Request, Double> seconds = new LinkedHashMap<>();
      List<TlsProof> proofs = new ArrayList<>();
      DemoReport report;
      try {
        if (!started.await(START_SECONDS, TimeUnit.SECONDS) || program.pid == 0) {
          throw new Failure("nginx did not start" + reason(ended));
        }
        site.awaitServer(network, START_SECONDS, ended::isDone);
        for (DemoSite.Request request : DemoSite.REQUESTS) {
          String url = network.url(request);
          terminal.say("fetching " + url);
          if (request.by().isTls()) {
            TlsCounts counts = TlsCounts.of(link);
            seconds.put(request, site.fetch(request, url));
            TlsCounts keys = TlsCounts.of(link).since(counts);
            proofs.add(new TlsProof(request, site.agreed(request), keys));
          } else {
            seconds.put(request, site.fetch(request, url));
          }
        }
      } finally {
        report =
            DemoReport.of(
                link.welcome().system(), network, program.pid, device.pid(), before, statistics);
        program.stop();
        // The last processes of nginx end by themselves; what does not is the guard's to kill.
        ended.exceptionally(e -> 0).completeOnTimeout(0, STOP_SECONDS, TimeUnit.SECONDS).join();
      }
      List<DemoSite.Fetch> fetches = new ArrayList<>();
      for (Map.Entry<DemoSite.Request, Double> fetched : seconds.entrySet()) {
        fetches.add(site.compare(fetched.getKey(), fetched.getValue()));
      }
      report.print(terminal.out(), fetches, proofs, CALLS_SHOWN);
      boolean same = fetches.stream().allMatch(DemoSite.Fetch::same);
      if (!same) {
        terminal.say("what was fetched is not what was served");
      }
      List<String> doubts = proofs.stream().flatMap(p -> p.doubt().stream()).toList();
      doubts.forEach(terminal::say);
      return same && doubts.isEmpty() ? ExitStatus.OK : ExitStatus.LACKING;
    } catch (LinkException e) {
      throw new Failure(String.valueOf(e.getMessage()));
    } finally {
      device.awaitEnd();
    }
  }

  private static String reason(CompletableFuture<Integer> ended) {
    return ended.isCompletedExceptionally()
        ? ": " + ended.exceptionNow().getMessage()
        : ended.isDone() ? ": it ended with status " + ended.join() : "";
  }

  /** Where the first process of nginx is, and how it is told to end. */
  private static final class Program implements ProgramEvents {
    private final CountDownLatch started;
    private volatile int pid;
    private volatile boolean over;

    Program(CountDownLatch started) {
      this.started = started;
    }

    @Override
    public void started(int startedPid) {
      pid = startedPid;
      started.countDown();
    }

    @Override
    public void stopped() {}

    @Override
    public void continued() {}

    @Override
    public void ended(int status) {
      over = true;
    }

    void stop() {
      if (pid != 0 && !over) {
        Processes.kill(pid, Processes.SIG_TERM);
      }
    }
  }
}
