// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.Writer;
import java.nio.file.Files;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** A program that runs in one mode, from its start to its end. Used by one thread. */
final class Server {
  private static final int START_SECONDS = 20;
  private static final int STOP_SECONDS = 10;
  private static final int POLL_MILLIS = 50;
  private static final int STOP_POLL_MILLIS = 5;

  private final Mode mode;
  private final Place place;
  private final Mode.Launch launch;
  private final Program program;
  private final Process process;
  private final BufferedReader answers;
  private final Writer questions;
  private List<ProcessHandle> below = List.of();

  private Server(Mode mode, Place place, Mode.Launch launch, Program program, Process process) {
    this.mode = mode;
    this.place = place;
    this.launch = launch;
    this.program = program;
    this.process = process;
    this.answers = process.inputReader();
    this.questions = process.outputWriter();
  }

  /** Starts it; {@link #await} waits until it can be used. */
  static Server start(Mode mode, Place place, Program program, boolean network, boolean oneCpu)
      throws BenchException, InterruptedException {
    Mode.Launch launch = mode.launch(program, place, network);
    Process p =
        place
            .site()
            .start(
                Site.joined(onOneCpu(oneCpu), launch.command()),
                place.log(),
                program.asked(),
                program.asked());
    return new Server(mode, place, launch, program, p);
  }

  /** Words before a command that keep it, and all that it starts, on one CPU. */
  static List<String> onOneCpu(boolean oneCpu) {
    return oneCpu ? List.of("taskset", "-c", "0") : List.of();
  }

  /** Waits until the program takes connections, or at once returns if it is asked by a pipe. */
  void await() throws BenchException, InterruptedException {
    if (program.asked()) {
      return;
    }
    List<String> probe =
        Site.joined(
            place.site().inClient(true),
            List.of(
                "timeout",
                "1",
                "bash",
                "-c",
                "exec 3<>/dev/tcp/" + launch.address() + "/" + place.port()));
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(START_SECONDS);
    while (System.nanoTime() - deadline < 0) {
      needAlive();
      try {
        place.site().run(probe, START_SECONDS);
        return;
      } catch (BenchException e) {
        // Not yet.
      }
      Thread.sleep(POLL_MILLIS);
    }
    throw new BenchException("it takes no connections within " + START_SECONDS + " s; " + said());
  }

  private void needAlive() throws BenchException {
    if (!process.isAlive()) {
      throw new BenchException("it ended with status " + process.exitValue() + "; " + said());
    }
  }

  /** The end of what it wrote. */
  private String said() {
    try {
      return "it said: " + Site.shortened(Files.readString(place.log()));
    } catch (IOException e) {
      return "it said nothing";
    }
  }

  /** Hands a line to a program that is asked by a pipe; its answer, within so many seconds. */
  String ask(String question, int seconds) throws BenchException {
    Thread limit =
        Thread.ofPlatform()
            .daemon()
            .name("bench-limit")
            .start(() -> {
              try {
                Thread.sleep(TimeUnit.SECONDS.toMillis(seconds));
                process.destroyForcibly();
              } catch (InterruptedException e) {
                // The answer came in time.
              }
            });
    try {
      questions.write(question + "\n");
      questions.flush();
      String answer = answers.readLine();
      if (answer != null) {
        return answer;
      }
    } catch (IOException e) {
      throw new BenchException("it takes no questions: " + e.getMessage() + "; " + said(), e);
    } finally {
      limit.interrupt();
    }
    throw new BenchException("it gave no answer; " + said());
  }

  /**
   * Runs a client of it to its end, in the client's namespace and with the measure's placement.
   *
   * @return its standard output
   */
  String client(Measure measure, List<String> command, double seconds)
      throws BenchException, InterruptedException {
    needAlive();
    return place
        .site()
        .run(
            Site.joined(
                onOneCpu(measure.oneCpu()), Site.joined(place.site().inClient(true), command)),
            seconds);
  }

  String address() {
    return launch.address();
  }

  Place place() {
    return place;
  }

  Mode mode() {
    return mode;
  }

  /** What all its processes have used until now. */
  CpuTimes cpu() {
    return CpuTimes.of(ProcessTree.below(process.pid()), mode::side);
  }

  /** Asks it to end; {@link #stop} waits for that. */
  void askToStop() {
    below = process.descendants().toList();
    try {
      if (program.asked()) {
        questions.close();
      } else {
        process.destroy();
        if (!(mode instanceof OutboardMode)) {
          // A tracer may not end before its program.
          below.forEach(ProcessHandle::destroy);
        }
      }
    } catch (IOException e) {
      // It has ended by itself.
    }
  }

  /** Ends it after {@link #askToStop}; what it says about itself, or null. */
  @Nullable RunStatistics stop() throws InterruptedException {
    process.waitFor(STOP_SECONDS, TimeUnit.SECONDS);
    // The front of `outboard run` ends with its program, the hook writes its statistics after that.
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(STOP_SECONDS);
    while (below.stream().anyMatch(ProcessHandle::isAlive) && System.nanoTime() - deadline < 0) {
      Thread.sleep(STOP_POLL_MILLIS);
    }
    below.forEach(ProcessHandle::destroyForcibly);
    place.site().stop(process, STOP_SECONDS);
    return RunStatistics.read(launch.statistics());
  }
}
