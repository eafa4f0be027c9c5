// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.List;

/**
 * One kind of traffic: a program, and a client that is never offloaded.
 *
 * <p>In this order: {@link #prepare} once, then for each set of measures in {@link #runs} and each
 * mode a {@link #program}, started in all modes side by side; {@link #traffic} in turn; after the
 * program's end {@link #notes}.
 */
interface Workload {
  /** A word, as on the command line. */
  String name();

  /** What is measured, in a few words. */
  String title();

  /** What has to be installed. */
  List<Tool> tools();

  /** Whether there are clients on a network; otherwise the program needs no namespace, nor root. */
  boolean network();

  /** The modes in which it makes sense, of those that were asked for; it may add its own. */
  default List<Mode> modes(List<Mode> asked) {
    return asked;
  }

  /**
   * Measures by run of the program. Those of one run share its start, and the statistics that
   * {@code outboard run} gives at its end.
   */
  List<List<Measure>> runs();

  /** How long a sample takes of which {@code asked} seconds are wanted. */
  default double sampleSeconds(double asked) {
    return asked;
  }

  /** Makes files and programs in {@code site}'s directory. */
  void prepare(Site site) throws BenchException, InterruptedException;

  /** The program, for one place in one mode. */
  Program program(Mode mode, Place place) throws BenchException;

  /**
   * Lets the client make traffic.
   *
   * @param seconds how long about
   * @param rate work a second as it was the last time in this mode; 0 if it is not known
   */
  Sample.Work traffic(Server server, Measure measure, double seconds, double rate)
      throws BenchException, InterruptedException;

  /** Sentences on what happened in the place of a program that has ended; mostly none. */
  default List<String> notes(Mode mode, Place place) {
    return List.of();
  }
}
