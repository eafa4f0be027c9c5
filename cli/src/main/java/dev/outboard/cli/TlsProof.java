// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.util.Optional;

/**
 * Whether the device's kernel encrypted one connection.
 *
 * @param request what was fetched by it
 * @param agreed version and cipher, as nginx names them
 * @param keys what the device's kernel counted while it was there, and no other was
 */
record TlsProof(DemoSite.Request request, String agreed, TlsCounts keys) {
  /**
   * What is wrong, in words; nothing if the kernel was given the keys of this connection: those to
   * send with, and to receive with where each OpenSSL that can does so.
   */
  Optional<String> doubt() {
    boolean receivesAlways = request.by() == DemoSite.By.TLS_1_2;
    boolean right =
        keys.sending() == 1
            && keys.receiving() <= 1
            && keys.receiving() >= (receivesAlways ? 1 : 0);
    return right
        ? Optional.empty()
        : Optional.of(
            "the device's kernel was not given the keys of "
                + request.title()
                + ": TlsTxSw rose by "
                + keys.sending()
                + " and TlsRxSw by "
                + keys.receiving()
                + ", not by 1"
                + (receivesAlways ? "" : " and 0 or 1")
                + ". nginx and OpenSSL 3.0 or newer, built with kernel TLS, are needed;"
                + " without they encrypt by themselves and say nothing");
  }
}
