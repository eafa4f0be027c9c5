// SPDX-License-Identifier: MIT
package dev.outboard.channel;

/** Is told what becomes of a session that its kernel's process carries. Any thread. */
public interface SessionFate {
  /** Something has happened to its link that a log should have. */
  void says(String line);

  /** It is over, and will not be heard of any more. Repeatable. */
  void ended(String why);
}
