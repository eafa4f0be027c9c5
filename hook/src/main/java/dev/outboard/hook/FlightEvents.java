// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.FlightRecorder;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.Period;
import jdk.jfr.StackTrace;
import jdk.jfr.Timespan;

/**
 * What a hook writes to a recording of JFR, the JVM's own recorder, if the JVM was started with
 * one. The recorder's module is there only then: without it, it starts sooner.
 */
final class FlightEvents {
  private static final boolean AVAILABLE = ModuleLayer.boot().findModule("jdk.jfr").isPresent();

  private FlightEvents() {}

  /** Whether something is recorded, or was. */
  static boolean recorded() {
    return AVAILABLE && FlightRecorder.isInitialized();
  }

  /** A call that was trapped, right before it is answered. */
  @Name("dev.outboard.TrappedCall")
  @Label("Trapped Call")
  @Category("Outboard")
  @StackTrace(false)
  static final class TrappedCall extends Event {
    @Label("Thread")
    @Description("The program's thread, by the host's number")
    int caller;

    @Label("Call")
    String call = "";

    @Label("Executed By")
    @Description("device, host, or hook for what neither had to")
    String by = "";

    @Label("Result")
    @Description("What is answered; 0 if the host's kernel will answer")
    long result;

    @Label("Bytes")
    @Description("What the device moved to or from the program's memory; 0 if that is not counted")
    @DataAmount
    long bytes;

    @Label("Device Calls")
    @Description("How many calls of the device it needed")
    int deviceCalls;

    @Label("Device Time")
    @Description("What these took together, with the channel")
    @Timespan(Timespan.NANOSECONDS)
    long deviceTime;

    @Label("Spins Won")
    @Description("Waits for the device that ended while the waiter looked for their end")
    int spinsWon;

    @Label("Spins Lost")
    @Description("Waits that looked in vain, and slept")
    int spinsLost;
  }

  /** What calls of one kind have been up to now that were not trapped. */
  @Name("dev.outboard.UntrappedCalls")
  @Label("Untrapped Calls")
  @Category("Outboard")
  @Period("5 s")
  @StackTrace(false)
  static final class UntrappedCalls extends Event {
    @Label("Call")
    String call = "";

    @Label("Passed")
    @Description("How often the shim let it go to the host's kernel")
    long passed;

    @Label("Direct")
    @Description("How often the shim asked the device itself")
    long direct;

    @Label("At Once")
    @Description("How many of these did not wait for the device")
    long atOnce;

    @Label("Bytes")
    @Description("What these moved")
    @DataAmount
    long bytes;

    @Label("Spins Won")
    @Description("Waits for the device that ended while the waiter looked for their end")
    long spinsWon;

    @Label("Spins Lost")
    @Description("Waits that looked in vain, and slept")
    long spinsLost;
  }

  /** Records an answer. */
  static void answering(Notification n, Notification.Answer outcome, long result) {
    TrappedCall event = new TrappedCall();
    if (!event.shouldCommit()) {
      return;
    }
    boolean host = outcome == Notification.Answer.HOST;
    event.caller = n.tid();
    event.call = n.row().name();
    event.by = host ? "host" : n.deviceCalls() > 0 ? "device" : "hook";
    event.result = host ? 0 : result;
    event.bytes = host ? 0 : Statistics.bytes(n.row(), n.deviceCalls(), result);
    event.deviceCalls = n.deviceCalls();
    event.deviceTime = n.deviceNanos();
    event.spinsWon = n.spinsWon();
    event.spinsLost = n.spinsLost();
    event.commit();
  }

  /**
   * Records from time to time what the shim counts.
   *
   * @return ends that, after a last look: when the programs are gone, and before the shim is
   */
  static Runnable recordUntrapped(Statistics.Untrapped shim) {
    Runnable look = () -> untrapped(shim.counts());
    FlightRecorder.addPeriodicEvent(UntrappedCalls.class, look);
    return () -> {
      FlightRecorder.removePeriodicEvent(look);
      look.run();
    };
  }

  private static void untrapped(ShimCounts shim) {
    for (Row row : SyscallTable.rows()) {
      int nr = row.x86();
      long passed = shim.passed(nr);
      long direct = shim.direct(nr);
      if (passed + direct > 0) {
        UntrappedCalls event = new UntrappedCalls();
        event.call = row.name();
        event.passed = passed;
        event.direct = direct;
        event.atOnce = shim.atOnce(nr);
        event.bytes = shim.directBytes(nr);
        event.spinsWon = shim.spinsWon(nr);
        event.spinsLost = shim.spinsLost(nr);
        event.commit();
      }
    }
  }
}
