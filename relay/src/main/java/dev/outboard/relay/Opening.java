// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.channel.PlainText;
import dev.outboard.channel.ServiceFrame;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HexFormat;
import org.jspecify.annotations.Nullable;

/**
 * What the two ends of a connection say first: the host which stream it wants to begin or go on
 * with, the device whether it may. All numbers are little-endian.
 *
 * <pre>
 *   from the host:   magic u32 "obln", lowest version u16, highest version u16,
 *                    kind u16 (1 begin, 2 go on, 3 status), zero u16, patience ms u32,
 *                    stream 16 bytes (go on; otherwise zeros), zero u64;
 *                    begin and go on: key, length u16, so many bytes of a name to share by (begin)
 *   from the device: magic u32, version u16, status u16, patience ms u32, length u16, zero u16,
 *                    stream 16 bytes, zero u64, then so many bytes of UTF-8;
 *                    begin and go on, if the status is zero: key
 * </pre>
 *
 * <p>The fields before {@code kind} and {@code patience}, and that the text tells what is wrong if
 * the status is not zero, are the same in all versions.
 *
 * <p>A key is a SubjectPublicKeyInfo of P-256, made for this one connection: behind the answer to
 * begin or go on TLS begins anew on the connection, between the holders of these two keys and
 * nobody else. So the session's end of it can be in a process that has no other.
 */
final class Opening {
  /** The versions of the records that this side speaks. */
  static final int LOWEST_VERSION = 3;

  static final int HIGHEST_VERSION = 3;

  /** From this version on there is {@link Kind#STATUS}. */
  static final int STATUS_VERSION = 2;

  static final int OK = 0;

  /** The two sides have no version in common. */
  static final int OTHER_VERSION = 1;

  /** There is no such stream, or not any more. */
  static final int NO_STREAM = 2;

  /** The device cannot serve one more, or nothing at all. */
  static final int NOT_NOW = 3;

  private static final int MAGIC = 0x6e6c_626f; // "obln"
  private static final int REQUEST_BYTES = 40;
  private static final int ANSWER_BYTES = 40;
  private static final int MAX_TEXT = 1024;
  private static final int ID_BYTES = 16;
  private static final int KEY_BYTES = 91;

  /** The id of a stream that is to begin. */
  static final String NONE = "0".repeat(2 * ID_BYTES);

  /** What a connection is for. */
  enum Kind {
    /** A new stream. */
    BEGIN(1),
    /** A stream that there is. */
    GO_ON(2),
    /** Questions about what the device does. */
    STATUS(3);

    private final int number;

    Kind(int number) {
      this.number = number;
    }

    /** Whether a session is behind it. */
    boolean carries() {
      return this != STATUS;
    }

    private static @Nullable Kind of(int number) {
      for (Kind kind : values()) {
        if (kind.number == number) {
          return kind;
        }
      }
      return null;
    }
  }

  /**
   * @param stream 32 hexadecimal digits
   * @param key the host's for what follows; null if nothing does
   * @param share the name of the kernel that the session is to share; empty for none
   */
  record Request(
      int lowestVersion,
      int highestVersion,
      Kind kind,
      Duration patience,
      String stream,
      @Nullable PeerKey key,
      String share) {
    /** Of this end's versions. */
    Request(Kind kind, Duration patience, String stream, @Nullable PeerKey key, String share) {
      this(LOWEST_VERSION, HIGHEST_VERSION, kind, patience, stream, key, share);
    }

    /** The highest version that both ends speak, or this end's if there is none. */
    int version() {
      return highestVersion < LOWEST_VERSION
          ? HIGHEST_VERSION
          : Math.min(highestVersion, HIGHEST_VERSION);
    }
  }

  /**
   * @param version that both speak, or the highest that the device does
   * @param text why not, if status is not {@link #OK}
   * @param key the device's for what follows; null if nothing does
   */
  record Answer(
      int version,
      int status,
      Duration patience,
      String stream,
      String text,
      @Nullable PeerKey key) {}

  private Opening() {}

  static void send(Connection connection, Request request) throws IOException {
    byte[] share = request.share().getBytes(StandardCharsets.US_ASCII);
    PeerKey key = request.key();
    ByteBuffer b = direct(REQUEST_BYTES + KEY_BYTES + 2 + share.length);
    b.putInt(MAGIC);
    b.putShort((short) request.lowestVersion()).putShort((short) request.highestVersion());
    b.putShort((short) request.kind().number).putShort((short) 0);
    b.putInt((int) request.patience().toMillis());
    b.put(HexFormat.of().parseHex(request.stream())).putLong(0);
    if (key != null) {
      b.put(key.encoded()).putShort((short) share.length).put(share);
    }
    connection.write(b.flip(), direct(0));
  }

