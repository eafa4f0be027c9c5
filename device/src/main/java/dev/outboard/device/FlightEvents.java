// SPDX-License-Identifier: MIT
package dev.outboard.device;

import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.FlightRecorder;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;
import org.jspecify.annotations.Nullable;

/**
 * What a device writes to a recording of JFR, the JVM's own recorder, if there is one. As long as
 * there has been none in this process, all that it costs is to look.
 *
 * <p>The recorder's module is there only if the JVM is started with a recording, which adds it:
 * without it, it starts sooner.
 */
final class FlightEvents {
  private static final boolean AVAILABLE = ModuleLayer.boot().findModule("jdk.jfr").isPresent();

  private FlightEvents() {}

  /** Whether something is recorded, or was. */
  static boolean recorded() {
    return AVAILABLE && FlightRecorder.isInitialized();
  }

  /** A session, from its welcome to its end. */
  @Name("dev.outboard.Session")
  @Label("Session")
  @Category("Outboard")
  @StackTrace(false)
  static final class SessionEvent extends Event {
    @Label("Number")
    long number;

    @Label("Client")
    String client = "";

    @Label("Calls")
    long calls;

    @Label("End")
    @Description("Why it has ended")
    String why = "";
  }

  /** A call that the device's kernel has carried out. */
  @Name("dev.outboard.Call")
  @Label("Call")
  @Category("Outboard")
  @StackTrace(false)
  static final class CallEvent extends Event {
    @Label("Session")
    long session;

    @Label("Process")
    @Description("By the host's number")
    int process;

    @Label("Call")
    @Description("Canonical number, or a pseudo call's")
    int call;

    @Label("Result")
    long result;

    @Label("Bytes")
    @Description("What it moved; 0 for calls that say so in memory alone")
    @DataAmount
    long bytes;

    @Label("Spin Won")
    @Description("Its thread was looking for it, and did not have to be woken")
    boolean spinWon;
  }

  /** The beginning of a call; null if nothing records. */
  static @Nullable CallEvent beginCall() {
    if (!recorded()) {
      return null;
    }
    CallEvent event = new CallEvent();
    event.begin();
    return event;
  }

  /** The beginning of a session; null if nothing has been recorded so far. */
  static @Nullable SessionEvent beginSession() {
    if (!recorded()) {
      return null;
    }
    SessionEvent event = new SessionEvent();
    event.begin();
    return event;
  }
}
