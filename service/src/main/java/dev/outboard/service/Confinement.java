// SPDX-License-Identifier: MIT
package dev.outboard.service;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Errno;
import dev.outboard.abi.Sched;
import dev.outboard.posix.Capabilities;
import dev.outboard.posix.Landlock;
import dev.outboard.posix.Processes;
import dev.outboard.posix.Restriction;
import dev.outboard.posix.SystemCallFilter;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a service's process gives up before anything comes from a host: for the case that somebody
 * gets hold of it by what its hosts send it.
 *
 * <p>It goes on starting processes, and what holds for it holds for these: so it is what neither it
 * nor any kernel's process needs, nor passt. A kernel's process gives up more by itself.
 */
public final class Confinement {
  private static final int RLIMIT_CORE = 4;

  /** Of other processes' memory, of the machine's kernel itself, of its clock and its keys. */
  private static final List<String> NEVER =
      words(
          "ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp init_module finit_module"
              + " delete_module kexec_load kexec_file_load perf_event_open userfaultfd"
              + " io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key reboot"
              + " swapon swapoff sethostname setdomainname settimeofday clock_settime adjtimex"
              + " clock_adjtime acct quotactl ioperm iopl name_to_handle_at open_by_handle_at");

  /** The newer way to mount, and others' namespaces: passt does without. */
  private static final List<String> OF_HOST_KERNEL =
      words("setns move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr");

  /** What passt shuts itself in by. */
  private static final List<String> OF_PASST = words("mount umount2 pivot_root chroot");

  private static final int NAMESPACES =
      Sched.CLONE_NEWNS
          | Sched.CLONE_NEWCGROUP
          | Sched.CLONE_NEWUTS
          | Sched.CLONE_NEWIPC
          | Sched.CLONE_NEWUSER
          | Sched.CLONE_NEWPID
          | Sched.CLONE_NEWNET;

  private Confinement() {}

  /**
   * A file of kernels' processes, or a directory and all that is in it.
   *
   * @param path absolute
   * @param writable whether it is written to; and made and removed in, if it is a directory
   */
  public record Place(Path path, boolean writable) {
    private boolean within(Place kept) {
      return path.startsWith(kept.path) && (!writable || kept.writable);
    }
  }

  /**
   * What kernels' processes do that not all of them do.
   *
   * @param hostKernel calls are the machine's own kernel's, and exports are mounted in it
   * @param passt the network is passt's, which shuts itself in by namespaces of its own
   * @param bpf a network card has XDP programs loaded
   * @param capabilities what they need as root, a mask of {@link Capabilities}; all with the
   *     machine's kernel
   * @param places files of theirs beside the program's own
   */
  public record Needs(
      boolean hostKernel, boolean passt, boolean bpf, long capabilities, List<Place> places) {
    public Needs {
      places = List.copyOf(places);
    }

    /**
     * Whether a service that has kept what {@code kept} needs can serve this, too.
     *
     * @param root whether it has kept capabilities, and not had none ever
     * @param confined whether its files are confined
     */
    public boolean within(Needs kept, boolean root, boolean confined) {
      boolean namespaces = kept.hostKernel || kept.passt;
      return (!hostKernel || kept.hostKernel)
          && (!passt || namespaces)
          && (!bpf || kept.bpf || kept.hostKernel)
          && (!root || (capabilities & ~kept.capabilities) == 0)
          && (!confined
              || places.stream().allMatch(place -> kept.places.stream().anyMatch(place::within)));
    }

    /**
     * What a process with such a device is left with. With the machine's kernel that is everything,
     * and with passt all files: who is bound by Landlock may not mount, which passt does.
     *
     * @param own what it opens beside {@link #places}
     */
    public Restriction restriction(Landlock own) {
      if (hostKernel) {
        return Restriction.NONE;
      }
      Landlock files = own;
      for (Place place : places) {
        files = files.allow(place.path(), place.writable() ? Landlock.EVERYTHING : Landlock.READ);
      }
      return new Restriction(capabilities, passt ? null : files);
    }

    /**
     * The same of a service that starts such processes, which are another user's by and by.
     *
     * @param more capabilities that it needs beside these
     */
    public Restriction ofService(Landlock own, long more) {
      Restriction kernels = restriction(own);
      return hostKernel
          ? kernels
          : new Restriction(kernels.capabilities() | Capabilities.KILL | more, kernels.files());
    }
  }

  /**
   * Refuses this process and all that it starts the calls that none of them needs; a {@link
   * Restriction} it has had from its first instruction on. Once, before anything is accepted.
   *
   * @return what is not as it should be; null if all is
   */
  public static @Nullable String apply(Needs needs) {
    // Its memory holds this machine's private key.
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment none = arena.allocate(16, 8);
      Processes.prlimit(0, RLIMIT_CORE, none.address(), 0);
    }
    if (Architecture.MACHINE != Architecture.X86_64) {
      Processes.prctl(Processes.PR_SET_NO_NEW_PRIVS, 1);
      return "this machine's calls are not known, so the service's are not filtered";
    }
    long r = filter(needs).install();
    return r == 0 ? null : "the service's calls are not filtered: " + Errno.name((int) -r);
  }

  /** What is refused, in names of calls, whatever their arguments are. */
  static List<String> refused(Needs needs) {
    List<String> names = new ArrayList<>(NEVER);
    if (!needs.hostKernel()) {
      names.addAll(OF_HOST_KERNEL);
      if (!needs.passt()) {
        names.addAll(OF_PASST);
      }
      if (!needs.bpf()) {
        names.add("bpf");
      }
    }
    return names;
  }

  private static SystemCallFilter filter(Needs needs) {
    SystemCallFilter filter = new SystemCallFilter();
    refused(needs).forEach(name -> filter.refuse(number(name), Errno.EPERM));
    if (!needs.hostKernel() && !needs.passt()) {
      filter
          .refuseIfAny(number("unshare"), 0, NAMESPACES)
          .refuseIfAny(number("clone"), 0, NAMESPACES)
          // Its flags lie in memory, where a filter does not look; libc and the JVM do without it.
          .refuse(number("clone3"), Errno.ENOSYS);
    }
    return filter;
  }

  private static int number(String name) {
    Row row = SyscallTable.byName(name);
    if (row == null) {
      throw new IllegalStateException("no call " + name);
    }
    return row.x86();
  }

  private static List<String> words(String text) {
    return List.of(text.split(" ", -1));
  }
}
