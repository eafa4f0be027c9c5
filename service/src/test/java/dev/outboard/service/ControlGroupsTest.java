// SPDX-License-Identifier: MIT
package dev.outboard.service;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Both versions of control groups, on a directory that behaves as they do. */
class ControlGroupsTest {
  private static final String NAME = "outboard-" + Processes.getpid() + "-";

  @TempDir Path root;

  private ControlGroups open(boolean unified, GroupFiles files) throws NoControlGroups {
    return ControlGroups.open(new Hierarchy(unified, root), files);
  }

  private List<String> groups() throws IOException {
    try (Stream<Path> entries = Files.list(root)) {
      return entries
          .filter(Files::isDirectory)
          .map(p -> p.getFileName().toString())
          .sorted()
          .toList();
    }
  }

  @Test
  void aServiceThatIsAloneInItsGroupMakesRoom() throws Exception {
    KernelGroups files = new KernelGroups(true, root, false, KernelGroups.SELF);
    ControlGroups groups = open(true, files);
    Path own = root.resolve(NAME + "service");
    assertThat(KernelGroups.processes(own)).containsExactly(KernelGroups.SELF);
    assertThat(root.resolve("cgroup.subtree_control")).hasContent("cpu");
    ControlGroup one = groups.make("1");
    assertThat(groups()).containsExactly(NAME + "1", NAME + "service");
    assertThat(one.path().resolve("cpu.max")).hasContent("max 100000");
    assertThat(one.path().resolve("cgroup.type")).as("a process may enter it").hasContent("domain");
    one.limit(50);
    assertThat(one.path().resolve("cpu.max")).hasContent("10000 20000");
    one.limit(CpuShare.LEAST_PERCENT);
    assertThat(one.path().resolve("cpu.max")).hasContent("1000 20000");
    one.limit(1);
    assertThat(one.path().resolve("cpu.max")).hasContent("1000 100000");
    one.limit(250);
    assertThat(one.path().resolve("cpu.max")).hasContent("50000 20000");
    KernelGroups.put(one.path(), "cpu.stat", "usage_usec 12\nnr_throttled 3\nthrottled_usec 345\n");
    assertThat(one.usage()).isEqualTo(new ControlGroup.Usage(12_000, 345_000));
    one.close();
    groups.close();
    assertThat(groups()).isEmpty();
    assertThat(KernelGroups.processes(root)).containsExactly(KernelGroups.SELF);
    assertThat(Files.readString(root.resolve("cgroup.subtree_control"))).isBlank();
  }

  @Test
  void whereOthersAreInTheGroupNothingIsChanged() throws Exception {
    KernelGroups files = new KernelGroups(true, root, false, "1", KernelGroups.SELF);
    assertThatThrownBy(() -> open(true, files))
        .isInstanceOf(NoControlGroups.class)
        .hasMessageContaining("Device or resource busy")
        .hasMessageContaining("other processes are in it, too");
    assertThat(groups()).isEmpty();
    assertThat(KernelGroups.processes(root)).containsExactly("1", KernelGroups.SELF);
  }

  /** As one that was killed leaves it: the kernel lets a process in, and none into groups in it. */
  @Test
  void aGroupThatHandsOnAlready() throws Exception {
    KernelGroups files = new KernelGroups(true, root, false, KernelGroups.SELF);
    files.write(root.resolve("cgroup.subtree_control"), "+cpu");
    try (ControlGroups groups = open(true, files);
        ControlGroup one = groups.make("1")) {
      assertThat(KernelGroups.processes(root.resolve(NAME + "service")))
          .containsExactly(KernelGroups.SELF);
      files.write(one.path().resolve("cgroup.procs"), "99");
      assertThat(KernelGroups.processes(one.path())).containsExactly("99");
      KernelGroups.put(one.path(), "cgroup.procs", "");
    }
    assertThat(KernelGroups.processes(root)).containsExactly(KernelGroups.SELF);
  }

  @Test
  void whereOthersAreInOneThatHandsOnItStaysSo() throws Exception {
    KernelGroups files = new KernelGroups(true, root, false, "1", KernelGroups.SELF);
    files.write(root.resolve("cgroup.subtree_control"), "+cpu");
    assertThatThrownBy(() -> open(true, files))
        .hasMessageContaining("other processes are in it, too");
    assertThat(root.resolve("cgroup.subtree_control")).hasContent("cpu");
    assertThat(groups()).isEmpty();
  }

