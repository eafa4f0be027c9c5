// SPDX-License-Identifier: MIT
package dev.outboard.service;

import dev.outboard.channel.ServiceFrame;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * What is told of a kernel to somebody who may know of his own sessions alone: nothing from which
 * it could be seen what others do, or that they are there.
 */
final class OwnView {
  private OwnView() {}

  /**
   * His part of what there is.
   *
   * @param all what the kernel says; not trusted to say only its own sessions
   * @param own his sessions on that kernel: the service's numbers, and his
   * @param shared the kernel is one that others may join: what its process uses is not his alone
   */
  static ServiceFrame.KernelStatus of(
      ServiceFrame.KernelStatus all, Map<Long, Long> own, boolean shared) {
    List<ServiceFrame.SessionStatus> sessions = new ArrayList<>();
    for (ServiceFrame.SessionStatus session : all.sessions()) {
      Long number = own.get(session.id());
      if (number != null) {
        sessions.add(session.numbered(number));
      }
    }
    return new ServiceFrame.KernelStatus(
        0,
        all.name(),
        // Numbers of processes tell how many have been started meanwhile, by whomever.
        0,
        all.kernel(),
        all.release(),
        shared ? 0 : all.ageMillis(),
        shared ? 0 : all.rssBytes(),
        all.cpuPercent(),
        shared ? 0 : all.cpuNanos(),
        shared ? 0 : all.throttledNanos(),
        sessions);
  }
}
