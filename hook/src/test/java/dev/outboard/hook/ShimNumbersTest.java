// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Architecture;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** What the shim's sources have of each architecture, against the table; on every machine. */
class ShimNumbersTest {
  private static final Path SOURCES = Path.of("src/main/c");

  private static final Pattern NUMBER = Pattern.compile("\\bSYS_([a-z0-9_]+) = ([0-9]+)\\b");
  private static final Pattern MISSING = Pattern.compile("SYS_open = -0x10000,([^}]*)");

  private static String read(String name) throws IOException {
    return Files.readString(SOURCES.resolve(name));
  }

  private static Map<String, Integer> numbers(String source) {
    Map<String, Integer> numbers = new TreeMap<>();
    Matcher m = NUMBER.matcher(source);
    while (m.find()) {
      assertThat(numbers.put(m.group(1), Integer.valueOf(m.group(2)))).as(m.group(1)).isNull();
    }
    return numbers;
  }

  private static long constant(String source, String name) {
    Matcher m = Pattern.compile("(?m)^#define " + name + " (0x[0-9a-f]+|[0-9]+)$").matcher(source);
    assertThat(m.find()).as(name).isTrue();
    return Long.decode(m.group(1));
  }

  @Test
  void numbersAreTheTables() throws IOException {
    for (Architecture machine : Architecture.values()) {
      String directory = machine == Architecture.ARM64 ? "aarch64" : "x86_64";
      Map<String, Integer> numbers = numbers(read("arch/" + directory + "/arch.h"));
      assertThat(numbers).hasSizeGreaterThan(40);
      numbers.forEach((name, number) ->
          assertThat(number)
              .as("%s on %s", name, machine)
              .isEqualTo(SyscallTable.row(name).number(machine)));
    }
  }

  @Test
  void whatArm64LacksIsWhatTheTableSays() throws IOException {
    String arm64 = read("arch/aarch64/arch.h");
    Matcher m = MISSING.matcher(arm64);
    assertThat(m.find()).isTrue();
    Map<String, Integer> x86 = numbers(read("arch/x86_64/arch.h"));
    assertThat(("open, " + m.group(1).strip()).replace("SYS_", "").split(",\\s*"))
        .allSatisfy(name -> assertThat(SyscallTable.row(name).canonical()).as(name).isEqualTo(-1))
        .allSatisfy(name -> assertThat(x86).containsKey(name));
    // All that device.c names is there on both, but for the one by which each looks at a list.
    Matcher used = Pattern.compile("\\bSYS_([a-z0-9_]+)\\b").matcher(read("device.c"));
    while (used.find()) {
      assertThat(arm64 + " SYS_poll_list").contains("SYS_" + used.group(1));
      assertThat(read("arch/x86_64/arch.h")).contains("SYS_" + used.group(1));
    }
  }

  /** Every part is mapped by itself, whatever pages the kernel has, and none meets another. */
  @Test
  void addressesOfArm64AreMultiplesOfItsLargestPage() throws IOException {
    String s = read("arch/aarch64/addresses.h");
    String common = read("layout.h");
    long page = 64 * 1024;
    for (String name : new String[] {"BASE", "TEXT", "SELF", "TABLE", "TABLE_BYTES", "SLOTS"}) {
      assertThat(constant(s, name) % page).as(name).isZero();
    }
    long stride = constant(s, "SLOT_STRIDE");
    assertThat(stride % page).isZero();
    assertThat(stride).isGreaterThanOrEqualTo(constant(common, "SLOT_BYTES"));
    assertThat(constant(s, "BASE") + constant(s, "FILE_BYTES"))
        .isEqualTo(constant(s, "GATE") + 0x1000)
        .isLessThanOrEqualTo(constant(s, "SELF"));
    assertThat(constant(s, "SELF") + page).isLessThanOrEqualTo(constant(s, "TABLE"));
    assertThat(constant(s, "TABLE") + constant(s, "TABLE_BYTES"))
        .isLessThanOrEqualTo(constant(s, "SLOTS"));
    // The shim finds a word by putting the number into the address.
    assertThat(constant(s, "TABLE") % (4 * constant(common, "MAX_FD"))).isZero();
    assertThat(constant(s, "KIND_PASS")).isEqualTo(Arm64Site.KIND_PASS);
    assertThat(constant(s, "KIND_CLOSE")).isEqualTo(Arm64Site.KIND_CLOSE);
    assertThat(constant(s, "KIND_ASK")).isEqualTo(Arm64Site.KIND_ASK);
    assertThat(constant(s, "KINDS_BYTES")).isGreaterThan(greatest());
  }

  /** What is counted for each call has room for all that go by a slot. */
  @Test
  void countersHaveRoomForArm64sNumbers() throws IOException {
    String s = read("arch/aarch64/addresses.h");
    long numbers = constant(s, "AT_ONCE_NUMBERS");
    for (String name :
        new String[] {"read", "write", "readv", "writev", "sendto", "recvfrom", "sendfile"}) {
      assertThat(numbers).as(name).isGreaterThan(SyscallTable.row(name).number(Architecture.ARM64));
    }
    assertThat(constant(s, "AT_ONCE_OFFSET") + numbers * Long.BYTES)
        .isLessThanOrEqualTo(constant(read("layout.h"), "NAMES_OFFSET"));
  }

  private static int greatest() {
    return SyscallTable.rows().stream().mapToInt(Row::canonical).max().orElseThrow();
  }
}
