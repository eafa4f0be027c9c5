// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.outboard.abi.Architecture;
import dev.outboard.syscalls.SyscallTable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * The shim alone, in a program that plays the hook and the device ({@code shim-harness.c}): for
 * this machine, and with {@code -Parm64} for arm64 under qemu-user. What it writes where, it has
 * from the classes by which the hook patches.
 */
class ShimHarnessTest {
  private static final List<String> PARTS =
      List.of(
          "it-is-injected",
          "places-are-patched",
          "calls-on-the-host-pass",
          "unknown-ones-are-looked-at-and-closed",
          "what-is-not-known-traps",
          "the-device-is-called",
          "questions-are-answered",
          "looks-at-what-is-ready",
          "memory-is-tried",
          "paths-are-looked-at",
          "both-sleep-and-wake",
          "sends-and-receives-without-waiting",
          "signals-while-it-looks-and-sleeps",
          "a-child-asks-for-its-table",
          "no-call-reaches-the-wrong-kernel",
          "all");

  /** The calls that it makes, and what a place of theirs is patched for. */
  private static final Map<String, PatchSite.Kind> CALLS = new LinkedHashMap<>();

  static {
    for (String name : List.of("read", "write", "readv", "writev", "recvfrom", "sendto")) {
      CALLS.put(name, PatchSite.Kind.PASS);
    }
    CALLS.put("setsockopt", PatchSite.Kind.PASS);
    CALLS.put("getsockopt", PatchSite.Kind.PASS);
    CALLS.put("close", PatchSite.Kind.CLOSE);
    for (String name : List.of("fcntl", "fstat", "newfstatat", "openat", "poll", "pselect6")) {
      CALLS.put(name, PatchSite.Kind.ASK);
    }
  }

  private static final long PLACES = 0x2000_0000L;
  private static final long PLACE_BYTES = 64;

  /** Of addresses.h for arm64, where trampolines are far from the shim and near to the places. */
  private static final long ISLAND = 0x2600_0000L;

  private static final long ARM64_TEXT = 0x0514_0000L;
  private static final long ARM64_KINDS = 0x0513_0000L;

  private final List<String> plan = new ArrayList<>();

  private void plan(String what, long address, byte[] bytes) {
    plan.add(what + " " + Long.toHexString(address) + " " + HexFormat.of().formatHex(bytes));
  }

