// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Names of flags and enumerated values, for traces: the sets that the table names.
 *
 * <p>Source: the headers of {@code include/uapi}, as x86-64 and asm-generic have them.
 */
final class Names {
  /** How the values of a set combine. */
  private enum Style {
    /** One of them. */
    ONE,
    /** Any of them, or-ed. */
    FLAGS,
    /** One of the values under the mask, or-ed with any of the flags above it. */
    ONE_AND_FLAGS,
    /** A mode: octal. */
    OCTAL
  }

  private record Set(Style style, long mask, List<String> names, List<Long> values) {}

  private static final Map<String, Set> SETS = new HashMap<>();

  // spotless:off
  static {
    one("AF", "AF_UNSPEC 0, AF_UNIX 1, AF_INET 2, AF_AX25 3, AF_IPX 4, AF_INET6 10, AF_KEY 15, AF_NETLINK 16, AF_PACKET 17, AF_RDS 21, AF_PPPOX 24, AF_CAN 29, AF_TIPC 30, AF_BLUETOOTH 31, AF_RXRPC 33, AF_ALG 38, AF_VSOCK 40, AF_KCM 41, AF_QIPCRTR 42, AF_SMC 43, AF_XDP 44, AF_MCTP 45");
    mixed("SOCK", 0xf, "SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_RAW 3, SOCK_RDM 4, SOCK_SEQPACKET 5, SOCK_DCCP 6, SOCK_PACKET 10, SOCK_NONBLOCK 0x800, SOCK_CLOEXEC 0x80000");
    flags("MSG", "MSG_OOB 1, MSG_PEEK 2, MSG_DONTROUTE 4, MSG_CTRUNC 8, MSG_PROBE 0x10, MSG_TRUNC 0x20, MSG_DONTWAIT 0x40, MSG_EOR 0x80, MSG_WAITALL 0x100, MSG_FIN 0x200, MSG_SYN 0x400, MSG_CONFIRM 0x800, MSG_RST 0x1000, MSG_ERRQUEUE 0x2000, MSG_NOSIGNAL 0x4000, MSG_MORE 0x8000, MSG_WAITFORONE 0x10000, MSG_BATCH 0x40000, MSG_ZEROCOPY 0x4000000, MSG_FASTOPEN 0x20000000, MSG_CMSG_CLOEXEC 0x40000000");
    one("SHUT", "SHUT_RD 0, SHUT_WR 1, SHUT_RDWR 2");
    one("SOL", "SOL_IP 0, SOL_SOCKET 1, SOL_TCP 6, SOL_UDP 17, SOL_IPV6 41, SOL_ICMPV6 58, SOL_SCTP 132, SOL_UDPLITE 136, SOL_RAW 255, SOL_PACKET 263, SOL_NETLINK 270, SOL_ALG 279, SOL_TLS 282, SOL_XDP 283, SOL_MPTCP 284");
    mixed("O", 3, "O_RDONLY 0, O_WRONLY 1, O_RDWR 2, O_CREAT 0x40, O_EXCL 0x80, O_NOCTTY 0x100, O_TRUNC 0x200, O_APPEND 0x400, O_NONBLOCK 0x800, O_SYNC 0x101000, O_DSYNC 0x1000, O_ASYNC 0x2000, O_DIRECT 0x4000, O_LARGEFILE 0x8000, O_TMPFILE 0x410000, O_DIRECTORY 0x10000, O_NOFOLLOW 0x20000, O_NOATIME 0x40000, O_CLOEXEC 0x80000, O_PATH 0x200000");
    one("F", "F_DUPFD 0, F_GETFD 1, F_SETFD 2, F_GETFL 3, F_SETFL 4, F_GETLK 5, F_SETLK 6, F_SETLKW 7, F_SETOWN 8, F_GETOWN 9, F_SETSIG 10, F_GETSIG 11, F_SETOWN_EX 15, F_GETOWN_EX 16, F_OFD_GETLK 36, F_OFD_SETLK 37, F_OFD_SETLKW 38, F_SETLEASE 1024, F_GETLEASE 1025, F_NOTIFY 1026, F_DUPFD_QUERY 1027, F_DUPFD_CLOEXEC 1030, F_SETPIPE_SZ 1031, F_GETPIPE_SZ 1032, F_ADD_SEALS 1033, F_GET_SEALS 1034");
    flags("CLONE", "CLONE_VM 0x100, CLONE_FS 0x200, CLONE_FILES 0x400, CLONE_SIGHAND 0x800, CLONE_PIDFD 0x1000, CLONE_PTRACE 0x2000, CLONE_VFORK 0x4000, CLONE_PARENT 0x8000, CLONE_THREAD 0x10000, CLONE_NEWNS 0x20000, CLONE_SYSVSEM 0x40000, CLONE_SETTLS 0x80000, CLONE_PARENT_SETTID 0x100000, CLONE_CHILD_CLEARTID 0x200000, CLONE_UNTRACED 0x800000, CLONE_CHILD_SETTID 0x1000000, CLONE_NEWCGROUP 0x2000000, CLONE_NEWUTS 0x4000000, CLONE_NEWIPC 0x8000000, CLONE_NEWUSER 0x10000000, CLONE_NEWPID 0x20000000, CLONE_NEWNET 0x40000000, CLONE_IO 0x80000000");
    one("EPOLL_CTL", "EPOLL_CTL_ADD 1, EPOLL_CTL_DEL 2, EPOLL_CTL_MOD 3");
    flags("EPOLL_CREATE", "EPOLL_CLOEXEC 0x80000");
    flags("EPOLL", "EPOLLIN 1, EPOLLPRI 2, EPOLLOUT 4, EPOLLERR 8, EPOLLHUP 0x10, EPOLLRDNORM 0x40, EPOLLRDBAND 0x80, EPOLLWRNORM 0x100, EPOLLWRBAND 0x200, EPOLLMSG 0x400, EPOLLRDHUP 0x2000, EPOLLEXCLUSIVE 0x10000000, EPOLLWAKEUP 0x20000000, EPOLLONESHOT 0x40000000, EPOLLET 0x80000000");
    flags("POLL", "POLLIN 1, POLLPRI 2, POLLOUT 4, POLLERR 8, POLLHUP 0x10, POLLNVAL 0x20, POLLRDNORM 0x40, POLLRDBAND 0x80, POLLWRNORM 0x100, POLLWRBAND 0x200, POLLRDHUP 0x2000");
    flags("CLOSE_RANGE", "CLOSE_RANGE_UNSHARE 2, CLOSE_RANGE_CLOEXEC 4");
    flags("RWF", "RWF_HIPRI 1, RWF_DSYNC 2, RWF_SYNC 4, RWF_NOWAIT 8, RWF_APPEND 0x10, RWF_NOAPPEND 0x20, RWF_ATOMIC 0x40");
    flags("SPLICE", "SPLICE_F_MOVE 1, SPLICE_F_NONBLOCK 2, SPLICE_F_MORE 4, SPLICE_F_GIFT 8");
    one("BPF", "BPF_MAP_CREATE 0, BPF_MAP_LOOKUP_ELEM 1, BPF_MAP_UPDATE_ELEM 2, BPF_MAP_DELETE_ELEM 3, BPF_MAP_GET_NEXT_KEY 4, BPF_PROG_LOAD 5, BPF_OBJ_PIN 6, BPF_OBJ_GET 7, BPF_PROG_ATTACH 8, BPF_PROG_DETACH 9, BPF_PROG_TEST_RUN 10, BPF_PROG_GET_NEXT_ID 11, BPF_MAP_GET_NEXT_ID 12, BPF_PROG_GET_FD_BY_ID 13, BPF_MAP_GET_FD_BY_ID 14, BPF_OBJ_GET_INFO_BY_FD 15, BPF_PROG_QUERY 16, BPF_RAW_TRACEPOINT_OPEN 17, BPF_BTF_LOAD 18, BPF_BTF_GET_FD_BY_ID 19, BPF_TASK_FD_QUERY 20, BPF_MAP_LOOKUP_AND_DELETE_ELEM 21, BPF_MAP_FREEZE 22, BPF_BTF_GET_NEXT_ID 23, BPF_MAP_LOOKUP_BATCH 24, BPF_MAP_LOOKUP_AND_DELETE_BATCH 25, BPF_MAP_UPDATE_BATCH 26, BPF_MAP_DELETE_BATCH 27, BPF_LINK_CREATE 28, BPF_LINK_UPDATE 29, BPF_LINK_GET_FD_BY_ID 30, BPF_LINK_GET_NEXT_ID 31, BPF_ENABLE_STATS 32, BPF_ITER_CREATE 33, BPF_LINK_DETACH 34, BPF_PROG_BIND_MAP 35, BPF_TOKEN_CREATE 36");
    SETS.put("OCTAL", new Set(Style.OCTAL, 0, List.of(), List.of()));
  }
  // spotless:on

