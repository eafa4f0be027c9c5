// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Whom one connection accepts at its other end: the holder of one of these public keys, whatever
 * else a certificate says. That the other end holds the private key, TLS sees to.
 */
final class Trust {
  private final List<PeerKey> accepted;
  private volatile @Nullable PeerKey seen;
  private volatile @Nullable PeerKey matched;

  Trust(List<PeerKey> accepted) {
    this.accepted = List.copyOf(accepted);
  }

  List<PeerKey> accepted() {
    return accepted;
  }

  /**
   * The other end has shown a key.
   *
   * @param encoded a SubjectPublicKeyInfo, as DER
   * @return whether it is accepted
   */
  boolean shown(byte[] encoded) {
    PeerKey shown = PeerKey.parse(PeerKey.of(encoded, "").line());
    seen = shown;
    if (shown != null) {
      for (PeerKey key : accepted) {
        if (key.sameKey(shown)) {
          matched = key;
          return true;
        }
      }
    }
    return false;
  }

  /**
   * The key that the other end showed, which it need not hold; null before it has, or if it is
   * none.
   */
  @Nullable PeerKey seen() {
    return seen;
  }

  /** The accepted key that the other end has shown; after the handshake, who it is. */
  @Nullable PeerKey matched() {
    return matched;
  }
}
