// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.util.List;

/**
 * The device's answer to a {@link Frame.Hello}: the session exists. The memfd with the slots comes
 * with it.
 *
 * @param version the version of the protocol that both sides speak from here on
 * @param slots the number of call slots in the memfd
 * @param slotBytes the distance between two slots
 * @param kernel which kind of kernel executes the calls: {@code library} or {@code host}
 * @param release its {@code uname -r}
 * @param system its whole {@code uname -a}
 * @param resolvConf text for the program's {@code /etc/resolv.conf}; may be empty
 * @param devicePaths what is the device's beside its network's files: where exports are mounted in
 *     its kernel, and patterns that it was told. What matches one, and all below, is the device's
 *     for the program. Each is {@link DevicePaths#valid}
 * @param notices lines for the user, about what the device had to decide
 * @param ownNames names are to be asked of the name servers in {@code resolvConf} alone; not told
 *     before {@link FrameCodec#NAMES_VERSION}
 */
public record Welcome(
    int version,
    int slots,
    long slotBytes,
    String kernel,
    String release,
    String system,
    String resolvConf,
    List<String> devicePaths,
    List<String> notices,
    boolean ownNames)
    implements Frame {
  public Welcome {
    devicePaths = List.copyOf(devicePaths);
    notices = List.copyOf(notices);
  }
}
