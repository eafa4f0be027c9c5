// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

class SyscallTableTest {
  /** What a port that has every generic call defines, as arm64 does. */
  private static final String WANT =
      """
      #define __ARCH_WANT_RENAMEAT
      #define __ARCH_WANT_NEW_STAT
      #define __ARCH_WANT_SET_GET_RLIMIT
      #define __ARCH_WANT_SYS_CLONE3
      #define __ARCH_WANT_MEMFD_SECRET
      #define __BITS_PER_LONG 64
      """;

  /** Later than the headers of Debian 12, from the kernel's own tables up to 6.18. */
  private static final Map<String, Integer> NEWER =
      Map.ofEntries(
          Map.entry("cachestat", 451),
          Map.entry("fchmodat2", 452),
          Map.entry("map_shadow_stack", 453),
          Map.entry("futex_wake", 454),
          Map.entry("futex_wait", 455),
          Map.entry("futex_requeue", 456),
          Map.entry("statmount", 457),
          Map.entry("listmount", 458),
          Map.entry("lsm_get_self_attr", 459),
          Map.entry("lsm_set_self_attr", 460),
          Map.entry("lsm_list_modules", 461),
          Map.entry("mseal", 462),
          Map.entry("setxattrat", 463),
          Map.entry("getxattrat", 464),
          Map.entry("listxattrat", 465),
          Map.entry("removexattrat", 466),
          Map.entry("open_tree_attr", 467),
          Map.entry("file_getattr", 468),
          Map.entry("file_setattr", 469));

  private static Map<String, Integer> numbers(String header, String define) throws Exception {
    // Every name that either side knows: the preprocessor says which of them the header has.
    Set<String> names = new TreeSet<>();
    SyscallTable.rows().forEach(r -> names.add(r.name()));
    names.addAll(macros(header, define));
    StringBuilder body = new StringBuilder();
    for (String name : names) {
      body.append("#ifdef __NR_").append(name).append('\n');
      body.append("printf(\"").append(name).append(" %d\\n\", __NR_").append(name).append(");\n");
      body.append("#endif\n");
    }
    Map<String, Integer> found = new HashMap<>();
    for (String line :
        CProbe.run(
            Architecture.MACHINE,
            define + "#include <" + header + ">\n#include <stdio.h>\n",
            body.toString())) {
      int space = line.indexOf(' ');
      found.put(line.substring(0, space), Integer.parseInt(line.substring(space + 1)));
    }
    return found;
  }

  /** Names that the header defines, from the preprocessor's list of macros. */
  private static Set<String> macros(String header, String define) throws Exception {
    String start = "#define __NR_";
    Set<String> names = new HashSet<>();
    for (String line : CProbe.macros(define + "#include <" + header + ">\n")) {
      if (line.startsWith(start)) {
        names.add(line.substring(start.length(), line.indexOf(' ', start.length())));
      }
    }
    names.remove("syscalls");
    names.remove("arch_specific_syscall");
    return names;
  }

  private static Row row(int x86) {
    return Objects.requireNonNull(SyscallTable.byX86(x86), () -> "no row for " + x86);
  }

  @Test
  void everyCallOfThisMachinesHeaderHasARowWithItsNumber() throws Exception {
    Map<String, Integer> header = numbers("asm/unistd_64.h", "");
    assertThat(header).hasSizeGreaterThanOrEqualTo(362);
    header.forEach((name, number) -> {
      assertThat(row(number).name()).isEqualTo(name);
    });
  }

  @Test
  void canonicalNumbersAreThoseOfAsmGeneric() throws Exception {
    Map<String, Integer> header = numbers("asm-generic/unistd.h", WANT);
    assertThat(header).hasSizeGreaterThan(300);
    for (Row r : SyscallTable.rows()) {
      Integer number = header.containsKey(r.name()) ? header.get(r.name()) : NEWER.get(r.name());
      assertThat(r.canonical()).as(r.name()).isEqualTo(number == null ? -1 : number);
    }
    // And none of asm-generic is left out, save what x86-64 lacks.
    Set<String> missing = new TreeSet<>(header.keySet());
    SyscallTable.rows().forEach(r -> missing.remove(r.name()));
    assertThat(missing).isEmpty();
  }

