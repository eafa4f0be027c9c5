// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** The built shim: its bytes, and the offsets that its header names. Immutable. */
final class ShimBlob {
  private static final String MAGIC = "outboard";
  private static final int PARAMETER_SITE = 0;
  private static final int PARAMETER_OFFSET = 8;
  private static final int PARAMETER_TABLES = 16;
  private static final int PARAMETER_IMAGE = 20;
  private static final int PARAMETER_NUMBER = 24;

  private final byte[] bytes;
  private final ByteBuffer header;

  private ShimBlob(byte[] bytes) {
    this.bytes = bytes;
    this.header = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    if (bytes.length != ShimLayout.GATE_END - ShimLayout.TEXT
        || !new String(bytes, 0, MAGIC.length(), StandardCharsets.US_ASCII).equals(MAGIC)) {
      throw new IllegalStateException("shim.bin is not what this version needs");
    }
  }

  /** Loads it from this module. */
  static ShimBlob load() {
    try (InputStream in = ShimBlob.class.getResourceAsStream("shim.bin")) {
      if (in == null) {
        throw new IllegalStateException("shim.bin is missing");
      }
      return new ShimBlob(in.readAllBytes());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** All of it; not to be changed. */
  byte[] bytes() {
    return bytes;
  }

  /** Offset of the way that a stub takes when it cannot let a call pass. */
  int slow() {
    return header.getInt(8);
  }

  /** The same of a stub whose call the shim always looks at. */
  int special() {
    return header.getInt(28);
  }

  /** How many bytes {@link #injection} has. */
  int injectionBytes() {
    return header.getInt(24) - header.getInt(16);
  }

  /**
   * The code that maps the shim; it can stand anywhere.
   *
   * @param back the trapped call's return address, where the code will stand
   * @param tables the program's descriptor of the tables, -1 to give up
   * @param image its descriptor of the image
   * @param index which table is its own
   */
  byte[] injection(long back, int number, int tables, int image, int index) {
    byte[] code = Arrays.copyOfRange(bytes, header.getInt(16), header.getInt(24));
    int at = header.getInt(20) - header.getInt(16);
    ByteBuffer.wrap(code)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(at + PARAMETER_SITE, back - 2)
        .putLong(at + PARAMETER_OFFSET, (long) index * ShimLayout.TABLE_BYTES)
        .putInt(at + PARAMETER_TABLES, tables)
        .putInt(at + PARAMETER_IMAGE, image)
        .putInt(at + PARAMETER_NUMBER, number);
    return code;
  }
}
