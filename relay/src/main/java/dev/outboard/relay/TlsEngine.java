// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.posix.CFunction;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * One end of TLS 1.3 (RFC 8446), by OpenSSL: an {@code SSL} between plain bytes and two rings of
 * bytes that come and go, which are a pair of its BIOs. Waits for nothing and knows no socket.
 *
 * <p>Whom it accepts is decided in the handshake, by OpenSSL, and looked at once more behind it:
 * each accepted key is a DANE record "3 1 1" of RFC 7671 (the end's own certificate, its public
 * key, SHA-256), so of a certificate nothing counts but the key. Without a record nobody is
 * accepted.
 *
 * <p>Not for two threads at once, but that bytes may be put into {@link #vacant} and taken out of
 * {@link #sealed} while another thread calls what is not about that ring. Owns all that it has of
 * OpenSSL's up to {@link #free}, after which nothing may be called. Source: OpenSSL's manual.
 */
final class TlsEngine {
  /** Bytes of each ring: eight of the largest records and a little each. */
  static final int RING_BYTES = 144 * 1024;

  /** The most plain bytes that a record has. */
  static final int RECORD_BYTES = 16 * 1024;

  /**
   * The most plain bytes that are sealed at a time, as four records: who reads waits for so long,
   * some 25 µs, and a call into OpenSSL costs as much as sealing a few KiB.
   */
  static final int SEAL_BYTES = 4 * RECORD_BYTES;

  /**
   * What the records that are sealed at a time have beside their plain bytes, and a message of
   * TLS's own before them, at the most.
   */
  static final int OVERHEAD_BYTES = 512;

  /**
   * After so many records the key is changed: RFC 8446, section 5.5, has 2^24.5 of full length as
   * the limit of AES-GCM.
   */
  private static final long KEY_RECORDS = Long.getLong("outboard.link.key.records", 1L << 22);

  private static final CFunction TLS_METHOD = OpenSsl.function("TLS_method");
  private static final CFunction CTX_NEW = OpenSsl.function("SSL_CTX_new");
  private static final CFunction CTX_FREE = OpenSsl.function("SSL_CTX_free");
  private static final CFunction CTX_CTRL = OpenSsl.function("SSL_CTX_ctrl");
  private static final CFunction CTX_SET_CIPHERSUITES =
      OpenSsl.function("SSL_CTX_set_ciphersuites");
  private static final CFunction CTX_SET_NUM_TICKETS = OpenSsl.function("SSL_CTX_set_num_tickets");
  private static final CFunction CTX_SET_OPTIONS = OpenSsl.function("SSL_CTX_set_options");
  private static final CFunction CTX_SET_VERIFY = OpenSsl.function("SSL_CTX_set_verify");
  private static final CFunction CTX_DANE_ENABLE = OpenSsl.function("SSL_CTX_dane_enable");
  private static final CFunction CTX_USE_CERTIFICATE =
      OpenSsl.function("SSL_CTX_use_certificate_ASN1");
  private static final CFunction CTX_USE_PRIVATE_KEY = OpenSsl.function("SSL_CTX_use_PrivateKey");
  private static final CFunction NEW = OpenSsl.function("SSL_new");
  private static final CFunction FREE = OpenSsl.function("SSL_free");
  private static final CFunction SET_BIO = OpenSsl.function("SSL_set_bio");
  private static final CFunction SET_CONNECT_STATE = OpenSsl.function("SSL_set_connect_state");
  private static final CFunction SET_ACCEPT_STATE = OpenSsl.function("SSL_set_accept_state");
  private static final CFunction DANE_ENABLE = OpenSsl.function("SSL_dane_enable");
  private static final CFunction DANE_TLSA_ADD = OpenSsl.function("SSL_dane_tlsa_add");
  private static final CFunction DO_HANDSHAKE = OpenSsl.function("SSL_do_handshake");
  private static final CFunction GET_ERROR = OpenSsl.function("SSL_get_error");
  private static final CFunction GET_VERIFY_RESULT = OpenSsl.function("SSL_get_verify_result");
  private static final CFunction GET0_VERIFIED_CHAIN = OpenSsl.function("SSL_get0_verified_chain");
  private static final CFunction READ_EX = OpenSsl.function("SSL_read_ex");
  private static final CFunction WRITE_EX = OpenSsl.function("SSL_write_ex");
  private static final CFunction KEY_UPDATE = OpenSsl.function("SSL_key_update");
  private static final CFunction SK_VALUE = OpenSsl.function("OPENSSL_sk_value");
  private static final CFunction X509_GET_X509_PUBKEY = OpenSsl.function("X509_get_X509_PUBKEY");
  private static final CFunction I2D_X509_PUBKEY = OpenSsl.function("i2d_X509_PUBKEY");
  private static final CFunction BIO_NEW_BIO_PAIR = OpenSsl.function("BIO_new_bio_pair");
  private static final CFunction BIO_FREE = OpenSsl.function("BIO_free");
  private static final CFunction BIO_PENDING = OpenSsl.function("BIO_ctrl_pending");
  private static final CFunction BIO_NREAD0 = OpenSsl.function("BIO_nread0");
  private static final CFunction BIO_NREAD = OpenSsl.function("BIO_nread");
  private static final CFunction BIO_NWRITE0 = OpenSsl.function("BIO_nwrite0");
  private static final CFunction BIO_NWRITE = OpenSsl.function("BIO_nwrite");

  private static final int CTRL_SET_SESS_CACHE_MODE = 44;
  private static final int CTRL_SET_MAX_CERT_LIST = 51;
  private static final int CTRL_SET_GROUPS_LIST = 92;
  private static final int CTRL_SET_MIN_PROTO_VERSION = 123;
  private static final int CTRL_SET_MAX_PROTO_VERSION = 124;
  private static final int TLS1_3_VERSION = 0x0304;
  private static final int SESS_CACHE_OFF = 0;
  private static final long OP_NO_TICKET = 1 << 14;
  private static final int VERIFY_PEER = 1;
  private static final int VERIFY_FAIL_IF_NO_PEER_CERT = 2;
  private static final int X509_V_OK = 0;
  private static final int ERROR_SSL = 1;
  private static final int ERROR_WANT_READ = 2;
  private static final int ERROR_WANT_WRITE = 3;
  private static final int ERROR_ZERO_RETURN = 6;
  private static final int KEY_UPDATE_NOT_REQUESTED = 0;
  private static final int DANE_EE = 3;
  private static final int DANE_SPKI = 1;
  private static final int DANE_SHA2_256 = 1;

  /** Much more than a certificate of ours has. */
  private static final int MAX_CERTIFICATES_BYTES = 32 * 1024;

  private static final String CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
  private static final String GROUPS = "X25519:P-256";

  private static final AtomicInteger LIVE = new AtomicInteger();

  private final Trust trust;

  // OpenSSL's. The first BIO is the SSL's, the second the socket's side of the pair.
  private long ssl;
  private long inner;
  private long outer;

  // What functions return by a pointer.
  private final MemorySegment result = Arena.ofAuto().allocate(ValueLayout.JAVA_LONG);
  private final ByteBuffer incoming;
  private final long incomingAddress;
  private final ByteBuffer outgoing;
  private final long outgoingAddress;
  private long records;

  /**
   * @param trust whom it accepts
   * @param own what it shows
   * @param client whether it begins
   * @throws TlsException if OpenSSL has no memory for it
   */
  TlsEngine(Trust trust, Identity own, boolean client) throws TlsException {
    OpenSsl.clearErrors();
    this.trust = trust;
    boolean made = false;
    try (Arena arena = Arena.ofConfined()) {
      long context = context(own, arena);
      try {
        ssl = NEW.call(context);
      } finally {
        CTX_FREE.callInt(context); // the SSL keeps it
      }
      require(ssl != OpenSsl.NULL, "an SSL");
      accept(arena);
      MemorySegment pair = arena.allocate(ValueLayout.JAVA_LONG, 2);
      require(
          BIO_NEW_BIO_PAIR.callInt(
                  pair.address(), RING_BYTES, pair.address() + Long.BYTES, RING_BYTES, 0, 0)
              == 1,
          "a pair of BIOs");
      inner = pair.getAtIndex(ValueLayout.JAVA_LONG, 0);
      outer = pair.getAtIndex(ValueLayout.JAVA_LONG, 1);
      outgoingAddress = begin(inner);
      outgoing = MemorySegment.ofAddress(outgoingAddress).reinterpret(RING_BYTES).asByteBuffer();
      incomingAddress = begin(outer);
      incoming = MemorySegment.ofAddress(incomingAddress).reinterpret(RING_BYTES).asByteBuffer();
      SET_BIO.callInt(ssl, inner, inner); // which owns it from here on
      (client ? SET_CONNECT_STATE : SET_ACCEPT_STATE).callInt(ssl);
      made = true;
    } finally {
      if (!made) {
        BIO_FREE.callInt(inner);
        release();
      }
    }
    LIVE.incrementAndGet();
  }

  /** How many there are that have not been freed. */
  static int live() {
    return LIVE.get();
  }

  /**
   * A context for one connection: nothing is remembered that would let another one do without keys.
   */
  private static long context(Identity own, Arena arena) throws TlsException {
    long context = CTX_NEW.call(TLS_METHOD.call(0));
    require(context != OpenSsl.NULL, "a context");
    long key = OpenSsl.key(own.privateKey());
    boolean made = false;
    try {
      MemorySegment certificate = arena.allocateFrom(ValueLayout.JAVA_BYTE, own.certificate());
      require(
          control(context, CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION, OpenSsl.NULL) == 1
              && control(context, CTRL_SET_MAX_PROTO_VERSION, TLS1_3_VERSION, OpenSsl.NULL) == 1
              && CTX_SET_CIPHERSUITES.callInt(context, arena.allocateFrom(CIPHERS).address()) == 1
              && control(context, CTRL_SET_GROUPS_LIST, 0, arena.allocateFrom(GROUPS).address())
                  == 1,
          "TLS 1.3");
      control(context, CTRL_SET_SESS_CACHE_MODE, SESS_CACHE_OFF, OpenSsl.NULL);
      control(context, CTRL_SET_MAX_CERT_LIST, MAX_CERTIFICATES_BYTES, OpenSsl.NULL);
      CTX_SET_OPTIONS.call(context, OP_NO_TICKET, 0, 0, 0, 0, 0);
      require(CTX_SET_NUM_TICKETS.callInt(context, 0) == 1, "a context without tickets");
      CTX_SET_VERIFY.callInt(context, VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, OpenSsl.NULL);
      require(CTX_DANE_ENABLE.callInt(context) > 0, "accepted keys");
      require(
          key != OpenSsl.NULL
              && CTX_USE_CERTIFICATE.callInt(context, certificate.byteSize(), certificate.address())
                  == 1
              && CTX_USE_PRIVATE_KEY.callInt(context, key) == 1,
          "the use of this machine's key");
      made = true;
      return context;
    } finally {
      OpenSsl.freeKey(key);
      if (!made) {
        CTX_FREE.callInt(context);
      }
    }
  }

  private static long control(long context, int command, long number, long pointer) {
    return CTX_CTRL.call(context, command, number, pointer, 0, 0, 0);
  }

  private void accept(Arena arena) throws TlsException {
    // No name: what is accepted is a key, and no server's name is sent.
    require(DANE_ENABLE.callInt(ssl, OpenSsl.NULL) > 0, "accepted keys");
    for (PeerKey key : trust.accepted()) {
      MemorySegment digest =
          arena.allocateFrom(ValueLayout.JAVA_BYTE, OpenSsl.sha256(key.encoded()));
      int added =
          DANE_TLSA_ADD.callInt(
              ssl, DANE_EE, DANE_SPKI, DANE_SHA2_256, digest.address(), digest.byteSize());
      require(added > 0, "an accepted key");
    }
  }

  /** Where the ring is that a BIO's user writes to, of which nothing has been used. */
  private long begin(long bio) throws TlsException {
    int room = BIO_NWRITE0.callInt(bio, result.address());
    require(room == RING_BYTES, "a ring");
    return result.get(ValueLayout.JAVA_LONG, 0);
  }

  /**
   * Goes on with the handshake, with what has come. There may be something to send, whatever comes
   * of it.
   *
   * @return whether it is done: who is at the other end is known, and accepted
   * @throws TlsException if one of the two ends does not accept the other, or does not speak TLS
   *     1.3
   */
  boolean handshake() throws TlsException {
    OpenSsl.clearErrors();
    int r = DO_HANDSHAKE.callInt(ssl);
    int error = r == 1 ? 0 : GET_ERROR.callInt(ssl, r);
    if (error == ERROR_WANT_READ) {
      return false;
    }
    byte[] shown = shown();
    boolean accepted = shown != null && trust.shown(shown);
    if (r != 1) {
      throw failure(error);
    }
    if (!accepted || GET_VERIFY_RESULT.call(ssl) != X509_V_OK) {
      throw new TlsException("the key that was shown is not known");
    }
    return true;
  }

  /** The public key that the other end has shown, as DER; null if it has not. */
  private byte @Nullable [] shown() {
    // Also where it was not accepted: of the chain that was looked at the first one is its own.
    long chain = GET0_VERIFIED_CHAIN.call(ssl);
    long certificate = chain == OpenSsl.NULL ? OpenSsl.NULL : SK_VALUE.call(chain);
    long key = certificate == OpenSsl.NULL ? OpenSsl.NULL : X509_GET_X509_PUBKEY.call(certificate);
    return key == OpenSsl.NULL ? null : OpenSsl.der(I2D_X509_PUBKEY, key);
  }

  /**
   * Opens what has come, up to one record.
   *
   * @param address where the plain bytes go
   * @param room how many may
   * @return how many did; 0 if no record is there as a whole; -1 if the other end has said that
   *     nothing more comes
   * @throws TlsException if it was changed on its way, or is not TLS, or the other end says that
   */
  int open(long address, int room) throws TlsException {
    OpenSsl.clearErrors();
    int r = READ_EX.callInt(ssl, address, room, result.address(), 0, 0);
    if (r == 1) {
      return (int) result.get(ValueLayout.JAVA_LONG, 0);
    }
    int error = GET_ERROR.callInt(ssl, r);
    return switch (error) {
      case ERROR_WANT_READ -> 0;
      case ERROR_ZERO_RETURN -> -1;
      default -> throw failure(error);
    };
  }

  /** Whether there is anything that has come and that {@link #open} has not looked at. */
  boolean hasMore() {
    return BIO_PENDING.call(inner) > 0;
  }

  /**
   * Seals bytes as full records and what is left, where there is room for them.
   *
   * @param bytes {@link #SEAL_BYTES} at most
   * @return false if nothing could be done before what is sealed is sent; then the same bytes are
   *     to be given again
   */
  boolean seal(long address, int bytes) throws TlsException {
    OpenSsl.clearErrors();
    if (records >= KEY_RECORDS) {
      if (KEY_UPDATE.callInt(ssl, KEY_UPDATE_NOT_REQUESTED) != 1) {
        throw failure(ERROR_SSL);
      }
      records = 0;
    }
    int r = WRITE_EX.callInt(ssl, address, bytes, result.address(), 0, 0);
    if (r == 1) {
      records += (bytes + RECORD_BYTES - 1) / RECORD_BYTES;
      if (result.get(ValueLayout.JAVA_LONG, 0) != bytes) {
        throw new TlsException("bytes were sealed in part");
      }
      return true;
    }
    int error = GET_ERROR.callInt(ssl, r);
    if (error == ERROR_WANT_WRITE) {
      return false;
    }
    throw failure(error);
  }

  /**
   * Where bytes that come are to be put, at least one: to be followed by {@link #arrived}, and by
   * no call in between that takes any out.
   */
  ByteBuffer vacant() throws TlsException {
    int room = BIO_NWRITE0.callInt(outer, result.address());
    if (room <= 0) {
      throw new TlsException("a record is longer than there may be"); // the ring holds eight
    }
    int at = (int) (result.get(ValueLayout.JAVA_LONG, 0) - incomingAddress);
    return incoming.limit(at + room).position(at);
  }

  /** So many bytes were put into {@link #vacant}. */
  void arrived(int bytes) throws TlsException {
    int at = incoming.position() - bytes;
    int taken = BIO_NWRITE.callInt(outer, result.address(), bytes);
    if (taken != bytes || result.get(ValueLayout.JAVA_LONG, 0) != incomingAddress + at) {
      throw new TlsException("what came was put in the wrong place");
    }
  }

  /** What is to be sent, none if nothing is: to be followed by {@link #sent}. */
  ByteBuffer sealed() {
    int bytes = Math.max(0, BIO_NREAD0.callInt(outer, result.address()));
    int at = bytes == 0 ? 0 : (int) (result.get(ValueLayout.JAVA_LONG, 0) - outgoingAddress);
    return outgoing.limit(at + bytes).position(at);
  }

  /** All so many bytes of {@link #sealed} have been sent. */
  void sent(int bytes) throws TlsException {
    if (BIO_NREAD.callInt(outer, result.address(), bytes) != bytes) {
      throw new TlsException("more was sent than was sealed");
    }
  }

  private static TlsException failure(int error) {
    String reason = OpenSsl.reason();
    return new TlsException(error == ERROR_SSL ? reason : reason + " (" + error + ")");
  }

  private static void require(boolean done, String what) throws TlsException {
    if (!done) {
      throw new TlsException("OpenSSL does not give " + what + ": " + OpenSsl.reason());
    }
  }

  /** Gives back all that it has of OpenSSL's. Once. */
  void free() {
    release();
    LIVE.decrementAndGet();
  }

  private void release() {
    FREE.callInt(ssl); // and its BIO
    BIO_FREE.callInt(outer);
    ssl = OpenSsl.NULL;
    inner = OpenSsl.NULL;
    outer = OpenSsl.NULL;
  }
}