  @Test
  void aGroupWithoutTheController() throws Exception {
    KernelGroups files = new KernelGroups(true, root, false, KernelGroups.SELF);
    KernelGroups.put(root, "cgroup.controllers", "cpuset memory pids\n");
    assertThatThrownBy(() -> open(true, files))
        .hasMessageContaining("not given the cpu controller");
    assertThat(groups()).isEmpty();
  }

  @Test
  void inTheRootOfTheMachineNobodyMoves() throws Exception {
    KernelGroups files = new KernelGroups(true, root, true, "1", KernelGroups.SELF);
    try (ControlGroups groups = open(true, files)) {
      assertThat(KernelGroups.processes(root)).containsExactly("1", KernelGroups.SELF);
      try (ControlGroup one = groups.make("1")) {
        one.limit(100);
        assertThat(one.path().resolve("cpu.max")).hasContent("20000 20000");
      }
    }
    assertThat(groups()).isEmpty();
  }

  @Test
  void versionOneHasNoSuchRule() throws Exception {
    KernelGroups files = new KernelGroups(false, root, false, "1", KernelGroups.SELF);
    ControlGroups groups = open(false, files);
    assertThat(KernelGroups.processes(root)).containsExactly("1", KernelGroups.SELF);
    ControlGroup one = groups.make("1");
    one.limit(20);
    assertThat(one.path().resolve("cpu.cfs_period_us")).hasContent("20000");
    assertThat(one.path().resolve("cpu.cfs_quota_us")).hasContent("4000");
    // Counted elsewhere, if at all.
    KernelGroups.put(one.path(), "cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_time 678\n");
    assertThat(one.usage()).isEqualTo(new ControlGroup.Usage(-1, 678));
    KernelGroups.put(one.path(), "cpuacct.usage", "12345\n");
    assertThat(one.usage()).isEqualTo(new ControlGroup.Usage(12_345, 678));
    one.close();
    groups.close();
    assertThat(groups()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void whatAKilledServiceLeftIsRemovedOnceItIsEmpty(boolean unified) throws Exception {
    KernelGroups files = new KernelGroups(unified, root, true, KernelGroups.SELF);
    if (unified) {
      files.write(root.resolve("cgroup.subtree_control"), "+cpu");
    }
    for (String left : List.of("outboard-1-1", "outboard-1-2", "outboard-1-service", "other-1-1")) {
      files.make(root.resolve(left));
    }
    KernelGroups.put(root.resolve("outboard-1-2"), "cgroup.procs", "99\n");
    ControlGroups living = open(unified, files);
    ControlGroup theirs = living.make("1");
    ControlGroups next = open(unified, files);
    assertThat(groups())
        .as("a session goes on, and another service lives")
        .containsExactlyInAnyOrder("other-1-1", NAME + "1", "outboard-1-2");
    KernelGroups.put(root.resolve("outboard-1-2"), "cgroup.procs", "");
    ControlGroup ours = next.make("1");
    assertThat(ours.path()).as("the name is taken").hasFileName(NAME + "1-1");
    assertThat(groups()).containsExactlyInAnyOrder("other-1-1", NAME + "1", NAME + "1-1");
    ours.close();
    theirs.close();
    next.close();
    living.close();
    assertThat(groups()).containsExactly("other-1-1");
  }

  /** Of a group that another service has removed between its making and its locking. */
  @Test
  void aGroupThatIsTakenForAnOldOneIsMadeAgain() throws Exception {
    KernelGroups kernel = new KernelGroups(false, root, false);
    GroupFiles files =
        new GroupFiles() {
          private int made;

          @Override
          void make(Path group) throws IOException {
            kernel.make(group);
            if (++made == 2) {
              kernel.remove(group);
            }
          }

          @Override
          void remove(Path group) throws IOException {
            kernel.remove(group);
          }
        };
    try (ControlGroups groups = open(false, files);
        ControlGroup one = groups.make("1")) {
      assertThat(one.path()).isDirectory().hasFileName(NAME + "1-1");
    }
    assertThat(groups()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void whereNothingCanBeWritten(boolean unified) throws Exception {
    KernelGroups files = new KernelGroups(unified, root, false, KernelGroups.SELF);
    files.refusal = "Read-only file system";
    assertThatThrownBy(() -> open(unified, files))
        .isInstanceOf(NoControlGroups.class)
        .hasMessageContaining("no group can be made in " + root)
        .hasMessageContaining("Read-only file system");
    assertThat(groups()).isEmpty();
    assertThatThrownBy(
            () -> ControlGroups.open(new Hierarchy(unified, root.resolve("nowhere")), files))
        .isInstanceOf(NoControlGroups.class)
        .hasMessageContaining("No such file or directory");
  }

  @Test
  void aKernelWithoutBandwidthControlSaysSo() throws Exception {
    KernelGroups files = new KernelGroups(false, root, false);
    files.bandwidth = false;
    try (ControlGroups groups = open(false, files)) {
      assertThatThrownBy(() -> groups.requireLimit(50))
          .isInstanceOf(NoControlGroups.class)
          .hasMessageContaining("groups in " + root + " cannot be limited: No such file");
      files.bandwidth = true;
      groups.requireLimit(50);
    }
    assertThat(groups()).isEmpty();
  }

  /** Its process may have started others, which end a moment later. */
  @Test
  void aGroupIsRemovedOnceItsLastProcessIsGone() throws Exception {
    KernelGroups files = new KernelGroups(false, root, false);
    try (ControlGroups groups = open(false, files)) {
      ControlGroup one = groups.make("1");
      KernelGroups.put(one.path(), "cgroup.procs", "99\n");
      Thread later =
          Thread.ofPlatform()
              .start(() -> {
                try {
                  Thread.sleep(200);
                  KernelGroups.put(one.path(), "cgroup.procs", "");
                } catch (IOException | InterruptedException e) {
                  throw new IllegalStateException(e);
                }
              });
      one.close();
      later.join();
      assertThat(groups()).isEmpty();
    }
  }

  @Test
  void whoEntersIsInBeforeItDoesAnything() throws Exception {
    KernelGroups files = new KernelGroups(false, root, false);
    try (ControlGroups groups = open(false, files);
        ControlGroup one = groups.make("1")) {
      String processes = one.path().resolve("cgroup.procs").toString();
      Process in =
          run(one.entering(List.of("/bin/sh", "-c", "cat \"$1\"; echo $$", "x", processes)));
      assertThat(text(in).lines()).containsExactly("0", Long.toString(in.pid()));
      assertThat(in.waitFor()).isZero();
      KernelGroups.put(one.path(), "cgroup.procs", "");
      ControlGroup gone = new ControlGroup(false, root.resolve("gone"), -1, files);
      Process out = run(gone.entering(List.of("echo", "ran")));
      assertThat(text(out))
          .contains("outboard: control group " + root.resolve("gone"), "cannot be entered")
          .doesNotContain("ran");
      assertThat(out.waitFor()).isEqualTo(125);
    }
  }

  private static Process run(List<String> words) throws IOException {
    return new ProcessBuilder(words).redirectErrorStream(true).start();
  }

  private static String text(Process process) throws IOException {
    return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
  }

  @Test
  void aLockIsHeldByOneOnly() throws Exception {
    GroupFiles files = new GroupFiles();
    int one = files.lock(root);
    assertThat(one).isNotNegative();
    assertThat(files.lock(root)).isEqualTo(-1);
    Linux.close(one);
    int other = files.lock(root);
    assertThat(other).isNotNegative();
    Linux.close(other);
    assertThat(files.lock(root.resolve("nowhere"))).isEqualTo(-1);
  }

  @Test
  void reasonsAreWhatTheKernelSays() {
    assertThat(GroupFiles.reason(new FileSystemException("/a", null, "why"))).isEqualTo("why");
    assertThat(GroupFiles.reason(new AccessDeniedException("/a"))).isEqualTo("Permission denied");
    assertThat(GroupFiles.reason(new IOException("Invalid argument")))
        .isEqualTo("Invalid argument");
  }

  @Test
  void shares() {
    assertThat(CpuShare.parse("fair")).isEqualTo(CpuShare.FAIR);
    assertThat(CpuShare.parse("none")).isEqualTo(CpuShare.NONE);
    assertThat(CpuShare.parse("5%")).isEqualTo(new CpuShare(true, 5));
    assertThat(CpuShare.parse("250%").needsGroup()).isTrue();
    assertThat(CpuShare.FAIR.needsGroup()).isFalse();
    for (String wrong :
        List.of("", "50", "4%", "0%", "-5%", "1000000%", "102401%", "5 %", "Fair")) {
      assertThatThrownBy(() -> CpuShare.parse(wrong)).as(wrong).hasMessageContaining("5%");
    }
  }
}