  private Names() {}

  /** Whether there is such a set; sets whose names depend on other arguments count. */
  static boolean known(String set) {
    return SETS.containsKey(set) || set.equals("SO") || set.equals("IOCTL");
  }

  /** {@code value} by the names of {@code set}, bits without a name in hexadecimal. */
  static String format(String set, long value) {
    Set s = SETS.get(set);
    if (s == null) {
      return "0x" + Long.toHexString(value);
    }
    return switch (s.style) {
      case OCTAL -> value == 0 ? "0" : "0" + Long.toOctalString(value & 0xffffffffL);
      case ONE -> {
        String name = one(s, value & 0xffffffffL);
        yield name == null ? Integer.toString((int) value) : name;
      }
      case FLAGS -> {
        String names = flags(s, value & 0xffffffffL);
        yield names.isEmpty() ? "0" : names;
      }
      case ONE_AND_FLAGS -> {
        String name = one(s, value & s.mask);
        String more = flags(s, value & 0xffffffffL & ~s.mask);
        if (name == null && (value & s.mask) == 0 && !more.isEmpty()) {
          yield more; // accept4() has flags but no type
        }
        String first = name == null ? Long.toString(value & s.mask) : name;
        yield more.isEmpty() ? first : first + "|" + more;
      }
    };
  }

