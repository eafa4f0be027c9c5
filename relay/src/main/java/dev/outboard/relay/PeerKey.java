// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Base64;
import org.jspecify.annotations.Nullable;

/**
 * The public key by which a machine is known, as one line of text:
 *
 * <pre>
 *   outboard-p256 BASE64 COMMENT
 * </pre>
 *
 * <p>BASE64 is the key as X.509 encodes it (SubjectPublicKeyInfo, RFC 5280), of elliptic curve
 * P-256. The comment is for people.
 *
 * @param base64 in the form that {@link #of} gives
 * @param comment may be empty
 */
public record PeerKey(String base64, String comment) {
  private static final String TYPE = "outboard-p256";

  /** How each key of P-256 begins, up to the point's first coordinate: that it is one, as DER. */
  private static final String P256 = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";

  /** What is before the point, its form and two coordinates. */
  private static final int ENCODED_BYTES = 26 + 1 + 2 * 32;

  private static final int MAX_LINE = 1024;

  /**
   * The line's form of a key.
   *
   * @param encoded a SubjectPublicKeyInfo, as DER
   */
  static PeerKey of(byte[] encoded, String comment) {
    return new PeerKey(Base64.getEncoder().encodeToString(encoded), comment);
  }

  /** The key as DER. */
  byte[] encoded() {
    return Base64.getDecoder().decode(base64);
  }

  /**
   * The key that a line names; null if it names none that would do. One that is no point of the
   * curve is never shown by anybody.
   */
  public static @Nullable PeerKey parse(String line) {
    String[] words = line.strip().split("\\s+", 3);
    if (line.length() > MAX_LINE || words.length < 2 || !words[0].equals(TYPE)) {
      return null;
    }
    try {
      byte[] encoded = Base64.getDecoder().decode(words[1]);
      String comment = words.length < 3 ? "" : words[2].strip();
      PeerKey parsed = of(encoded, comment);
      // One form for each key, or two could look like one.
      return parsed.base64.equals(words[1])
              && words[1].startsWith(P256)
              && encoded.length == ENCODED_BYTES
              && comment.chars().noneMatch(Character::isISOControl)
          ? parsed
          : null;
    } catch (IllegalArgumentException e) {
      return null;
    }
  }

  /** The line. */
  public String line() {
    return TYPE + " " + base64 + (comment.isEmpty() ? "" : " " + comment);
  }

  /** What people compare: SHA-256 of the key, as ssh writes it. */
  public String fingerprint() {
    try {
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(encoded());
      return "SHA256:" + Base64.getEncoder().withoutPadding().encodeToString(digest);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("every JVM has SHA-256", e);
    }
  }

  /** Whether it is the same key; comments do not count. */
  public boolean sameKey(PeerKey other) {
    return base64.equals(other.base64);
  }

  /** The comment, or the fingerprint of one that has none. */
  public String name() {
    return comment.isEmpty() ? fingerprint() : comment;
  }
}