  static Request receiveRequest(Connection connection) throws IOException {
    ByteBuffer b = receive(connection, REQUEST_BYTES);
    magic(b);
    int lowest = Short.toUnsignedInt(b.getShort());
    int highest = Short.toUnsignedInt(b.getShort());
    Kind kind = Kind.of(Short.toUnsignedInt(b.getShort()));
    int zero = b.getShort();
    Duration patience = Duration.ofMillis(Integer.toUnsignedLong(b.getInt()));
    String stream = id(b);
    // Of a version that this end does not know, whatever it asks for: it is refused.
    boolean spoken = lowest <= HIGHEST_VERSION && highest >= LOWEST_VERSION;
    if (spoken && (kind == null || zero != 0)) {
      throw new IOException("it asks for what there is not");
    }
    Kind wanted = kind == null ? Kind.BEGIN : kind;
    PeerKey key = null;
    String share = "";
    if (spoken && wanted.carries()) {
      key = key(connection);
      int length = Short.toUnsignedInt(receive(connection, 2).getShort());
      if (length > MAX_TEXT) {
        throw new IOException("it gives a name of " + length + " bytes");
      }
      share = text(connection, length);
      if (!share.isEmpty() && !ServiceFrame.validName(share)) {
        throw new IOException("it wants to share what no kernel is called");
      }
    }
    return new Request(lowest, highest, wanted, patience, stream, key, share);
  }

  static void send(Connection connection, Answer answer) throws IOException {
    byte[] text = answer.text().getBytes(StandardCharsets.UTF_8);
    int length = Math.min(text.length, MAX_TEXT);
    PeerKey key = answer.key();
    ByteBuffer b = direct(ANSWER_BYTES + length + KEY_BYTES);
    b.putInt(MAGIC).putShort((short) answer.version()).putShort((short) answer.status());
    b.putInt((int) answer.patience().toMillis()).putShort((short) length).putShort((short) 0);
    b.put(HexFormat.of().parseHex(answer.stream())).putLong(0);
    b.put(text, 0, length);
    if (key != null) {
      b.put(key.encoded());
    }
    connection.write(b.flip(), direct(0));
  }

  /**
   * @param kind of the request
   */
  static Answer receiveAnswer(Connection connection, Kind kind) throws IOException {
    ByteBuffer b = receive(connection, ANSWER_BYTES);
    magic(b);
    int version = Short.toUnsignedInt(b.getShort());
    int status = b.getShort();
    Duration patience = Duration.ofMillis(Integer.toUnsignedLong(b.getInt()));
    int length = Short.toUnsignedInt(b.getShort());
    b.getShort();
    String stream = id(b);
    if (length > MAX_TEXT) {
      throw new IOException("it gives a reason of " + length + " bytes");
    }
    String plain = PlainText.of(text(connection, length));
    boolean spoken = version >= LOWEST_VERSION && version <= HIGHEST_VERSION;
    PeerKey key = status == OK && spoken && kind.carries() ? key(connection) : null;
    return new Answer(version, status, patience, stream, plain, key);
  }

  private static PeerKey key(Connection connection) throws IOException {
    byte[] encoded = new byte[KEY_BYTES];
    receive(connection, KEY_BYTES).get(encoded);
    PeerKey key = PeerKey.parse(PeerKey.of(encoded, "").line());
    if (key == null) {
      throw new IOException("it gives a key that is none");
    }
    return key;
  }

  private static String text(Connection connection, int length) throws IOException {
    byte[] text = new byte[length];
    receive(connection, length).get(text);
    return new String(text, StandardCharsets.UTF_8);
  }

  /** Says how much of a stream has come here, before anything of it is sent. */
  static void sendReceived(Connection connection, long received) throws IOException {
    connection.write(direct(Long.BYTES).putLong(received).flip(), direct(0));
  }

  /** How much of a stream has come there. */
  static long receiveReceived(Connection connection) throws IOException {
    return receive(connection, Long.BYTES).getLong();
  }

  private static void magic(ByteBuffer b) throws IOException {
    if (b.getInt() != MAGIC) {
      throw new IOException("it does not speak Outboard's protocol");
    }
  }

  private static String id(ByteBuffer b) {
    byte[] id = new byte[ID_BYTES];
    b.get(id);
    return HexFormat.of().formatHex(id);
  }

  /** So many bytes and no more: what follows is for others. */
  private static ByteBuffer receive(Connection connection, int bytes) throws IOException {
    ByteBuffer all = direct(bytes);
    while (all.hasRemaining()) {
      ByteBuffer some = connection.read();
      if (some == null) {
        throw new EOFException("the other side closed the connection");
      }
      int n = Math.min(some.remaining(), all.remaining());
      all.put(all.position(), some, some.position(), n);
      all.position(all.position() + n);
      some.position(some.position() + n);
    }
    return all.flip();
  }

  private static ByteBuffer direct(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
