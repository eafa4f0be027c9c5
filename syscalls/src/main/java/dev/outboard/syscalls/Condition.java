// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import java.util.List;

/**
 * What classic BPF can tell about a call before it is trapped: comparisons of 32-bit words of its
 * arguments, joined by and, or, not.
 */
public sealed interface Condition {
  /** Whether it holds for a call with these six arguments. */
  boolean test(long[] args);

  /** Holds for every call. */
  record Always() implements Condition {
    @Override
    public boolean test(long[] args) {
      return true;
    }
  }

  /**
   * Holds if a word of an argument, masked, is one of some values.
   *
   * @param arg index of the argument
   * @param high whether the upper 32 bits are meant
   * @param mask bits that count
   */
  record WordIn(int arg, boolean high, int mask, List<Integer> values) implements Condition {
    public WordIn {
      values = List.copyOf(values);
    }

    @Override
    public boolean test(long[] args) {
      return values.contains((int) (high ? args[arg] >>> 32 : args[arg]) & mask);
    }
  }

  /** Holds if the other does not. */
  record Not(Condition of) implements Condition {
    @Override
    public boolean test(long[] args) {
      return !of.test(args);
    }
  }

  /** Holds if all hold. */
  record All(List<Condition> of) implements Condition {
    public All {
      of = List.copyOf(of);
    }

    @Override
    public boolean test(long[] args) {
      for (Condition c : of) {
        if (!c.test(args)) {
          return false;
        }
      }
      return true;
    }
  }

  /** Holds if one holds. */
  record Any(List<Condition> of) implements Condition {
    public Any {
      of = List.copyOf(of);
    }

    @Override
    public boolean test(long[] args) {
      for (Condition c : of) {
        if (c.test(args)) {
          return true;
        }
      }
      return false;
    }
  }

  /** The lower word of argument {@code arg} is one of {@code values}. */
  static Condition is(int arg, Integer... values) {
    return new WordIn(arg, false, -1, List.of(values));
  }

  /** The lower word of argument {@code arg}, masked, is one of {@code values}. */
  static Condition masked(int arg, int mask, Integer... values) {
    return new WordIn(arg, false, mask, List.of(values));
  }

  /** One of the bits of {@code mask} is set in the lower word of argument {@code arg}. */
  static Condition bits(int arg, int mask) {
    return not(masked(arg, mask, 0));
  }

  /** All 64 bits of argument {@code arg} are {@code value}. */
  static Condition isLong(int arg, long value) {
    return all(
        new WordIn(arg, false, -1, List.of((int) value)),
        new WordIn(arg, true, -1, List.of((int) (value >>> 32))));
  }

  static Condition not(Condition c) {
    return new Not(c);
  }

  static Condition all(Condition... c) {
    return new All(List.of(c));
  }

  static Condition any(Condition... c) {
    return new Any(List.of(c));
  }
}
