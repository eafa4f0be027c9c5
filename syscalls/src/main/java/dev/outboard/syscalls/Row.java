// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Architecture;
import dev.outboard.syscalls.Arg.Kind;
import java.util.List;
import java.util.Objects;

/**
 * One system call: its numbers, its arguments, where it runs and how well it is supported.
 * Immutable; made by {@link SyscallTable} alone.
 */
public final class Row {
  private final String name;
  private final int x86;
  private final int canonical;
  private final List<Arg> args;
  private final ResultKind result;
  private final Route route;
  private final boolean device;
  private final boolean mayBlock;
  private final boolean mayGoAhead;
  private final boolean overtakes;
  private final boolean asks;
  private final Support support;
  private final int errno;
  private final Condition trapWhen;
  private final Condition trapWhenExports;
  private final String carrier;
  private final String note;

  private final int fdIndex;
  private final int offsetIndex;
  private final boolean passes;
  private final boolean sends;
  private final Arg[] fast; // what args holds, without a list's bounds and casts

  Row(
      String name,
      int x86,
      int canonical,
      List<Arg> args,
      ResultKind result,
      Route route,
      boolean device,
      boolean mayBlock,
      boolean mayGoAhead,
      boolean overtakes,
      boolean asks,
      boolean mayPass,
      Support support,
      int errno,
      Condition trapWhen,
      Condition trapWhenExports,
      String carrier,
      String note) {
    this.name = name;
    this.x86 = x86;
    this.canonical = canonical;
    this.args = List.copyOf(args);
    this.result = result;
    this.route = route;
    this.device = device;
    this.mayBlock = mayBlock;
    this.mayGoAhead = mayGoAhead;
    this.overtakes = overtakes;
    this.asks = asks;
    this.support = support;
    this.errno = errno;
    this.trapWhen = Objects.requireNonNull(trapWhen);
    this.trapWhenExports = Objects.requireNonNull(trapWhenExports);
    this.carrier = carrier;
    this.note = note;
    this.fast = args.toArray(new Arg[0]);
    int fd = -1;
    int offset = -1;
    for (int i = fast.length - 1; i >= 0; i--) {
      fd = fast[i].kind() == Kind.FD ? i : fd;
      offset = fast[i].kind() == Kind.SCALAR && fast[i].name().equals("offset") ? i : offset;
    }
    this.fdIndex = fd;
    int fds = 0;
    boolean puts = false;
    for (Arg a : fast) {
      fds += a.kind() == Kind.FD ? 1 : 0;
      puts |=
          switch (a.kind()) {
            case OUT, IOVEC_OUT, MSGHDR_OUT, INOUT -> true;
            default -> false;
          };
    }
    this.sends = !puts;
    this.passes = mayPass && device && route == Route.FD && fds == 1 && fd == 0;
    this.offsetIndex = result == ResultKind.BYTES ? offset : -1;
  }

  /** The kernel's name of the call. */
  public String name() {
    return name;
  }

  /** Its number on a machine, -1 if it is not there. */
  public int number(Architecture machine) {
    return machine == Architecture.X86_64 ? x86 : canonical;
  }

  /** Its number on x86-64. */
  public int x86() {
    return x86;
  }

  /** Its number in asm-generic, used on the wire; -1 if asm-generic lacks the call. */
  public int canonical() {
    return canonical;
  }

  /** The call that does its work where {@link #canonical()} is -1; empty if none does. */
  public String carrier() {
    return carrier;
  }

  /** Its arguments in order, at most six. */
  public List<Arg> args() {
    return args;
  }

  /** How many arguments it has. */
  public int argCount() {
    return fast.length;
  }

  /** Argument {@code i}, which is below {@link #argCount()}. */
  public Arg arg(int i) {
    return fast[i];
  }

  /** What its result means. */
  public ResultKind result() {
    return result;
  }

  /** Where it runs. */
  public Route route() {
    return route;
  }

  /** Whether the device accepts it from a host, and both marshallers know it. */
  public boolean onDevice() {
    return device;
  }

  /** Whether it may wait for something that others do. */
  public boolean mayBlock() {
    return mayBlock;
  }

  /** Whether it only takes from the caller's memory, as writes do, and puts nothing there. */
  public boolean sends() {
    return sends;
  }

  /**
   * Whether it sends a stream's bytes, so that it may end before a device at the other end of a
   * link has made it.
   */
  public boolean mayGoAhead() {
    return mayGoAhead;
  }

  /**
   * Whether it means the same with or without the bytes that went ahead on its file, so that it
   * need not wait until the device has sent them.
   */
  public boolean overtakes() {
    return overtakes;
  }

  /**
   * Whether a call of it only asks what there is to know of a socket: it waits for nobody but who
   * is in the middle of another call on it, and the answer does not depend on who asks.
   */
  public boolean asks(Call call) {
    return asks && (argCount() < 3 || !arg(2).set().equals("SO") || isAsked(call));
  }

  private static boolean isAsked(Call call) {
    return SocketOptions.isAsked(call.args[1], call.args[2]);
  }

  /**
   * Whether its descriptor has to be a socket: {@code net/socket.c} looks at that first. Source of
   * the numbers: {@code include/uapi/asm-generic/unistd.h}.
   */
  public boolean ofSocket() {
    boolean since = canonical == 242 || canonical == 243 || canonical == 269;
    return since || (canonical >= 200 && canonical <= 212);
  }

  /** How well it is supported. */
  public Support support() {
    return support;
  }

  /** What a refused call is answered with; 0 for all others. */
  public int errno() {
    return errno;
  }

  /** Which calls of a trapped row trap; the others are allowed without. */
  public Condition trapWhen() {
    return trapWhen(false);
  }

  /**
   * The same for a session whose device has exports or not: where it has, a descriptor may be a
   * regular file of the device's, and more rows trap.
   */
  public Condition trapWhen(boolean exports) {
    return exports ? trapWhenExports : trapWhen;
  }

  /** One line for people: what is peculiar, missing, or why. May be empty. */
  public String note() {
    return note;
  }

  /** Index of the first descriptor argument, or -1. */
  public int fdIndex() {
    return fdIndex;
  }

  /**
   * Whether, on a descriptor of the host's, the host's kernel does it all and the hook need not
   * know: such a call, with its descriptor as first argument, needs no trap once that is known.
   */
  public boolean passes() {
    return passes;
  }

  /** Index of the argument that says where in the file a transfer starts, or -1. */
  public int offsetIndex() {
    return offsetIndex;
  }

  /** Whether the filter traps it, for some arguments at least. */
  public boolean trapped() {
    return route != Route.HOST && route != Route.REFUSED;
  }

  @Override
  public String toString() {
    return name;
  }
}
