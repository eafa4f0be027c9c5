// SPDX-License-Identifier: MIT
package dev.outboard.hook;

/**
 * What becomes of the first process of the program. Called on one thread of the hook's, in order;
 * must not block.
 */
public interface ProgramEvents {
  /** The program runs. */
  void started(int pid);

  /** A signal has stopped it. */
  void stopped();

  /** It was continued. */
  void continued();

  /**
   * It has ended; others of its tree may live on.
   *
   * @param status as a shell would show it: the exit status, or 128 and the signal's number
   */
  void ended(int status);

  /** Ignores all. */
  static ProgramEvents none() {
    return new ProgramEvents() {
      @Override
      public void started(int pid) {}

      @Override
      public void stopped() {}

      @Override
      public void continued() {}

      @Override
      public void ended(int status) {}
    };
  }
}
