// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.SplittableRandom;
import java.util.stream.Stream;

/** Files that the scenarios move, and their checksums. */
public final class TestFiles {
  private static final int BLOCK_BYTES = 1 << 16;

  private TestFiles() {}

  /** Writes {@code bytes} bytes, a different block each 64 KiB, always the same for one length. */
  static Path random(Path file, long bytes) {
    SplittableRandom random = new SplittableRandom(bytes);
    byte[] block = new byte[BLOCK_BYTES];
    random.nextBytes(block);
    try (OutputStream out = Files.newOutputStream(file)) {
      long left = bytes;
      for (long number = 0; left > 0; number++) {
        // New bytes for the whole file would cost more than moving them; a number in each block
        // shows a block that was lost, doubled or moved.
        for (int i = 0; i < Long.BYTES; i++) {
          block[i] = (byte) (number >>> (8 * i));
        }
        int length = (int) Math.min(left, BLOCK_BYTES);
        out.write(block, 0, length);
        left -= length;
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return file;
  }

  /** The SHA-256 of a file, in hexadecimal. */
  public static String checksum(Path file) {
    try (InputStream in = Files.newInputStream(file)) {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      byte[] block = new byte[BLOCK_BYTES];
      for (int n = in.read(block); n >= 0; n = in.read(block)) {
        digest.update(block, 0, n);
      }
      return HexFormat.of().formatHex(digest.digest());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError(e);
    }
  }

  /** Removes a directory and all below it. */
  static void deleteTree(Path directory) {
    try (Stream<Path> all = Files.walk(directory)) {
      for (Path p : all.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(p);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Copies a directory tree of plain files; sockets and pipes are left out. */
  static void copyTree(Path from, Path to) throws IOException {
    try (Stream<Path> all = Files.walk(from)) {
      for (Path p : all.toList()) {
        Path target = to.resolve(from.relativize(p).toString());
        if (Files.isDirectory(p)) {
          Files.createDirectories(target);
        } else if (Files.isRegularFile(p) && Files.size(p) < 64L << 20) {
          Files.copy(p, target);
        }
      }
    }
  }
}
