// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.posix.CFunction;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * OpenSSL 3 on this machine: that it is there, its keys and its errors. {@link TlsEngine} has what
 * is TLS.
 *
 * <p>What is here keeps nothing of OpenSSL's between two calls. Any platform thread. Sources:
 * OpenSSL's manual, sections 3 and 7, by the names of the functions; {@code crypto.h}, {@code
 * ssl.h}, {@code evp.h}, {@code obj_mac.h}.
 */
public final class OpenSsl {
  /**
   * What is loaded. The version is part of the name: functions and numbers that are used here are
   * the same in all of OpenSSL 3.
   */
  private static final String TLS = "libssl.so.3";

  private static final String CRYPTO = "libcrypto.so.3";

  /** NULL of C. */
  static final long NULL = 0;

  private static final long NO_LOAD_CONFIG = 0x80;
  private static final long NO_ATEXIT = 0x80000;
  private static final long LOAD_SSL_STRINGS = 0x200000;
  private static final long LOAD_CRYPTO_STRINGS = 2;
  private static final int EVP_PKEY_EC = 408;
  private static final int NID_P256 = 415;
  private static final int MAX_REASON = 256;

  /** A DER form of a key of P-256, and a signature by one, are much shorter. */
  private static final int MAX_DER = 4096;

  private static final @Nullable SymbolLookup LIBRARY = find();

  private OpenSsl() {}

  private static @Nullable SymbolLookup find() {
    try {
      return SymbolLookup.libraryLookup(TLS, Arena.global())
          .or(SymbolLookup.libraryLookup(CRYPTO, Arena.global()));
    } catch (IllegalArgumentException e) {
      return null;
    }
  }

  /** Why this machine has no links by TLS, as a sentence with what to do; null if it has. */
  public static @Nullable String missing() {
    return LIBRARY == null
        ? "links by tcp: and keys need OpenSSL 3, and "
            + TLS
            + " is not there: install it, on Debian by: apt-get install openssl"
        : null;
  }

  /** What it calls itself, such as {@code OpenSSL 3.0.19 27 Jan 2026}; where it is not missing. */
  public static String version() {
    return MemorySegment.ofAddress(function("OpenSSL_version").call(0))
        .reinterpret(MAX_REASON)
        .getString(0);
  }

  /**
   * A function of the library.
   *
   * @throws IllegalStateException if there is no library: {@link #missing} says so before
   */
  static CFunction function(String name) {
    SymbolLookup library = LIBRARY;
    if (library == null) {
      throw new IllegalStateException(missing());
    }
    return new CFunction(library.findOrThrow(name));
  }

  /** Those of this class: not looked up where only {@link #missing} is asked. */
  private static final class Functions {
    static final CFunction ERR_CLEAR_ERROR = function("ERR_clear_error");
    static final CFunction ERR_GET_ERROR = function("ERR_get_error");
    static final CFunction ERR_REASON_ERROR_STRING = function("ERR_reason_error_string");
    static final CFunction D2I_AUTO_PRIVATE_KEY = function("d2i_AutoPrivateKey");
    static final CFunction I2D_PUBKEY = function("i2d_PUBKEY");
    static final CFunction EVP_PKEY_FREE = function("EVP_PKEY_free");
    static final CFunction EVP_PKEY_CTX_NEW_ID = function("EVP_PKEY_CTX_new_id");
    static final CFunction EVP_PKEY_CTX_FREE = function("EVP_PKEY_CTX_free");
    static final CFunction EVP_PKEY_KEYGEN_INIT = function("EVP_PKEY_keygen_init");
    static final CFunction EVP_PKEY_CTX_SET_EC_PARAMGEN_CURVE_NID =
        function("EVP_PKEY_CTX_set_ec_paramgen_curve_nid");
    static final CFunction EVP_PKEY_KEYGEN = function("EVP_PKEY_keygen");
    static final CFunction EVP_PKEY2PKCS8 = function("EVP_PKEY2PKCS8");
    static final CFunction I2D_PKCS8 = function("i2d_PKCS8_PRIV_KEY_INFO");
    static final CFunction PKCS8_FREE = function("PKCS8_PRIV_KEY_INFO_free");
    static final CFunction EVP_MD_CTX_NEW = function("EVP_MD_CTX_new");
    static final CFunction EVP_MD_CTX_FREE = function("EVP_MD_CTX_free");
    static final CFunction EVP_SHA256 = function("EVP_sha256");
    static final CFunction EVP_DIGEST_SIGN_INIT = function("EVP_DigestSignInit");
    static final CFunction EVP_DIGEST_SIGN = function("EVP_DigestSign");
    static final CFunction EVP_DIGEST = function("EVP_Digest");

    static {
      // No configuration of the user's, who is the program's: it could load code into this process.
      // Nothing is freed at exit, when threads may still be at work.
      int ready =
          function("OPENSSL_init_ssl")
              .callInt(NO_LOAD_CONFIG | NO_ATEXIT | LOAD_SSL_STRINGS | LOAD_CRYPTO_STRINGS, NULL);
      if (ready != 1) {
        throw new IllegalStateException("OpenSSL does not start: " + reason());
      }
    }
  }

  /** Before a call whose failure is to be told from others: the calling thread's errors go. */
  static void clearErrors() {
    Functions.ERR_CLEAR_ERROR.callInt();
  }

