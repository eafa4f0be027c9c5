// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.syscalls.CallPolicy;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;

/**
 * What to run, and how.
 *
 * @param command the program and its arguments; looked up in PATH as a shell does
 * @param fileLimit the soft RLIMIT_NOFILE that the program is to have: the JVM raises its own; -1
 *     for that of this process's parent
 * @param ignoredSignals signals that the program is to start with ignored: bit {@code n - 1} for
 *     signal {@code n}; all others are as by default
 * @param events hears of the program's first process
 * @param ownChild tells this process's own children, which are not the hook's to wait for
 * @param messages takes lines for the user, without a line's end
 * @param statistics counts calls, if given
 * @param trace takes a line for each call that is trapped, if given
 * @param shim whether calls on the host's descriptors may be spared the trap by code in the
 *     program; not while there is a trace
 * @param ahead whether sends may be answered before the device has made them: for one at the other
 *     end of a link
 * @param policy what the program may not do; without the shim, which would not look
 */
public record HookOptions(
    List<String> command,
    long fileLimit,
    long ignoredSignals,
    ProgramEvents events,
    IntPredicate ownChild,
    Consumer<String> messages,
    @Nullable Statistics statistics,
    @Nullable Consumer<String> trace,
    boolean shim,
    boolean ahead,
    CallPolicy policy) {
  public HookOptions {
    command = List.copyOf(command);
    if (command.isEmpty()) {
      throw new IllegalArgumentException("no program to run");
    }
  }

  /** Runs {@code command} with everything as by default; messages go to standard error. */
  public static HookOptions of(List<String> command) {
    return new HookOptions(
        command,
        -1,
        0,
        ProgramEvents.none(),
        pid -> false,
        line -> System.err.println("outboard: " + line),
        null,
        null,
        true,
        false,
        CallPolicy.NONE);
  }

  public HookOptions withEvents(ProgramEvents e) {
    return new HookOptions(
        command,
        fileLimit,
        ignoredSignals,
        e,
        ownChild,
        messages,
        statistics,
        trace,
        shim,
        ahead,
        policy);
  }

  public HookOptions withOwnChild(IntPredicate p) {
    return new HookOptions(
        command,
        fileLimit,
        ignoredSignals,
        events,
        p,
        messages,
        statistics,
        trace,
        shim,
        ahead,
        policy);
  }

  public HookOptions withMessages(Consumer<String> m) {
    return new HookOptions(
        command,
        fileLimit,
        ignoredSignals,
        events,
        ownChild,
        m,
        statistics,
        trace,
        shim,
        ahead,
        policy);
  }

  public HookOptions withStatistics(@Nullable Statistics s) {
    return new HookOptions(
        command,
        fileLimit,
        ignoredSignals,
        events,
        ownChild,
        messages,
        s,
        trace,
        shim,
        ahead,
        policy);
  }

  public HookOptions withTrace(@Nullable Consumer<String> t) {
    return new HookOptions(
        command,
        fileLimit,
        ignoredSignals,
        events,
        ownChild,
        messages,
        statistics,
        t,
        shim,
        ahead,
        policy);
  }

  public HookOptions withShim(boolean on) {
    return new HookOptions(
        command,
        fileLimit,
        ignoredSignals,
        events,
        ownChild,
        messages,
        statistics,
        trace,
        on,
        ahead,
        policy);
  }

  public HookOptions withAhead(boolean on) {
    return new HookOptions(
        command,
        fileLimit,
        ignoredSignals,
        events,
        ownChild,
        messages,
        statistics,
        trace,
        shim,
        on,
        policy);
  }

  public HookOptions withFileLimit(long limit) {
    return new HookOptions(
        command,
        limit,
        ignoredSignals,
        events,
        ownChild,
        messages,
        statistics,
        trace,
        shim,
        ahead,
        policy);
  }

  public HookOptions withIgnoredSignals(long mask) {
    return new HookOptions(
        command,
        fileLimit,
        mask,
        events,
        ownChild,
        messages,
        statistics,
        trace,
        shim,
        ahead,
        policy);
  }

  public HookOptions withPolicy(CallPolicy p) {
    return new HookOptions(
        command,
        fileLimit,
        ignoredSignals,
        events,
        ownChild,
        messages,
        statistics,
        trace,
        shim,
        ahead,
        p);
  }
}