  /** The value of a name of {@code set}; -1 if it has none such. */
  static int value(String set, String name) {
    Set s = SETS.get(set);
    int i = s == null ? -1 : s.names.indexOf(name);
    return s == null || i < 0 ? -1 : Math.toIntExact(s.values.get(i));
  }

  private static @Nullable String one(Set s, long value) {
    for (int i = 0; i < s.values.size(); i++) {
      if (s.values.get(i) == value) {
        return s.names.get(i);
      }
    }
    return null;
  }

  private static String flags(Set s, long value) {
    StringBuilder text = new StringBuilder();
    long rest = value;
    for (int i = 0; i < s.values.size() && rest != 0; i++) {
      // A name of several bits stands before the names of some of them.
      long bits = s.values.get(i);
      if (bits > s.mask && (rest & bits) == bits) {
        text.append(text.isEmpty() ? "" : "|").append(s.names.get(i));
        rest &= ~bits;
      }
    }
    if (rest != 0) {
      text.append(text.isEmpty() ? "" : "|").append("0x").append(Long.toHexString(rest));
    }
    return text.toString();
  }

  private static void one(String set, String list) {
    put(set, Style.ONE, 0, list);
  }

  private static void flags(String set, String list) {
    put(set, Style.FLAGS, 0, list);
  }

  private static void mixed(String set, long mask, String list) {
    put(set, Style.ONE_AND_FLAGS, mask, list);
  }

  private static void put(String set, Style style, long mask, String list) {
    List<String> names = new ArrayList<>();
    List<Long> values = new ArrayList<>();
    for (String each : list.split(", ", -1)) {
      int space = each.indexOf(' ');
      names.add(each.substring(0, space));
      values.add(Long.decode(each.substring(space + 1)));
    }
    SETS.put(set, new Set(style, mask, names, values));
  }
}