  /** What the calling thread's first error since {@link #clearErrors} was, in OpenSSL's words. */
  static String reason() {
    long error = Functions.ERR_GET_ERROR.call(0);
    long text = error == 0 ? NULL : Functions.ERR_REASON_ERROR_STRING.call(error);
    clearErrors();
    if (text == NULL) {
      return error == 0 ? "no reason given" : "OpenSSL's error " + Long.toHexString(error);
    }
    return MemorySegment.ofAddress(text).reinterpret(MAX_REASON).getString(0);
  }

  /** SHA-256. */
  static byte[] sha256(byte[] data) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment in = arena.allocateFrom(ValueLayout.JAVA_BYTE, data);
      MemorySegment digest = arena.allocate(32);
      long r =
          Functions.EVP_DIGEST.callInt(
              in.address(), data.length, digest.address(), NULL, sha256(), NULL);
      require(r == 1, "SHA-256");
      return digest.toArray(ValueLayout.JAVA_BYTE);
    }
  }

  private static long sha256() {
    return Functions.EVP_SHA256.call(0);
  }

  /** A new private key of P-256, as PKCS #8. */
  static byte[] newKey() {
    long context = Functions.EVP_PKEY_CTX_NEW_ID.call(EVP_PKEY_EC, NULL, 0, 0, 0, 0, 0);
    require(context != NULL, "keys");
    long key = NULL;
    long encoded = NULL;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment place = arena.allocate(ValueLayout.JAVA_LONG);
      require(
          Functions.EVP_PKEY_KEYGEN_INIT.callInt(context) == 1
              && Functions.EVP_PKEY_CTX_SET_EC_PARAMGEN_CURVE_NID.callInt(context, NID_P256) == 1
              && Functions.EVP_PKEY_KEYGEN.callInt(context, place.address()) == 1,
          "a new key of P-256");
      key = place.get(ValueLayout.JAVA_LONG, 0);
      encoded = Functions.EVP_PKEY2PKCS8.call(key);
      require(encoded != NULL, "PKCS #8");
      return Objects.requireNonNull(der(Functions.I2D_PKCS8, encoded));
    } finally {
      Functions.PKCS8_FREE.callInt(encoded);
      Functions.EVP_PKEY_FREE.callInt(key);
      Functions.EVP_PKEY_CTX_FREE.callInt(context);
    }
  }

  /**
   * A private key, for OpenSSL.
   *
   * @param pkcs8 its DER
   * @return an {@code EVP_PKEY}, to be given to {@link #freeKey}; NULL if it is none
   */
  static long key(byte[] pkcs8) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment der = arena.allocateFrom(ValueLayout.JAVA_BYTE, pkcs8);
      MemorySegment at = arena.allocateFrom(ValueLayout.JAVA_LONG, der.address());
      long key = Functions.D2I_AUTO_PRIVATE_KEY.call(NULL, at.address(), pkcs8.length, 0, 0, 0, 0);
      der.fill((byte) 0);
      clearErrors();
      return key;
    }
  }

  /** Gives back what {@link #key} gave; nothing happens if that is NULL. */
  static void freeKey(long key) {
    Functions.EVP_PKEY_FREE.callInt(key);
  }

  /**
   * The public part of a private key.
   *
   * @param pkcs8 the private key's DER
   * @return a SubjectPublicKeyInfo's DER; null if there is no private key in it
   */
  static byte @Nullable [] publicKey(byte[] pkcs8) {
    long key = key(pkcs8);
    try {
      return key == NULL ? null : der(Functions.I2D_PUBKEY, key);
    } finally {
      freeKey(key);
    }
  }

  /** A signature of SHA-256 by a key of P-256, as DER. */
  static byte[] sign(byte[] pkcs8, byte[] data) {
    long key = key(pkcs8);
    long context = Functions.EVP_MD_CTX_NEW.call(0);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment in = arena.allocateFrom(ValueLayout.JAVA_BYTE, data);
      MemorySegment signature = arena.allocate(MAX_DER);
      MemorySegment length = arena.allocateFrom(ValueLayout.JAVA_LONG, MAX_DER);
      require(
          key != NULL
              && context != NULL
              && Functions.EVP_DIGEST_SIGN_INIT.callInt(context, NULL, sha256(), NULL, key, 0) == 1
              && Functions.EVP_DIGEST_SIGN.callInt(
                      context, signature.address(), length.address(), in.address(), data.length, 0)
                  == 1,
          "a signature");
      return signature
          .asSlice(0, length.get(ValueLayout.JAVA_LONG, 0))
          .toArray(ValueLayout.JAVA_BYTE);
    } finally {
      Functions.EVP_MD_CTX_FREE.callInt(context);
      freeKey(key);
    }
  }

  /** What a function {@code i2d_...} makes of something; null if it cannot, or if that is long. */
  static byte @Nullable [] der(CFunction encoder, long of) {
    int bytes = encoder.callInt(of, NULL);
    if (bytes <= 0 || bytes > MAX_DER) {
      clearErrors();
      return null;
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment der = arena.allocate(bytes);
      MemorySegment at = arena.allocateFrom(ValueLayout.JAVA_LONG, der.address());
      int made = encoder.callInt(of, at.address());
      byte[] result = der.toArray(ValueLayout.JAVA_BYTE);
      der.fill((byte) 0); // it may be private
      return made == bytes ? result : null;
    }
  }

  private static void require(boolean done, String what) {
    if (!done) {
      throw new IllegalStateException("OpenSSL does not give " + what + ": " + reason());
    }
  }
}
