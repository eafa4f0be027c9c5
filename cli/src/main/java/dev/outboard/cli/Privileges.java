// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.abi.Errno;
import dev.outboard.device.Device;
import dev.outboard.posix.Capabilities;
import dev.outboard.posix.Landlock;
import dev.outboard.posix.Restriction;
import dev.outboard.service.Confinement;
import dev.outboard.service.Service;
import dev.outboard.service.ServiceException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a device's or service's process is left with from its first instruction on: {@code
 * docs/adr/0082-privileges-are-given-up-by-who-starts-a-jvm.md}.
 *
 * @param service of a service's own process
 * @param program files of every process of ours
 * @param reach capabilities that each of them keeps to reach these
 * @param notice what is not as it should be; null if all is
 */
record Privileges(Restriction service, Landlock program, long reach, @Nullable String notice) {
  /** By it a JVM knows that it has been started anew. */
  private static final String AGAIN = "outboard.restricted";

  /** The command that executes this JVM where the machine does not, one word a line. */
  private static final String EMULATOR = "outboard.emulator";

  /**
   * Of a device with one session, which is its own user's: of capabilities what its work takes.
   * Files are those of whoever has started it.
   *
   * @param recorded whether JFR records, whose file may be anywhere
   */
  static Restriction ofDevice(DeviceSettings settings, boolean recorded) {
    Confinement.Needs needs = settings.needs();
    if (needs.hostKernel() || recorded || Capabilities.permitted() == 0) {
      return Restriction.NONE;
    }
    OwnFiles.Reach reach =
        OwnFiles.ofThisProgram().reach(needs.capabilities(), List.of(), List.of());
    // What is written in training may be anywhere.
    long more =
        Boolean.getBoolean("outboard.training") ? Capabilities.DAC_OVERRIDE : reach.capabilities();
    return new Restriction(needs.capabilities() | more, null);
  }

  /**
   * Of a service.
   *
   * @param needs what its kernels need
   * @param read files and directories that it reads beside the program's own
   * @param sockets where it makes sockets
   * @param log the file that it writes to; null for none
   * @param lowPort whether it listens at a port that not everybody may listen at
   */
  static Privileges ofService(
      Confinement.Needs needs,
      List<Path> read,
      List<Path> sockets,
      @Nullable Path log,
      boolean lowPort) {
    if (needs.hostKernel() || Device.recorded()) {
      return new Privileges(Restriction.NONE, Landlock.nothing(), 0, null);
    }
    OwnFiles own = OwnFiles.ofThisProgram();
    long more = lowPort ? Capabilities.NET_BIND_SERVICE : 0;
    String notice = null;
    OwnFiles.Reach reach = new OwnFiles.Reach(0, "", null);
    @Nullable Path groups = null;
    try {
      groups = Service.controlGroups();
    } catch (ServiceException e) {
      // None can be made.
    }
    if (Capabilities.permitted() != 0) {
      List<Path> written = new ArrayList<>(sockets);
      if (log != null) {
        written.add(log);
      }
      reach = own.reach(needs.capabilities(), read, written);
      OwnFiles.Reach noticed = reach;
      if (groups != null && (needs.capabilities() & Capabilities.DAC_OVERRIDE) == 0) {
        // The root of a hierarchy, as a container has it, is not its owner's to write to. Its
        // kernels have groups that are.
        OwnFiles.Reach ofGroups =
            own.reach(needs.capabilities() | reach.capabilities(), List.of(), List.of(groups));
        if (ofGroups.capabilities() == Capabilities.DAC_OVERRIDE) {
          more |= Capabilities.DAC_OVERRIDE;
          noticed = ofGroups;
        }
      }
      if (noticed.because() != null) {
        notice =
            "the service keeps "
                + noticed.name()
                + ", without which it has no "
                + noticed.because();
      }
    }
    Landlock program = own.landlock();
    Landlock files = program;
    for (Path path : read) {
      files = files.allow(path, Landlock.READ);
    }
    for (Path path : sockets) {
      files = files.allow(path, Landlock.SOCKETS);
    }
    if (log != null) {
      files = files.allow(log, Landlock.WRITE);
    }
    if (groups != null) {
      files = files.allow(groups, Landlock.GROUPS);
    }
    // jcmd reaches a JVM by a socket that this makes there.
    files = files.allow(Path.of("/tmp"), Landlock.SOCKETS);
    return new Privileges(
        needs.ofService(files, more | reach.capabilities()), program, reach.capabilities(), notice);
  }

  /** Of the processes that the service starts from now on. */
  Restriction kernels(Confinement.Needs needs) {
    if (service.equals(Restriction.NONE)) {
      return Restriction.NONE;
    }
    Restriction left = needs.restriction(program);
    return new Restriction(left.capabilities() | reach, left.files());
  }

  /** Whether the service has kept capabilities, and given others up. */
  boolean ofRoot() {
    return service.capabilities() != Capabilities.ALL && Capabilities.permitted() != 0;
  }

  /**
   * Has this process give it up: the JVM is executed anew, once, and comes here a second time.
   * Before anything of it is noticed by others.
   *
   * @param kept descriptors from 3 on that were handed to this process
   * @throws Failure if that is not possible
   */
  static void become(Restriction left, int kept) {
    long tooMuch = Capabilities.permitted() & ~left.capabilities();
    if (Boolean.getBoolean(AGAIN)) {
      if (tooMuch != 0) {
        throw new Failure(
            "capabilities that are not needed are still there: "
                + Long.toHexString(tooMuch)
                + "; its options changed while it started, or -D"
                + AGAIN
                + " was given: start it again");
      }
    } else if (left.givesUpAnything()) {
      List<String> emulator = System.getProperty(EMULATOR, "").lines().toList();
      long r = left.become(emulator, "-D" + AGAIN + "=true", kept);
      throw new Failure("privileges cannot be given up: " + Errno.name((int) -r));
    }
  }
}
