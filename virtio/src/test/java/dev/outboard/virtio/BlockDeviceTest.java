// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.BLK_S_IOERR;
import static dev.outboard.abi.Virtio.BLK_S_OK;
import static dev.outboard.abi.Virtio.BLK_S_UNSUPP;
import static dev.outboard.abi.Virtio.BLK_T_DISCARD;
import static dev.outboard.abi.Virtio.BLK_T_FLUSH;
import static dev.outboard.abi.Virtio.BLK_T_GET_ID;
import static dev.outboard.abi.Virtio.BLK_T_IN;
import static dev.outboard.abi.Virtio.BLK_T_OUT;
import static dev.outboard.abi.Virtio.BLK_T_WRITE_ZEROES;
import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Virtio;
import dev.outboard.posix.Linux;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The disk against a driver written in Java. */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class BlockDeviceTest {
  private static final int BYTES = 3 << 20;

  @TempDir Path directory;
  private final ModelRequests driver = new ModelRequests();
  private final byte[] content = new byte[BYTES];
  private int fd = -1;

  @SuppressWarnings("NullAway.Init") // set by plug()
  private Path image;

  private void plug(boolean readOnly) throws IOException, NetException {
    new Random(7).nextBytes(content);
    image = directory.resolve("image");
    Files.write(image, content);
    fd =
        (int)
            Linux.open(
                Linux.cString(driver.arena, image.toString()).address(),
                (readOnly ? Fcntl.O_RDONLY : Fcntl.O_RDWR) | Fcntl.O_CLOEXEC);
    assertThat(fd).isNotNegative();
    driver.plug(
        new BlockDevice(
            driver.kernel,
            ModelRequests.LINE,
            "the disk",
            "serial-1",
            fd,
            BYTES,
            readOnly,
            driver.notices::add));
  }

  @AfterEach
  void unplug() {
    driver.close();
    Linux.close(fd);
  }

  private static byte[] head(int type, long sector, byte... data) {
    return ByteBuffer.allocate(Virtio.BLK_HEADER_BYTES + data.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putInt(type)
        .putInt(0)
        .putLong(sector)
        .put(data)
        .array();
  }

  private static byte[] range(long sector, int sectors, int flags) {
    return ByteBuffer.allocate(Virtio.BLK_RANGE_BYTES)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(sector)
        .putInt(sectors)
        .putInt(flags)
        .array();
  }

  private byte[] read(long sector, int length) {
    byte[] reply = driver.request(0, head(BLK_T_IN, sector), length + 1);
    assertThat(reply).hasSize(length + 1);
    assertThat(reply[length]).isEqualTo((byte) BLK_S_OK);
    return Arrays.copyOf(reply, length);
  }

  private int status(byte[] request, int data) {
    byte[] reply = driver.request(0, request, data + 1);
    assertThat(reply).hasSize(data + 1);
    return reply[data];
  }

  private byte[] part(int from, int length) {
    return Arrays.copyOfRange(content, from, from + length);
  }

  @Test
  void describesItself() throws Exception {
    plug(false);
    assertThat(driver.page.get(RegisterPage.DEVICE_ID)).isEqualTo(Virtio.ID_BLOCK);
    long config = RegisterPage.CONFIG;
    assertThat(driver.page.getLong((int) config)).isEqualTo(BYTES / 512);
    assertThat(driver.page.get((int) config + Virtio.BLK_CONFIG_SEG_MAX)).isEqualTo(510);
    assertThat(driver.page.get((int) config + Virtio.BLK_CONFIG_BLK_SIZE)).isEqualTo(512);
    long features = driver.page.getLong(RegisterPage.DEVICE_FEATURES);
    assertThat(features & Virtio.bit(Virtio.BLK_F_FLUSH)).isNotZero();
    assertThat(features & Virtio.bit(Virtio.BLK_F_RO)).isZero();
    byte[] id = driver.request(0, head(BLK_T_GET_ID, 0), 21);
    assertThat(new String(id, 0, 20, StandardCharsets.US_ASCII).trim()).isEqualTo("serial-1");
  }

  @Test
  void readsAndWritesInAnyParts() throws Exception {
    plug(false);
    for (int parts : new int[] {1, 2, 3, 17, 60}) {
      driver.parts = parts;
      for (int sector : new int[] {0, 1, 777, BYTES / 512 - 8}) {
        assertThat(read(sector, 4096)).isEqualTo(part(sector * 512, 4096));
      }
      byte[] data = new byte[512 * 300];
      new Random(parts).nextBytes(data);
      assertThat(status(head(BLK_T_OUT, parts, data), 0)).isEqualTo(BLK_S_OK);
      assertThat(read(parts, data.length)).isEqualTo(data);
      System.arraycopy(data, 0, content, parts * 512, data.length);
      assertThat(status(head(BLK_T_FLUSH, 0), 0)).isEqualTo(BLK_S_OK);
      assertThat(Files.readAllBytes(image)).isEqualTo(content);
    }
    assertThat(driver.notices).isEmpty();
  }

  @Test
  void takesIndirectChains() throws Exception {
    driver.indirect = true;
    plug(false);
    driver.parts = 50;
    assertThat(read(5, 512 << 10)).isEqualTo(part(5 * 512, 512 << 10));
  }

  @Test
  void keepsToItsSize() throws Exception {
    plug(false);
    int sectors = BYTES / 512;
    for (long sector : new long[] {sectors, sectors - 1, -1, Long.MAX_VALUE, 1L << 55}) {
      assertThat(status(head(BLK_T_IN, sector), 1024)).isEqualTo(BLK_S_IOERR);
      assertThat(status(head(BLK_T_OUT, sector, new byte[1024]), 0)).isEqualTo(BLK_S_IOERR);
    }
    assertThat(status(head(BLK_T_IN, 0), 100)).as("no whole sector").isEqualTo(BLK_S_IOERR);
    assertThat(status(head(BLK_T_DISCARD, 0, range(sectors - 1, 2, 0)), 0)).isEqualTo(BLK_S_IOERR);
    assertThat(status(head(BLK_T_DISCARD, 0, new byte[15]), 0)).isEqualTo(BLK_S_IOERR);
    assertThat(Files.readAllBytes(image)).isEqualTo(content);
    assertThat(status(head(99, 0), 512)).isEqualTo(BLK_S_UNSUPP);
    Files.write(image, new byte[0]);
    assertThat(status(head(BLK_T_IN, 0), 512)).as("a shorter file").isEqualTo(BLK_S_IOERR);
  }

  @Test
  void discardsAndZeroes() throws Exception {
    plug(false);
    long before = blocks();
    assertThat(status(head(BLK_T_DISCARD, 0, range(2048, 2048, 0)), 0)).isEqualTo(BLK_S_OK);
    assertThat(read(2048, 4096)).containsOnly(0);
    assertThat(blocks()).isLessThan(before);
    int zeroed = status(head(BLK_T_WRITE_ZEROES, 0, range(8, 8, 0)), 0);
    // Not every file system of a machine has it.
    assertThat(zeroed).isIn(BLK_S_OK, BLK_S_UNSUPP);
    if (zeroed == BLK_S_OK) {
      assertThat(read(8, 4096)).containsOnly(0);
    }
    assertThat(read(0, 4096)).isEqualTo(part(0, 4096));
    assertThat(Files.size(image)).isEqualTo(BYTES);
  }

  /** KiB that the machine keeps for the image. */
  private long blocks() throws IOException {
    Process du = new ProcessBuilder("du", "-k", image.toString()).start();
    String line = new String(du.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
    return Long.parseLong(line.split("\\s", 2)[0]);
  }

  @Test
  void readOnlyIsReadOnly() throws Exception {
    plug(true);
    long features = driver.page.getLong(RegisterPage.DEVICE_FEATURES);
    assertThat(features & Virtio.bit(Virtio.BLK_F_RO)).isNotZero();
    assertThat(features & Virtio.bit(Virtio.BLK_F_DISCARD)).isZero();
    assertThat(read(0, 512)).isEqualTo(part(0, 512));
    assertThat(status(head(BLK_T_OUT, 0, new byte[512]), 0)).isEqualTo(BLK_S_IOERR);
    assertThat(status(head(BLK_T_DISCARD, 0, range(0, 8, 0)), 0)).isEqualTo(BLK_S_IOERR);
    assertThat(Files.readAllBytes(image)).isEqualTo(content);
  }

  @Test
  void stopsWhenARequestHasNoStatus() throws Exception {
    plug(false);
    driver.submit(0, head(BLK_T_IN, 0), 0);
    driver.await("a notice", () -> !driver.notices.isEmpty());
    assertThat(driver.notices).singleElement().asString().contains("without a header or a status");
    driver.await(
        "NEEDS_RESET",
        () -> (driver.page.get(RegisterPage.ACK_STATUS) & Virtio.STATUS_NEEDS_RESET) != 0);
  }
}
