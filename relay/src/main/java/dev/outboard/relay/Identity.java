// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.net.InetAddress;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import java.util.Base64;
import java.util.Objects;

/**
 * A machine's own key pair. Immutable. Only where there is OpenSSL: {@link OpenSsl#missing} is to
 * be asked before.
 */
public final class Identity {
  private static final String BEGIN = "-----BEGIN PRIVATE KEY-----";
  private static final String END = "-----END PRIVATE KEY-----";
  private static final String BEGIN_CERTIFICATE = "-----BEGIN CERTIFICATE-----";
  private static final String END_CERTIFICATE = "-----END CERTIFICATE-----";
  private static final int PEM_COLUMNS = 64;

  private final byte[] privateKey;
  private final PeerKey key;
  private final byte[] certificate;

  private Identity(byte[] privateKey, PeerKey key) {
    this.privateKey = privateKey;
    this.key = key;
    this.certificate = Certificates.selfSigned(key.encoded(), privateKey, null);
  }

  /** A new one. */
  public static Identity create(String comment) {
    byte[] privateKey = OpenSsl.newKey();
    byte[] encoded = Objects.requireNonNull(OpenSsl.publicKey(privateKey));
    return new Identity(privateKey, PeerKey.of(encoded, comment));
  }

  /**
   * One that was kept.
   *
   * @param pem what {@link #pem} gave
   * @param key the public part
   * @throws GeneralSecurityException if the two are not a pair of keys
   */
  public static Identity of(String pem, PeerKey key) throws GeneralSecurityException {
    int begin = pem.indexOf(BEGIN);
    int end = pem.indexOf(END);
    if (begin < 0 || end < begin) {
      throw new GeneralSecurityException("no private key in PEM form");
    }
    byte[] privateKey;
    try {
      privateKey = Base64.getMimeDecoder().decode(pem.substring(begin + BEGIN.length(), end));
    } catch (IllegalArgumentException e) {
      throw new GeneralSecurityException("no private key in PEM form", e);
    }
    byte[] encoded = OpenSsl.publicKey(privateKey);
    if (encoded == null) {
      throw new GeneralSecurityException("no private key in PEM form");
    }
    if (!Arrays.equals(encoded, key.encoded())) {
      throw new GeneralSecurityException("the public key is not that of the private key");
    }
    return new Identity(privateKey, key);
  }

  /**
   * One whose private key came from another process.
   *
   * @param privateKey as {@link #privateKey} gives it
   * @throws GeneralSecurityException if it is none
   */
  static Identity of(byte[] privateKey) throws GeneralSecurityException {
    byte[] encoded = OpenSsl.publicKey(privateKey);
    if (encoded == null) {
      throw new GeneralSecurityException("no private key");
    }
    return new Identity(privateKey, PeerKey.of(encoded, ""));
  }

  /** The private key, as PKCS #8 in PEM form: for a file that only its owner may read. */
  public String pem() {
    return pem(BEGIN, privateKey, END);
  }

  /**
   * A certificate in PEM form for a server of this machine's that is no part of outboard: clients
   * that trust it find the address in it.
   */
  public String certificatePem(InetAddress server) {
    return pem(
        BEGIN_CERTIFICATE,
        Certificates.selfSigned(key.encoded(), privateKey, server),
        END_CERTIFICATE);
  }

  private static String pem(String begin, byte[] encoded, String end) {
    Base64.Encoder lines = Base64.getMimeEncoder(PEM_COLUMNS, new byte[] {'\n'});
    return begin + "\n" + lines.encodeToString(encoded) + "\n" + end + "\n";
  }

  /** The public part, for others. */
  public PeerKey key() {
    return key;
  }

  /** The private key as PKCS #8, not to be changed. */
  byte[] privateKey() {
    return privateKey;
  }

  /**
   * A certificate for TLS, which wants one, as DER, not to be changed; others look at the key in it
   * alone.
   */
  byte[] certificate() {
    return certificate;
  }

  @Override
  public String toString() {
    return key.line();
  }
}