  private static byte[] words(int... words) {
    ByteBuffer b = ByteBuffer.allocate(words.length * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (int word : words) {
      b.putInt(word);
    }
    return b.array();
  }

  /** {@code mov $number,%eax; syscall; ret} for each call. */
  private void planForX86(ShimBlob blob) {
    int index = 0;
    for (Map.Entry<String, PatchSite.Kind> call : CALLS.entrySet()) {
      int number = SyscallTable.row(call.getKey()).x86();
      long at = PLACES + PLACE_BYTES * (index + 1);
      long back = at + 7;
      byte[] code = new byte[PatchSite.BEFORE_BYTES + PatchSite.AFTER_BYTES];
      ByteBuffer.wrap(code)
          .order(ByteOrder.LITTLE_ENDIAN)
          .put(PatchSite.BEFORE_BYTES - 7, (byte) 0xb8)
          .putInt(PatchSite.BEFORE_BYTES - 6, number)
          .putShort(PatchSite.BEFORE_BYTES - 2, (short) 0x050f)
          .put(PatchSite.BEFORE_BYTES, (byte) 0xc3);
      plan("code", back - PatchSite.BEFORE_BYTES, code);
      plan.add("place " + call.getKey() + " " + number + " " + Long.toHexString(at));
      long stub = ShimLayout.STUBS + (long) index * ShimLayout.STUB_BYTES;
      long way =
          ShimLayout.TEXT + (call.getValue() == PatchSite.Kind.ASK ? blob.special() : blob.slow());
      plan("image", stub, PatchSite.stub(call.getValue(), number, code, stub, way, back));
      plan(
          "image",
          ShimLayout.BASE + (long) index * ShimLayout.POINTER_BYTES,
          words((int) stub, (int) (stub >>> 32)));
      List<PatchSite.Write> writes = PatchSite.patch(code, number, back, index);
      assertThat(writes).as(call.getKey()).isNotEmpty();
      writes.forEach(w -> plan("patch", w.address(), w.bytes()));
      index++;
    }
  }

  /** {@code svc #0; ret} for each. */
  private void planForArm64(byte[] blob) {
    ByteBuffer header = ByteBuffer.wrap(blob).order(ByteOrder.LITTLE_ENDIAN);
    long entry = ARM64_TEXT + header.getInt(8);
    int index = 0;
    for (Map.Entry<String, PatchSite.Kind> call : CALLS.entrySet()) {
      String name = call.getKey().equals("poll") ? "ppoll" : call.getKey();
      int number = SyscallTable.row(name).number(Architecture.ARM64);
      long at = PLACES + PLACE_BYTES * index;
      long back = at + Arm64Site.INSTRUCTION_BYTES;
      plan("code", at, words(Arm64Site.CALL, 0xd65f_03c0));
      plan.add("place " + call.getKey() + " " + number + " " + Long.toHexString(at));
      plan("image", ARM64_KINDS + number, new byte[] {(byte) Arm64Site.kind(call.getValue())});
      long trampoline = ISLAND + (long) index * Arm64Site.TRAMPOLINE_BYTES;
      byte[] code = Arm64Site.trampoline(trampoline, entry, back);
      plan("code", trampoline, code);
      List<PatchSite.Write> writes = Arm64Site.patch(Arm64Site.CALL, back, trampoline);
      assertThat(writes).as(call.getKey()).hasSize(1);
      plan("patch", writes.getFirst().address(), writes.getFirst().bytes());
      index++;
    }
  }

  private static String run(List<String> command, int seconds) throws Exception {
    Path output = Files.createTempFile("outboard-harness", ".txt");
    try {
      Process p =
          new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectOutput(output.toFile())
              .start();
      boolean over = p.waitFor(seconds, TimeUnit.SECONDS);
      if (!over) {
        p.destroyForcibly().waitFor();
      }
      String said = Files.readString(output);
      assertThat(over).as("%s ends; it said:%n%s", command, said).isTrue();
      assertThat(p.exitValue()).as("%s said:%n%s", command, said).isZero();
      return said;
    } finally {
      Files.delete(output);
    }
  }

  private void judge(Path directory, String compiler, String machine, Path blob, List<String> by)
      throws Exception {
    Path program = directory.resolve("harness");
    run(
        List.of(
            compiler,
            "-std=gnu17",
            "-O2",
            "-g",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pthread",
            "-static",
            "-o",
            program.toString(),
            "src/test/c/shim-harness.c",
            "src/test/c/shim-harness-" + machine + ".S"),
        300);
    Path written = directory.resolve("plan");
    Files.write(written, plan);
    List<String> command =
        Stream.concat(
                by.stream(), Stream.of(program.toString(), blob.toString(), written.toString()))
            .toList();
    String said = run(command, 300);
    System.out.print(said);
    assertThat(said.lines().filter(l -> l.startsWith("ok ")).map(l -> l.substring(3)))
        .containsExactlyElementsOf(PARTS);
  }

  @Test
  @Timeout(value = 12, unit = TimeUnit.MINUTES)
  void theShimOfThisMachine(@TempDir Path directory) throws Exception {
    assumeTrue(Architecture.MACHINE == Architecture.X86_64, "its places are x86-64's");
    ShimBlob blob = ShimBlob.load();
    planForX86(blob);
    Path file = directory.resolve("shim.bin");
    Files.write(file, blob.bytes());
    judge(directory, "gcc", "x86_64", file, List.of());
  }

  private static boolean has(String program) {
    return Stream.of(System.getenv("PATH").split(":", -1))
        .anyMatch(directory -> Files.isExecutable(Path.of(directory, program)));
  }

  /** Wherever there is a compiler, so that nobody has to have the profile to see that it builds. */
  @Test
  @Timeout(value = 6, unit = TimeUnit.MINUTES)
  void theShimBuildsForArm64(@TempDir Path directory) throws Exception {
    assumeTrue(has("aarch64-linux-gnu-gcc"), "no compiler for arm64");
    byte[] blob = Files.readAllBytes(blobForArm64(directory));
    assertThat(new String(blob, 0, 8, StandardCharsets.US_ASCII)).isEqualTo("outboard");
  }

  private static Path blobForArm64(Path directory) throws Exception {
    Path blob = directory.resolve("shim.bin");
    run(List.of("./build-shim", "--arch", "aarch64", blob.toString()), 300);
    return blob;
  }

  @Test
  @Tag("arm64")
  @Timeout(value = 20, unit = TimeUnit.MINUTES)
  void theShimOfArm64(@TempDir Path directory) throws Exception {
    assumeTrue(
        has("aarch64-linux-gnu-gcc") && has("qemu-aarch64-static"),
        "scripts/install-packages arm64");
    Path blob = blobForArm64(directory);
    planForArm64(Files.readAllBytes(blob));
    for (int page : new int[] {4096, 16384, 65536}) {
      List<String> by = List.of("qemu-aarch64-static", "-p", Integer.toString(page));
      judge(directory, "aarch64-linux-gnu-gcc", "aarch64", blob, by);
    }
  }
}
