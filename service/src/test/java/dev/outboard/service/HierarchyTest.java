// SPDX-License-Identifier: MIT
package dev.outboard.service;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What {@code /proc/self/cgroup} and {@code mountinfo} look like, here and there. */
class HierarchyTest {
  private static final String NONE = "24 1 0:22 / /proc rw,nosuid shared:5 - proc proc rw";
  private static final String UNIFIED =
      "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";

  private static Hierarchy find(List<String> memberships, String... mounts) throws Exception {
    return Hierarchy.find(memberships, List.of(mounts));
  }

  private static Hierarchy one(String group) {
    return new Hierarchy(false, Path.of(group));
  }

  private static Hierarchy two(String group) {
    return new Hierarchy(true, Path.of(group));
  }

  @Test
  void versionTwo() throws Exception {
    assertThat(find(List.of("0::/system.slice/outboard.service"), NONE, UNIFIED))
        .isEqualTo(two("/sys/fs/cgroup/system.slice/outboard.service"));
    assertThat(find(List.of("0::/"), UNIFIED)).isEqualTo(two("/sys/fs/cgroup"));
  }

  @Test
  void aUnitMayHaveItsGroupMountedOnItself() throws Exception {
    String writable =
        "90 35 0:30 /system.slice/o.service /sys/fs/cgroup/system.slice/o.service rw - cgroup2 cgroup2 rw";
    assertThat(find(List.of("0::/system.slice/o.service"), UNIFIED, writable))
        .isEqualTo(find(List.of("0::/system.slice/o.service"), writable))
        .isEqualTo(two("/sys/fs/cgroup/system.slice/o.service"));
  }

  @Test
  void versionOneBesideVersionTwo() throws Exception {
    List<String> memberships =
        List.of("12:cpu,cpuacct:/a/b", "3:cpuset:/c", "1:name=systemd:/d", "0::/e");
    assertThat(
            find(
                memberships,
                "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
                "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset",
                "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"))
        .isEqualTo(one("/sys/fs/cgroup/cpu,cpuacct/a/b"));
    assertThat(find(List.of("1:cpu:/"), "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup none rw,cpu"))
        .isEqualTo(one("/sys/fs/cgroup/cpu"));
  }

  @Test
  void aContainerSeesItsPartOfVersionOne() throws Exception {
    assertThat(
            find(
                List.of("4:cpu:/docker/abc"),
                "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu"))
        .isEqualTo(one("/sys/fs/cgroup/cpu"));
    assertThat(
            find(
                List.of("4:cpu:/docker/abc/d"),
                "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu"))
        .isEqualTo(one("/sys/fs/cgroup/cpu/d"));
  }

  @Test
  void namesWithSpaces() throws Exception {
    assertThat(
            find(
                List.of("0::/a b"),
                "35 24 0:30 / /my\\040groups\\134x rw shared:4 - cgroup2 cgroup2 rw"))
        .isEqualTo(two("/my groups\\x/a b"));
    assertThat(find(List.of("0::/a:b"), UNIFIED)).isEqualTo(two("/sys/fs/cgroup/a:b"));
  }

  @Test
  void whatCannotBeSeen() {
    assertThatThrownBy(() -> find(List.of("0::/a"), NONE)).hasMessageContaining("its own, /a,");
    assertThatThrownBy(() -> find(List.of("0::/../a"), UNIFIED)).hasMessageContaining("/../a");
    assertThatThrownBy(() ->
            find(
                List.of("4:cpu:/docker/abc"),
                "32 31 0:29 /docker/abcd /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu"))
        .hasMessageContaining("/docker/abc");
    assertThatThrownBy(() -> find(List.of("1:name=systemd:/d", "nonsense"), NONE, "nonsense"))
        .hasMessageContaining("has no control groups for CPU time");
    // Version 1 has the controller, but is not mounted.
    assertThatThrownBy(() -> find(List.of("4:cpu:/a", "0::/a"), UNIFIED))
        .isInstanceOf(NoControlGroups.class);
  }
}
