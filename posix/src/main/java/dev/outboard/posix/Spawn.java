// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * Starts a process that inherits exactly the descriptors it is given, by {@code posix_spawn(3)}.
 *
 * <p>{@code ProcessBuilder} cannot hand on a descriptor above 2, and {@code fork(2)} must not be
 * called in a JVM. The child gets default dispositions and an empty mask for all signals, and byte
 * for byte the environment with which the {@code outboard} command was called.
 *
 * <p>One user thread; {@link #start} may block for as long as the kernel takes to {@code exec}. The
 * child is not waited for here: the caller owns it.
 */
public final class Spawn {
  // posix_spawnattr_t is 336 bytes and posix_spawn_file_actions_t 80 in glibc on x86-64.
  private static final long OPAQUE_BYTES = 512;
  private static final long SIGSET_BYTES = 128;

  private static final short SETSIGDEF = 0x04;
  private static final short SETSIGMASK = 0x08;
  private static final short SETSID = 0x80;

  private static final CFunction SPAWN = CFunction.ofLibc("posix_spawn");
  private static final CFunction SPAWN_IN_PATH = CFunction.ofLibc("posix_spawnp");
  private static final CFunction ACTIONS_INIT = CFunction.ofLibc("posix_spawn_file_actions_init");
  private static final CFunction ACTIONS_DESTROY =
      CFunction.ofLibc("posix_spawn_file_actions_destroy");
  private static final CFunction ACTIONS_DUP2 =
      CFunction.ofLibc("posix_spawn_file_actions_adddup2");
  private static final CFunction ACTIONS_OPEN =
      CFunction.ofLibc("posix_spawn_file_actions_addopen");
  private static final CFunction ACTIONS_CLOSE_FROM =
      CFunction.ofLibc("posix_spawn_file_actions_addclosefrom_np");
  private static final CFunction ATTRIBUTES_INIT = CFunction.ofLibc("posix_spawnattr_init");
  private static final CFunction ATTRIBUTES_DESTROY = CFunction.ofLibc("posix_spawnattr_destroy");
  private static final CFunction ATTRIBUTES_FLAGS = CFunction.ofLibc("posix_spawnattr_setflags");
  private static final CFunction ATTRIBUTES_SIGDEFAULT =
      CFunction.ofLibc("posix_spawnattr_setsigdefault");
  private static final CFunction ATTRIBUTES_SIGMASK =
      CFunction.ofLibc("posix_spawnattr_setsigmask");

  private final List<String> command;
  private final List<Action> actions = new ArrayList<>();
  private boolean newSession;
  private boolean searchPath;
  private boolean jvmOfOurs;
  private long ignored;
  private Restriction restriction = Restriction.NONE;

  /** What to do with a descriptor in the child, in order. */
  private sealed interface Action {
    record Duplicate(int from, int to) implements Action {}

    record Open(int fd, String path, int flags) implements Action {}

    record CloseFrom(int first) implements Action {}
  }

  /** A process to be: {@code command[0]} is the path of its executable. */
  public Spawn(List<String> command) {
    this.command = List.copyOf(command);
  }

  /**
   * The child's {@code to} is this process's {@code from}, inherited even if it is close-on-exec.
   */
  public Spawn duplicate(int from, int to) {
    actions.add(new Action.Duplicate(from, to));
    return this;
  }

  /** The child's {@code fd} is {@code path}, opened with {@code flags} of {@code open(2)}. */
  public Spawn open(int fd, String path, int flags) {
    actions.add(new Action.Open(fd, path, flags));
    return this;
  }

  /** The child has no descriptor from {@code first} on. */
  public Spawn closeFrom(int first) {
    actions.add(new Action.CloseFrom(first));
    return this;
  }

  /** The child leads a session of its own: no signal of the terminal reaches it. */
  public Spawn newSession() {
    newSession = true;
    return this;
  }

  /** A command without a slash is looked up in PATH, as a shell does. */
  public Spawn searchPath() {
    searchPath = true;
    return this;
  }

  /** The child is a JVM of this project: glibc is to do in it what it does here. */
  public Spawn jvmOfOurs() {
    jvmOfOurs = true;
    return this;
  }

  /**
   * Signals that are ignored here stay ignored in the child; all others are as by default.
   *
   * @param mask bit {@code n - 1} for signal {@code n}
   */
  public Spawn ignoring(long mask) {
    ignored = mask;
    return this;
  }

  /**
   * The child has given up what a restriction says before its first instruction; of {@link #start}
   * alone.
   */
  public Spawn restrictedBy(Restriction given) {
    restriction = given;
    return this;
  }

  /**
   * Starts the child.
   *
   * @return its process id, or {@code -errno} of what failed, {@code exec} included
   */
  public long start() {
    if (!restriction.givesUpAnything()) {
      return startHere();
    }
    // Capabilities and Landlock are each thread's own, and a child has those of the thread that
    // starts it.
    long[] result = new long[1];
    long r = restriction.inThread(() -> result[0] = startHere());
    return r < 0 ? r : result[0];
  }

  private long startHere() {
    try (Arena arena = Arena.ofConfined();
        Prepared child = prepare(arena)) {
      return child.start();
    }
  }

  /**
   * Does all that can be done before the child is started.
   *
   * @param arena owns the memory, and outlives the result
   */
  public Prepared prepare(Arena arena) {
    return new Prepared(this, arena);
  }

  /** A child all of whose preparations are made. */
  public static final class Prepared implements AutoCloseable {
    private final CFunction function;
    private final MemorySegment pid;
    private final MemorySegment path;
    private final MemorySegment fileActions;
    private final MemorySegment attributes;
    private final MemorySegment argv;
    private final long environment;
    private final int error;

    private Prepared(Spawn s, Arena arena) {
      function = s.searchPath ? SPAWN_IN_PATH : SPAWN;
      pid = arena.allocate(ValueLayout.JAVA_INT);
      fileActions = arena.allocate(OPAQUE_BYTES, 16);
      attributes = arena.allocate(OPAQUE_BYTES, 16);
      // As longs: each kind of access has a handle to be made at every start.
      argv = arena.allocate(ValueLayout.JAVA_LONG, s.command.size() + 1L);
      path = Linux.cString(arena, s.command.getFirst());
      argv.setAtIndex(ValueLayout.JAVA_LONG, 0, path.address());
      for (int i = 1; i < s.command.size(); i++) {
        argv.setAtIndex(ValueLayout.JAVA_LONG, i, Linux.cString(arena, s.command.get(i)).address());
      }
      environment =
          Tunables.removedFrom(
              Processes.environ(),
              s.jvmOfOurs ? null : System.getProperty(Tunables.PROPERTY),
              arena);
      // Neither can fail in glibc: they fill a structure.
      int actions = ACTIONS_INIT.callInt(fileActions.address());
      int attribute = ATTRIBUTES_INIT.callInt(attributes.address());
      error =
          actions != 0
              ? actions
              : attribute != 0 ? attribute : s.describe(arena, fileActions, attributes);
    }

    /** Starts the child by one downcall and nothing else; as {@link Spawn#start}. */
    public long start() {
      if (error != 0) {
        return -error;
      }
      int e =
          function.callInt(
              pid.address(),
              path.address(),
              fileActions.address(),
              attributes.address(),
              argv.address(),
              environment);
      return e != 0 ? -e : pid.get(ValueLayout.JAVA_INT, 0);
    }

    /** Frees what libc has allocated. */
    @Override
    public void close() {
      ATTRIBUTES_DESTROY.callInt(attributes.address());
      ACTIONS_DESTROY.callInt(fileActions.address());
    }
  }

  private int describe(Arena arena, MemorySegment fileActions, MemorySegment attributes) {
    long to = fileActions.address();
    for (Action action : actions) {
      int error =
          switch (action) {
            case Action.Duplicate a -> ACTIONS_DUP2.callInt(to, a.from(), a.to());
            case Action.Open a ->
                ACTIONS_OPEN.callInt(
                    to, a.fd(), Linux.cString(arena, a.path()).address(), a.flags(), 0, 0);
            case Action.CloseFrom a -> ACTIONS_CLOSE_FROM.callInt(to, a.first());
          };
      if (error != 0) {
        return error;
      }
    }
    MemorySegment defaults = arena.allocate(SIGSET_BYTES).fill((byte) 0xff);
    defaults.set(ValueLayout.JAVA_LONG, 0, ~ignored);
    MemorySegment none = arena.allocate(SIGSET_BYTES);
    int flags = SETSIGDEF | SETSIGMASK | (newSession ? SETSID : 0);
    int error = ATTRIBUTES_FLAGS.callInt(attributes.address(), flags);
    if (error == 0) {
      error = ATTRIBUTES_SIGDEFAULT.callInt(attributes.address(), defaults.address());
    }
    if (error == 0) {
      error = ATTRIBUTES_SIGMASK.callInt(attributes.address(), none.address());
    }
    return error;
  }
}
