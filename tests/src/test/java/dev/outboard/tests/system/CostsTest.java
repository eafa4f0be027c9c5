// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.InstanceOfAssertFactories.STRING;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.ProcFile;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What calls and threads cost, where it can be counted: no matter how busy the machine is. */
class CostsTest {
  private static final Duration LIMIT = Duration.ofSeconds(90);

  // As in the shim's layout.h: where a process has the first slot that it was lent, and in that the
  // data of a call.
  private static final long FIRST_SLOT = 0x0522_0000L;
  private static final long SLOT_DATA = 0x1000;

  /** Bytes of the device's process for a thread: four times what it takes, for other machines. */
  private static final long PARKED_BYTES = 512 << 10;

  /**
   * A thread of the program that waits on the device has one there. What that takes is what the
   * device's process has in memory more of, a thread.
   */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void threadsThatWaitOnTheDevice(Trial trial) {
    int few = 16;
    int many = 256;
    try (Running program = trial.program(Programs.c("parked"), "" + few, "" + many).start()) {
      program.awaitOutput(LIMIT, "few");
      long device = trial.device();
      long before = settled(device, few);
      program.type("go\n");
      program.awaitOutput(LIMIT, "many");
      long each = (settled(device, few + many) - before) / many;
      System.out.println("a parked thread takes " + each + " B of the device's process");
      assertThat(each).isBetween(1L, PARKED_BYTES);
      program.type("end\n");
      program.await(LIMIT).expectSuccess();
    }
  }

  /** What is in memory, in bytes, once there are so many shadow threads and it grows no more. */
  private static long settled(long device, int threads) {
    Eventually.require(
        LIMIT,
        () -> "of " + threads + " shadow threads there are " + shadows(device),
        () -> shadows(device) >= threads);
    long[] last = {0};
    Eventually.require(
        LIMIT,
        () -> "the device's memory still grows",
        () -> {
          Eventually.pause(500);
          long now = residentBytes(device);
          boolean same = now <= last[0];
          last[0] = now;
          return same;
        });
    return last[0];
  }

  private static long shadows(long device) {
    return ProcFile.threadNames(device).stream().filter(n -> n.startsWith("shadow-")).count();
  }

  private static long residentBytes(long pid) {
    Matcher m =
        Pattern.compile("^Rss: +(\\d+) kB", Pattern.MULTILINE)
            .matcher(ProcFile.read(pid, "smaps_rollup"));
    assertThat(m.find()).as("the process is there").isTrue();
    return Long.parseLong(m.group(1)) << 10;
  }

  /**
   * Of 64 KiB that a program sends there are two copies until the device's kernel has them: into
   * the slot, by the shim, and out of it, by the kernel. The processor itself counts who touches
   * one byte of them, in the program's memory and in the slot, on both sides.
   */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void copiesOfWhatIsSent(Trial trial) {
    assumeTrue(!Boolean.getBoolean("tests.ssh"), "over a link no slot is lent");
    int count = 100;
    try (Running program =
        trial.program(Programs.c("bulk"), "" + count).with("--hook=shim").start()) {
      Matcher said = program.awaitOutput(LIMIT, "^(\\d+) (0x[0-9a-f]+)$");
      long sender = Long.parseLong(said.group(1));
      long memory = Long.decode(said.group(2));
      Mapping slot =
          mappings(sender).stream()
              .filter(m -> m.begin == FIRST_SLOT)
              .findFirst()
              .orElseThrow(() -> new AssertionError("the sender has no slot"));
      // Where the device has the same file.
      Mapping slotOfDevice =
          mappings(trial.device()).stream()
              .filter(m -> m.inode.equals(slot.inode))
              .findFirst()
              .orElseThrow(() -> new AssertionError("the device has no such slot"));
      // The same byte of what is sent: a call's data begin where a page does, as that memory does.
      long inData = SLOT_DATA + (1 << 15) + 0x800;
      try (Running atProgram = watch(trial, sender, memory);
          Running intoSlot = watch(trial, sender, FIRST_SLOT + inData);
          Running outOfSlot = watch(trial, trial.device(), slotOfDevice.begin + inData)) {
        List<Running> watches = List.of(atProgram, intoSlot, outOfSlot);
        // Each ends at once where it cannot watch.
        assumeTrue(
            watches.stream().allMatch(CostsTest::canWatch),
            () -> "no debug registers to watch with: " + atProgram.errors());
        program.type("go\n");
        program.awaitOutput(LIMIT, "^sent");
        Map<String, Long> reads = touches(atProgram);
        Map<String, Long> writes = touches(intoSlot);
        Map<String, Long> taken = touches(outOfSlot);
        System.out.println(
            "of "
                + count
                + " sends: the program's memory "
                + reads
                + ", the slot "
                + writes
                + ", on the device "
                + taken);
        // The shim reads and writes, and nobody else; then the kernel reads, by the libc's memcpy.
        assertThat(reads).isEqualTo(writes);
        assertThat(reads.keySet()).singleElement(STRING).startsWith("memfd:outboard-shim ");
        assertThat(reads.values()).containsExactly((long) count);
        assertThat(taken.keySet()).singleElement(STRING).endsWith(" for liboutboard-kernel.so");
        assertThat(taken.values()).containsExactly((long) count);
      }
      program.type("end\n");
      program.await(LIMIT).expectSuccess();
    }
  }

  private static Running watch(Trial trial, long pid, long address) {
    return trial.machine(Programs.c("touches"), "" + pid, "0x" + Long.toHexString(address)).start();
  }

  private static boolean canWatch(Running watch) {
    Eventually.require(
        LIMIT, () -> "it does not watch", () -> !watch.alive() || watch.output().contains("ready"));
    return watch.alive();
  }

  /** How often it was touched, by whose code. */
  private static Map<String, Long> touches(Running watch) {
    watch.type("enough\n");
    Finished done = watch.await(LIMIT).expectSuccess();
    assertThat(done.output()).contains("lost 0");
    Map<String, Long> touches = new TreeMap<>();
    Matcher m = Pattern.compile("(\\d+) by (\\S+ for \\S+)").matcher(done.output());
    while (m.find()) {
      touches.merge(m.group(2), Long.parseLong(m.group(1)), Long::sum);
    }
    return touches;
  }

  private record Mapping(long begin, String inode) {}

  /** proc_pid_maps(5). */
  private static List<Mapping> mappings(long pid) {
    return Pattern.compile("^([0-9a-f]+)-\\S+ \\S+ \\S+ (\\S+ \\d+)", Pattern.MULTILINE)
        .matcher(ProcFile.read(pid, "maps"))
        .results()
        .map(m -> new Mapping(Long.parseUnsignedLong(m.group(1), 16), m.group(2)))
        .toList();
  }
}
