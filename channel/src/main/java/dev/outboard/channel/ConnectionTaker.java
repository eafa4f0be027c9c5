// SPDX-License-Identifier: MIT
package dev.outboard.channel;

/**
 * A session of a host that comes by TCP, in the process of its kernel: whoever has made sure whose
 * its connections are hands them on to there. Any thread.
 */
public interface ConnectionTaker {
  /**
   * Hands a connection on.
   *
   * @param fd a connected TCP socket, the caller's; the session gets a descriptor of its own
   * @param ownKey what TLS on it shows, a private key as PKCS #8 in Base64
   * @param hostKey whom it accepts, a public key as SubjectPublicKeyInfo in Base64
   * @return false if there is nobody any more to take it
   */
  boolean connect(int fd, String ownKey, String hostKey);

  /** Ends the session soon, if it has not ended; also one that never had a connection. */
  void end();
}
