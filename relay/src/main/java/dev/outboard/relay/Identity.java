// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.net.InetAddress;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;

/** A machine's own key pair. Immutable. */
public final class Identity {
  private static final String BEGIN = "-----BEGIN PRIVATE KEY-----";
  private static final String END = "-----END PRIVATE KEY-----";
  private static final String BEGIN_CERTIFICATE = "-----BEGIN CERTIFICATE-----";
  private static final String END_CERTIFICATE = "-----END CERTIFICATE-----";
  private static final int PEM_COLUMNS = 64;

  private final PrivateKey privateKey;
  private final PeerKey key;
  private final X509Certificate certificate;

  private Identity(PrivateKey privateKey, PublicKey publicKey, PeerKey key)
      throws GeneralSecurityException {
    this.privateKey = privateKey;
    this.key = key;
    this.certificate = Certificates.selfSigned(publicKey, privateKey, null);
  }

  /** A new one. */
  public static Identity create(String comment) {
    try {
      KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
      generator.initialize(new ECGenParameterSpec("secp256r1"));
      KeyPair pair = generator.generateKeyPair();
      return new Identity(
          pair.getPrivate(), pair.getPublic(), PeerKey.of(pair.getPublic(), comment));
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("every JVM has P-256", e);
    }
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
    byte[] encoded;
    try {
      encoded = Base64.getMimeDecoder().decode(pem.substring(begin + BEGIN.length(), end));
    } catch (IllegalArgumentException e) {
      throw new GeneralSecurityException("no private key in PEM form", e);
    }
    KeyFactory factory = KeyFactory.getInstance("EC");
    PrivateKey privateKey = factory.generatePrivate(new PKCS8EncodedKeySpec(encoded));
    PublicKey publicKey =
        factory.generatePublic(new X509EncodedKeySpec(Base64.getDecoder().decode(key.base64())));
    Identity identity = new Identity(privateKey, publicKey, key);
    try {
      identity.certificate.verify(publicKey);
    } catch (GeneralSecurityException e) {
      throw new GeneralSecurityException("the public key is not that of the private key", e);
    }
    return identity;
  }

  /** The private key, as PKCS #8 in PEM form: for a file that only its owner may read. */
  public String pem() {
    return pem(BEGIN, privateKey.getEncoded(), END);
  }

  /**
   * A certificate in PEM form for a server of this machine's that is no part of outboard: clients
   * that trust it find the address in it.
   */
  public String certificatePem(InetAddress server) {
    try {
      X509Certificate named =
          Certificates.selfSigned(certificate.getPublicKey(), privateKey, server);
      return pem(BEGIN_CERTIFICATE, named.getEncoded(), END_CERTIFICATE);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("the key has signed one before", e);
    }
  }

  private static String pem(String begin, byte[] encoded, String end) {
    Base64.Encoder lines = Base64.getMimeEncoder(PEM_COLUMNS, new byte[] {'\n'});
    return begin + "\n" + lines.encodeToString(encoded) + "\n" + end + "\n";
  }

  /** The public part, for others. */
  public PeerKey key() {
    return key;
  }

  PrivateKey privateKey() {
    return privateKey;
  }

  /** A certificate for TLS, which wants one; others look at the key in it alone. */
  X509Certificate certificate() {
    return certificate;
  }

  @Override
  public String toString() {
    return key.line();
  }
}