  @Test
  void newerCallsHaveTheSameNumberEverywhere() {
    NEWER.forEach((name, number) -> {
      assertThat(row(number).name()).isEqualTo(name);
      assertThat(row(number).canonical()).isEqualTo(number);
    });
  }

  @Test
  void numbersAndNamesAreUnique() {
    List<Row> rows = SyscallTable.rows();
    assertThat(rows).hasSizeGreaterThanOrEqualTo(383);
    assertThat(rows.stream().map(Row::name)).doesNotHaveDuplicates();
    assertThat(rows.stream().map(Row::x86)).doesNotHaveDuplicates();
    assertThat(rows.stream().map(Row::canonical).filter(n -> n >= 0)).doesNotHaveDuplicates();
  }

  @Test
  void refusedRowsSayWithWhatAndWhyAndOthersHaveNoErrno() {
    for (Row r : SyscallTable.rows()) {
      boolean refused = r.support() == Support.REFUSED;
      assertThat(r.errno() != 0).as(r.name()).isEqualTo(refused);
      if (r.route() == Route.REFUSED) {
        assertThat(refused).as(r.name()).isTrue();
      } else if (refused) {
        assertThat(r.route()).as(r.name()).isEqualTo(Route.PROCESS);
      }
      if (r.support() == Support.REFUSED || r.support() == Support.PARTIAL) {
        assertThat(r.note()).as("note of %s", r.name()).isNotEmpty();
      }
    }
    assertThat(SyscallTable.byName("io_uring_setup"))
        .extracting(Row::errno)
        .isEqualTo(Errno.ENOSYS);
  }

  @Test
  void carriersExistAndAreCanonical() {
    for (Row r : SyscallTable.rows()) {
      if (!r.carrier().isEmpty()) {
        Row carrier = Objects.requireNonNull(SyscallTable.byName(r.carrier()), r::carrier);
        assertThat(carrier.canonical()).isNotNegative();
        assertThat(r.canonical()).as(r.name()).isEqualTo(-1);
      }
    }
  }

  @Test
  void whatRunsOnTheDeviceIsCanonicalAndCanBeMarshalled() {
    for (Row r : SyscallTable.rows()) {
      if (r.onDevice()) {
        assertThat(r.canonical()).as(r.name()).isNotNegative();
        for (Arg a : r.args()) {
          assertThat(a.kind()).as("%s of %s", a.name(), r).isNotEqualTo(Arg.Kind.POINTER);
        }
      }
    }
  }

  @Test
  void unknownNumbersHaveNoRow() {
    for (int number : new int[] {-1, 337, 400, 511, 512, Integer.MAX_VALUE, Integer.MIN_VALUE}) {
      assertThat(SyscallTable.byX86(number)).isNull();
      assertThat(number == 400 || SyscallTable.byCanonical(number) == null).isTrue();
    }
  }

  @Test
  void optionsThatAreAskedWithoutTheHookAreAnswersAlone() {
    int[] levels = {Socket.SOL_SOCKET, Socket.SOL_IP, Socket.SOL_IPV6, Socket.IPPROTO_TCP};
    for (int level : levels) {
      assertThat(SocketOptions.asked(level)).isNotZero();
      for (int name = 0; name < 64; name++) {
        if (!SocketOptions.isAsked(level, name)) {
          continue;
        }
        SocketOptions.Option o = Objects.requireNonNull(SocketOptions.find(level, name));
        assertThat(o.crosses() && !o.reads() && !o.secret()).as(o.cName()).isTrue();
        assertThat(o.form())
            .as(o.cName())
            .isIn(
                SocketOptions.Form.INTEGER,
                SocketOptions.Form.STRUCTURE,
                SocketOptions.Form.VARIABLE);
        assertThat(o.bytes()).as(o.cName()).isLessThanOrEqualTo(SocketOptions.ASKED_BYTES);
      }
    }
    for (long[] other : new long[][] {{1, 64 + 3}, {1, -1}, {1L << 32 | 1, 3}, {-1, 3}, {263, 3}}) {
      assertThat(SocketOptions.isAsked(other[0], other[1])).isFalse();
    }
  }
}
