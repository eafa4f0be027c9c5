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
 * @param ignoredSignals signals that the program is to start with ignored: bit {@code n - 1} for
 *     signal {@code n}; all others are as by default
 * @param events hears of the program's first process
 * @param ownChild tells this process's own children, which are not the hook's to wait for
 * @param messages takes lines for the user, without a line's end
 * @param statistics counts calls, if given
 * @param trace takes a line for each call that is trapped, if given
 * @param shim whether calls on the host's descriptors may be spared the trap by code in the
 *     program; not while there is a trace
 * @param executes whether programs may be executed from files of the device; without, that is
 *     EACCES
 * @param ahead whether sends may be answered before the device has made them: for one at the other
 *     end of a link
 * @param certain whether calls whose result is certain, or was told with another one, may be
 *     answered before the device has made them: likewise, and options and closes only if {@code
 *     ahead}
 * @param bpf whether {@code bpf(2)} is the device's, which must offer it
 * @param looks whether what comes for sockets is to be told before programs ask for it: likewise
 * @param policy what the program may not do; without the shim, which would not look
 */
public record HookOptions(
    List<String> command,
    long ignoredSignals,
    ProgramEvents events,
    IntPredicate ownChild,
    Consumer<String> messages,
    @Nullable Statistics statistics,
    @Nullable Consumer<String> trace,
    boolean shim,
    boolean executes,
    boolean ahead,
    boolean certain,
    boolean bpf,
    boolean looks,
    CallPolicy policy) {
  public HookOptions {
    command = List.copyOf(command);
    if (command.isEmpty()) {
      throw new IllegalArgumentException("no program to run");
    }
  }

  /** Runs {@code command} with everything as by default; messages go to standard error. */
  public static Builder builder(List<String> command) {
    return new Builder(command);
  }

  /**
   * Options to be set one after the other; each is named as what it sets, and has the default of
   * {@link #builder} until then. One thread.
   */
  public static final class Builder {
    private final List<String> command;
    private long ignoredSignals;
    private ProgramEvents events = ProgramEvents.none();
    private IntPredicate ownChild = pid -> false;
    private Consumer<String> messages = line -> System.err.println("outboard: " + line);
    private @Nullable Statistics statistics;
    private @Nullable Consumer<String> trace;
    private boolean shim = true;
    private boolean executes = true;
    private boolean ahead;
    private boolean certain;
    private boolean bpf;
    private boolean looks;
    private CallPolicy policy = CallPolicy.NONE;

    private Builder(List<String> command) {
      this.command = command;
    }

    public Builder ignoredSignals(long ignoredSignals) {
      this.ignoredSignals = ignoredSignals;
      return this;
    }

    public Builder events(ProgramEvents events) {
      this.events = events;
      return this;
    }

    public Builder ownChild(IntPredicate ownChild) {
      this.ownChild = ownChild;
      return this;
    }

    public Builder messages(Consumer<String> messages) {
      this.messages = messages;
      return this;
    }

    public Builder statistics(@Nullable Statistics statistics) {
      this.statistics = statistics;
      return this;
    }

    public Builder trace(@Nullable Consumer<String> trace) {
      this.trace = trace;
      return this;
    }

    public Builder shim(boolean shim) {
      this.shim = shim;
      return this;
    }

    public Builder executes(boolean executes) {
      this.executes = executes;
      return this;
    }

    public Builder ahead(boolean ahead) {
      this.ahead = ahead;
      return this;
    }

    public Builder certain(boolean certain) {
      this.certain = certain;
      return this;
    }

    public Builder bpf(boolean bpf) {
      this.bpf = bpf;
      return this;
    }

    public Builder looks(boolean looks) {
      this.looks = looks;
      return this;
    }

    public Builder policy(CallPolicy policy) {
      this.policy = policy;
      return this;
    }

    /**
     * The options as they were set.
     *
     * @throws IllegalArgumentException if there is no program to run
     */
    public HookOptions build() {
      return new HookOptions(
          command,
          ignoredSignals,
          events,
          ownChild,
          messages,
          statistics,
          trace,
          shim,
          executes,
          ahead,
          certain,
          bpf,
          looks,
          policy);
    }
  }
}
