// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.io.ByteArrayOutputStream;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/**
 * X.509 certificates that say nothing but a key, as TLS has no other form for one that every
 * OpenSSL 3 offers, or a key and whose it is. RFC 5280, section 4.1; DER as in X.690.
 */
final class Certificates {
  private static final int INTEGER = 0x02;
  private static final int BIT_STRING = 0x03;
  private static final int OCTET_STRING = 0x04;
  private static final int UTF8_STRING = 0x0c;
  private static final int UTC_TIME = 0x17;
  private static final int GENERALIZED_TIME = 0x18;
  private static final int SEQUENCE = 0x30;
  private static final int SET = 0x31;
  private static final int VERSION = 0xa0;
  private static final int EXTENSIONS = 0xa3;

  /** A choice of GeneralName, section 4.2.1.6. */
  private static final int IP_ADDRESS = 0x87;

  /** 1.2.840.10045.4.3.2, ecdsa-with-SHA256 of RFC 5758, and 2.5.4.3, commonName, as DER. */
  private static final byte[] ECDSA_WITH_SHA256 = {
    0x06, 0x08, 0x2a, (byte) 0x86, 0x48, (byte) 0xce, 0x3d, 0x04, 0x03, 0x02
  };

  private static final byte[] COMMON_NAME = {0x06, 0x03, 0x55, 0x04, 0x03};

  /** 2.5.29.17, subjectAltName, as DER. */
  private static final byte[] SUBJECT_ALT_NAME = {0x06, 0x03, 0x55, 0x1d, 0x11};

  private Certificates() {}

  /**
   * A certificate of version 3 that a key has signed for itself, without an end.
   *
   * @param key a SubjectPublicKeyInfo, as DER
   * @param signer the private key, as PKCS #8
   * @param server the address of whoever has the key; null to say none
   * @return its DER
   */
  static byte[] selfSigned(byte[] key, byte[] signer, @Nullable InetAddress server) {
    byte[] algorithm = der(SEQUENCE, ECDSA_WITH_SHA256);
    byte[] name =
        der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8_STRING, ascii("outboard")))));
    byte[] contents =
        der(
            SEQUENCE,
            der(VERSION, der(INTEGER, new byte[] {2})),
            der(INTEGER, new byte[] {1}),
            algorithm,
            name,
            der(
                SEQUENCE,
                der(UTC_TIME, ascii("700101000000Z")),
                // As section 4.1.2.5 has it for those that do not expire.
                der(GENERALIZED_TIME, ascii("99991231235959Z"))),
            name,
            key,
            server == null ? new byte[0] : der(EXTENSIONS, der(SEQUENCE, named(server))));
    byte[] signature = OpenSsl.sign(signer, contents);
    return der(SEQUENCE, contents, algorithm, der(BIT_STRING, new byte[] {0}, signature));
  }

  private static byte[] named(InetAddress server) {
    byte[] names = der(SEQUENCE, der(IP_ADDRESS, server.getAddress()));
    return der(SEQUENCE, SUBJECT_ALT_NAME, der(OCTET_STRING, names));
  }

  private static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  /** A value of DER: tag, length and contents, of less than 64 KiB. */
  private static byte[] der(int tag, byte[]... parts) {
    ByteArrayOutputStream contents = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      contents.writeBytes(part);
    }
    int length = contents.size();
    ByteArrayOutputStream value = new ByteArrayOutputStream();
    value.write(tag);
    if (length >= 0x100) {
      value.write(0x82);
      value.write(length >> 8);
    } else if (length >= 0x80) {
      value.write(0x81);
    }
    value.write(length);
    value.writeBytes(contents.toByteArray());
    return value.toByteArray();
  }
}
