// SPDX-License-Identifier: MIT
package dev.outboard.abi;

import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Sizes of the kernel's structures on 64-bit little-endian machines (x86-64 and asm-generic agree
 * on all that are listed, {@code stat} and {@code epoll_event} excepted, which are x86-64's).
 *
 * <p>A test compares them with the C compiler's.
 */
public enum Struct {
  TIMESPEC("timespec", 16),
  TIMEVAL("timeval", 16),
  TIMEZONE("timezone", 8),
  ITIMERVAL("itimerval", 32),
  ITIMERSPEC("itimerspec", 32),
  TIMEX("timex", 208),
  TMS("tms", 32),
  UTIMBUF("utimbuf", 16),
  STAT("stat", 144),
  STATFS("statfs", 120),
  STATX("statx", 256),
  OPEN_HOW("open_how", 24),
  FLOCK("flock", 32),
  POLLFD("pollfd", 8),
  EPOLL_EVENT("epoll_event", 12),
  FD_SET("fd_set", 128),
  IOVEC("iovec", 16),
  MSGHDR("msghdr", 56),
  MMSGHDR("mmsghdr", 64),
  CMSGHDR("cmsghdr", 16),
  SOCKADDR_STORAGE("sockaddr_storage", 128),
  RLIMIT("rlimit", 16),
  RUSAGE("rusage", 144),
  SYSINFO("sysinfo", 112),
  UTSNAME("utsname", 390),
  SIGACTION("sigaction", 32),
  SIGINFO("siginfo", 128),
  SIGEVENT("sigevent", 64),
  STACK("stack_t", 24),
  SCHED_PARAM("sched_param", 4),
  SCHED_ATTR("sched_attr", 56),
  CLONE_ARGS("clone_args", 88),
  SEMBUF("sembuf", 6),
  MQ_ATTR("mq_attr", 64),
  USER_CAP_HEADER("user_cap_header", 8),
  USER_CAP_DATA("user_cap_data", 24),
  IFREQ("ifreq", 40),
  IFCONF("ifconf", 16),
  RTENTRY("rtentry", 120),
  ARPREQ("arpreq", 68),
  SOCK_FPROG("sock_fprog", 16),
  SOCK_FILTER("sock_filter", 8);

  private static final Map<String, Struct> BY_NAME = new HashMap<>();

  static {
    for (Struct s : values()) {
      BY_NAME.put(s.cName, s);
    }
  }

  private final String cName;
  private final int bytes;

  Struct(String cName, int bytes) {
    this.cName = cName;
    this.bytes = bytes;
  }

  /** Its name without {@code struct}. */
  public String cName() {
    return cName;
  }

  /** Its size. */
  public int bytes() {
    return bytes;
  }

  /** The structure of that name, if it is listed. */
  public static @Nullable Struct byName(String name) {
    return BY_NAME.get(name);
  }
}
