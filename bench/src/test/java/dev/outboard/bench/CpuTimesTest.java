// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;

class CpuTimesTest {
  private static final String JVM = "java -p lib -m dev.outboard.cli/dev.outboard.cli.Main ";

  /** As outboard run with a server that has a worker, over passt. */
  private static ProcessTree run() {
    return ProcessTree.of(
        List.of(
            new ProcessTree.Node(10, 1, "/bin/sh outboard run -- nginx", 0.01, 0.5),
            new ProcessTree.Node(11, 10, JVM + "run -- nginx", 2, 0.25),
            new ProcessTree.Node(12, 10, "run-witness 63", 0.02, 0),
            new ProcessTree.Node(13, 11, JVM + "device --fd 3", 4, 0),
            new ProcessTree.Node(14, 13, "passt --fd 5", 8, 0),
            new ProcessTree.Node(15, 11, "nginx: master", 0.125, 0.0625),
            new ProcessTree.Node(16, 15, "nginx: worker", 16, 0)));
  }

  @Test
  void eachProcessOfOutboardIsOnItsSide() {
    CpuTimes t = CpuTimes.of(run(), Modes.LIBRARY::side);
    // What the front and the hook waited for was the program's.
    assertThat(t.of(Side.PROGRAM)).isCloseTo(16 + 0.125 + 0.0625 + 0.25 + 0.5, within(1e-9));
    assertThat(t.of(Side.HOOK)).isCloseTo(2.03, within(1e-9));
    assertThat(t.of(Side.DEVICE)).isCloseTo(12, within(1e-9));
  }

  @Test
  void aTracerIsTheHookAndASplicerTheDevice() {
    ProcessTree tree =
        ProcessTree.of(
            List.of(
                new ProcessTree.Node(10, 1, "proot nginx", 1, 0),
                new ProcessTree.Node(11, 10, "nginx", 2, 0)));
    CpuTimes proot = CpuTimes.of(tree, new PeerMode(PeerMode.Kind.PROOT)::side);
    assertThat(proot.of(Side.HOOK)).isEqualTo(1);
    assertThat(proot.of(Side.PROGRAM)).isEqualTo(2);
    CpuTimes pasta = CpuTimes.of(tree, new PeerMode(PeerMode.Kind.PASTA)::side);
    assertThat(pasta.of(Side.DEVICE)).isEqualTo(1);
    assertThat(CpuTimes.of(tree, Modes.NATIVE::side).of(Side.PROGRAM)).isEqualTo(3);
  }

  @Test
  void betweenTwoMomentsIsTheDifference() {
    CpuTimes before = CpuTimes.of(run(), Modes.LIBRARY::side);
    assertThat(before.since(before).sum()).isZero();
  }

  @Test
  void aProcessIsReadWhateverItsNameIs() {
    ProcessTree.Node n =
        ProcessTree.parse(
            "4711 (a) S (b 1) S 42 1 1 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 1 0 99", "a");
    assertThat(n).isEqualTo(new ProcessTree.Node(4711, 42, "a", 2.0, 0.5));
  }

  @Test
  void thisProcessIsFoundWithItsChild() throws Exception {
    Process child = new ProcessBuilder("sleep", "60").start();
    try {
      ProcessTree tree = ProcessTree.below(ProcessHandle.current().pid());
      assertThat(tree.all().getFirst().pid()).isEqualTo((int) ProcessHandle.current().pid());
      assertThat(tree.all()).anyMatch(n -> n.pid() == child.pid());
    } finally {
      child.destroy();
    }
  }

  @Test
  void whatIsNotOursIsForeign() {
    MachineLoad.Ticks before = MachineLoad.Ticks.parse("cpu  100 0 100 1000 0 0 0 10 5 0");
    MachineLoad.Ticks after = MachineLoad.Ticks.parse("cpu  160 0 120 1090 5 5 0 30 5 0");
    // 200 ticks: 85 busy, of them half a second ours; 20 stolen; 95 idle.
    MachineLoad load = MachineLoad.between(before, after, 0.5);
    assertThat(load.steal()).isCloseTo(0.1, within(1e-9));
    assertThat(load.foreign()).isCloseTo(0.175, within(1e-9));
  }
}
