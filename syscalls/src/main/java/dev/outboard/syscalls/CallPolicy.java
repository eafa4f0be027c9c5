// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Which calls a program may not make at all. Made of words:
 *
 * <pre>
 *   bind                a call of the table, and its variants: those that the same call does the
 *                       work of (open for openat), and those that differ by a number (accept4)
 *   socket:AF_PACKET    sockets of that family
 * </pre>
 *
 * <p>What decides is in registers: the call's number, and a family. A value; any thread.
 */
public final class CallPolicy {
  /** Nothing is denied. */
  public static final CallPolicy NONE = new CallPolicy(new BitSet(), Set.of(), null);

  private static final String FAMILY_OF = "socket:";

  private final BitSet denied;
  private final Set<Integer> deniedFamilies;
  private final @Nullable Set<Integer> allowedFamilies;
  private final int socket;
  private final int socketpair;

  private CallPolicy(
      BitSet denied, Set<Integer> deniedFamilies, @Nullable Set<Integer> allowedFamilies) {
    this.denied = denied;
    this.deniedFamilies = deniedFamilies;
    this.allowedFamilies = allowedFamilies;
    this.socket = SyscallTable.row("socket").x86();
    this.socketpair = SyscallTable.row("socketpair").x86();
  }

  /**
   * A policy.
   *
   * @param deny words as above
   * @param allow families as above; if there are any, sockets of all others are denied
   * @throws IllegalArgumentException if a word is none; the message is for the user
   */
  public static CallPolicy of(List<String> deny, List<String> allow) {
    if (deny.isEmpty() && allow.isEmpty()) {
      return NONE;
    }
    BitSet calls = new BitSet();
    Set<Integer> families = new HashSet<>();
    for (String word : deny) {
      if (word.startsWith(FAMILY_OF)) {
        families.add(family(word));
      } else {
        Row named = SyscallTable.byName(word);
        if (named == null) {
          throw new IllegalArgumentException("there is no call '" + word + "'");
        }
        for (Row row : SyscallTable.rows()) {
          if (row.x86() >= 0 && family(row).equals(family(named))) {
            calls.set(row.x86());
          }
        }
      }
    }
    Set<Integer> allowed = null;
    for (String word : allow) {
      if (!word.startsWith(FAMILY_OF)) {
        throw new IllegalArgumentException(
            "only families can be allowed, such as socket:AF_INET, not '" + word + "'");
      }
      allowed = allowed == null ? new HashSet<>() : allowed;
      allowed.add(family(word));
    }
    return new CallPolicy(
        calls, Set.copyOf(families), allowed == null ? null : Set.copyOf(allowed));
  }

  /** What variants of a call have in common. */
  private static String family(Row row) {
    String name = row.carrier().isEmpty() ? row.name() : row.carrier();
    return name.replaceFirst("[0-9]+$", "");
  }

  private static int family(String word) {
    String name = word.substring(FAMILY_OF.length());
    int value = Names.value("AF", name);
    if (value < 0) {
      throw new IllegalArgumentException("there is no family '" + name + "'");
    }
    return value;
  }

  /**
   * When a call is denied.
   *
   * @param number of x86-64
   * @return null if it never is
   */
  public @Nullable Condition when(int number) {
    if (denied.get(number)) {
      return new Condition.Always();
    }
    if (number != socket && number != socketpair) {
      return null;
    }
    List<Condition> any = new ArrayList<>();
    if (!deniedFamilies.isEmpty()) {
      any.add(new Condition.WordIn(0, false, -1, List.copyOf(deniedFamilies)));
    }
    if (allowedFamilies != null) {
      any.add(new Condition.Not(new Condition.WordIn(0, false, -1, List.copyOf(allowedFamilies))));
    }
    return any.isEmpty() ? null : new Condition.Any(any);
  }

  /**
   * Whether a call is denied.
   *
   * @param number of x86-64
   * @param args its six arguments
   */
  public boolean denies(int number, long[] args) {
    Condition when = isNone() ? null : when(number);
    return when != null && when.test(args);
  }

  /** Whether nothing is denied. */
  public boolean isNone() {
    return denied.isEmpty() && deniedFamilies.isEmpty() && allowedFamilies == null;
  }
}
