// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.HostKernelByJudges;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Receiver;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Statistics;
import dev.outboard.tests.support.TestFiles;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** Files that are the device's: those of its network, and directories of the device's machine. */
@HostKernelByJudges
class DeviceFilesTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  @Scenario
  void whatProgramsDoToFiles(Trial trial) {
    Path share = trial.newDirectory("share");
    Finished done =
        trial
            .program(Programs.c("files"), share.toString(), trial.directory().toString())
            .withDirectoryOfDevice(share)
            .run(LIMIT);
    trial.prints(done);
  }

  @Scenario
  void toolsForFiles(Trial trial) {
    Path share = trial.newDirectory("share");
    trial.file("data", 3_000_000);
    Finished done =
        trial
            .shell(
                """
                set -e
                cp data share/one
                cmp data share/one
                mkdir -p share/a/b/c
                cp share/one share/a/two
                mv share/a/two share/a/b/three
                mv data share/four; mv share/four data
                ln -s ../one share/a/link
                cat share/a/link | sha256sum
                echo text > share/a/b/text; echo more >> share/a/b/text; cat share/a/b/text
                (cd share/a && find . | sort && cat b/text && pwd | sed 's/.*share/share/')
                ls -l share | sed 's/^\\(..........\\).*[0-9:] \\([^ ]*\\)$/\\1 \\2/'
                tar cf all.tar -C share . && tar tf all.tar | sort
                mkdir share/out && tar xf all.tar -C share/out && diff -r share/a share/out/a
                grep -c more share/a/b/text; wc -c < share/one
                cat < share/a/b/text > share/copy; cat /dev/fd/3 3< share/copy
                dd if=share/one of=share/part bs=64k skip=1 count=3 2>/dev/null; wc -c share/part
                touch -d 2001-02-03T04:05:06 share/copy; stat -c %Y share/copy
                chmod 700 share/a; stat -c %a share/a
                rm -r share/a share/out; ls share
                """)
            .withDirectoryOfDevice(share)
            .run(LIMIT);
    trial.prints(done);
  }

  @Scenario
  void pythonAndADatabase(Trial trial) {
    Path share = trial.newDirectory("share");
    Finished done =
        trial
            .program(
                Programs.PYTHON,
                "-c",
                """
                import os, sqlite3, mmap, json, tempfile, shutil
                os.chdir('share')
                with open('a.json', 'w') as f: json.dump({'x': list(range(1000))}, f)
                print(len(json.load(open('a.json'))['x']), os.path.getsize('a.json'))
                with open('a.json', 'rb') as f:
                    m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
                    print(m.find(b'999'), len(m))
                for n in range(2):
                    db = sqlite3.connect('t.db')
                    db.execute('create table if not exists t(a integer primary key, b text)')
                    db.executemany('insert into t(b) values(?)', [('row%d' % i,) for i in range(500)])
                    db.commit()
                    print(db.execute('select count(*), max(b) from t').fetchone())
                    db.close()
                print(sorted(os.listdir('.')))
                os.makedirs('deep/er'); os.rename('a.json', 'deep/er/b.json')
                print([(d, sorted(s), sorted(f)) for d, s, f in os.walk('.')])
                with tempfile.TemporaryFile(dir='.') as t:
                    t.write(b'z' * 100000); t.seek(50000); print(len(t.read()))
                shutil.copytree('deep', 'copy'); print(os.path.exists('copy/er/b.json'))
                """)
            .withDirectoryOfDevice(share)
            .run(LIMIT);
    trial.outcome("output", done.output());
    trial.outcome("errors", done.errors());
    done.expectSuccess();
  }

  /** Opens, mappings and attributes of files that others change meanwhile. */
  @Scenario
  void filesThatOthersChange(Trial trial) throws IOException {
    Path share = trial.newDirectory("share");
    Path file = share.resolve("f");
    Files.writeString(file, "first");
    Command command =
        trial.program(
            Programs.PYTHON,
            "-c",
            """
            import mmap, os, sys
            held = os.open('share/f', os.O_RDONLY)
            for line in sys.stdin:
                f = os.open('share/f', os.O_RDONLY)
                s = os.fstat(f)
                m = mmap.mmap(f, 0, prot=mmap.PROT_READ)
                print(s.st_size, s.st_mtime_ns, os.read(f, 100), m[:], flush=True)
                m.close(); os.close(f)
            """);
    command.with((trial.mode() == Mode.HOST ? "--device-path=" + share : readOnly(share)));
    try (Running python = command.start()) {
      String[] texts = {"first", "other", "much longer", "short", "by its name"};
      for (String text : texts) {
        if (text.startsWith("by")) {
          Path next = share.resolve("next");
          Files.writeString(next, text);
          Files.move(next, file, StandardCopyOption.ATOMIC_MOVE);
          // For as long the device's kernel may believe a name.
          Eventually.pause(1100);
        } else {
          FileTime time = Files.getLastModifiedTime(file);
          Files.writeString(file, text);
          if (text.equals("other")) {
            Files.setLastModifiedTime(file, time);
          }
        }
        python.type("\n");
        long nanos = Files.getLastModifiedTime(file).to(TimeUnit.NANOSECONDS);
        python.awaitOutput(
            LIMIT, "(?m)^%d %d b'%s' b'%s'$".formatted(text.length(), nanos, text, text));
      }
      python.endInput();
      python.await(LIMIT).expectSuccess();
    }
  }

  private static String readOnly(Path share) {
    return "--export=" + share + ":" + share + ":ro";
  }

  /** Whatever way a file's last descriptor goes, the device closes it. */
  @Scenario(modes = {Mode.NATIVE, Mode.HOST})
  void noFileIsLeftOpen(Trial trial) {
    Path share = trial.newDirectory("share");
    trial.file("share/f", "text");
    Running python =
        trial
            .program(
                Programs.PYTHON,
                "-c",
                """
                import os, signal, mmap
                def held(): return [os.open('share/f', os.O_RDONLY) for i in range(20)]
                first = os.open('share/f', os.O_RDONLY)
                print('ready', flush=True); input()
                for way in range(4):
                    pid = os.fork()
                    if pid == 0:
                        fds = held(); d = os.open('share', os.O_RDONLY)
                        if way == 0: os._exit(0)
                        if way == 1: os.kill(os.getpid(), signal.SIGKILL)
                        if way == 2: os.execv('/bin/true', ['true'])
                        maps = [mmap.mmap(f, 0, prot=mmap.PROT_READ) for f in fds]
                        os.dup2(fds[0], 200); os.closerange(3, 300)
                        assert maps[0][:4] == b'text'
                        os._exit(0)
                    os.waitpid(pid, 0)
                print('done', flush=True); input()
                """)
            .withDirectoryOfDevice(share)
            .start();
    python.awaitOutput(LIMIT, "ready");
    if (trial.mode().offloaded()) {
      long device = trial.device();
      long before = descriptors(device);
      python.type("\n");
      python.awaitOutput(LIMIT, "done");
      Eventually.require(
          Duration.ofSeconds(5),
          () -> "descriptors of the device: " + before + ", then " + descriptors(device),
          () -> descriptors(device) <= before);
    } else {
      python.type("\n");
      python.awaitOutput(LIMIT, "done");
    }
    python.type("\n");
    python.await(LIMIT).expectSuccess();
  }

  /** What {@code fs/ioctl.c} knows, on an image; the machine may not mount one, so not natively. */
  @Scenario(modes = Mode.LIBRARY)
  void requestsAboutFiles(Trial trial) {
    Path image = trial.directory().resolve("image");
    trial
        .machine(
            "mkfs.ext4", "-q", "-b", "4096", "-O", "^has_journal,^metadata_csum", "" + image, "32M")
        .run(LIMIT)
        .expectSuccess();
    Path share = trial.directory().resolve("share");
    Finished done =
        trial
            .shell(
                """
                set -e
                echo text >share/f
                lsattr share/f
                chattr +i share/f; lsattr share/f
                (echo more >>share/f) 2>&1 | grep -o 'not permitted'
                chattr -i share/f; echo more >>share/f
                chattr -v 1234 share/f; lsattr -v share/f
                lsattr -p share/f
                for i in 1 3 5 7 9; do dd if=/dev/zero of=share/holes bs=4k seek=$i count=1 conv=notrunc 2>/dev/null; done
                sync -f share/holes
                filefrag share/holes
                cp --reflink=always share/f share/g 2>&1 | sed 's/.*: //'
                cp --reflink=auto share/f share/g && cmp share/f share/g
                fstrim share && echo trimmed
                fsfreeze -f share 2>&1 | sed 's/.*: //'
                ls >here
                %s %s share/holes here
                """
                    .formatted(Programs.PYTHON, Programs.python("file_requests")))
            .with("--disk=" + image + ":" + share)
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output().lines())
        .containsExactly(
            "--------------e------- share/f",
            "----i---------e------- share/f",
            "not permitted",
            "1234       --------------e------- share/f",
            "    0 --------------e------- share/f",
            "share/holes: 1 extent found",
            "Operation not supported",
            "trimmed",
            "Operation not supported",
            "block size 4096",
            "extents [1, 3, 5, 7, 9]",
            "the last [5] is not marked",
            "only counted 5",
            "flags that it does not know EBADR",
            "too many EINVAL",
            "clone of a host's file EXDEV",
            "clone of itself ENOTSUP",
            "clone of nothing EBADF",
            "range of a host's file EXDEV",
            "range of itself ENOTSUP",
            "range from bad memory EFAULT",
            "clone onto a host's file EXDEV",
            "deduplication ENOTSUP",
            "on a socket ENOTTY",
            "reserved 24576");
  }

  /** What a file's bytes cost the host: nothing, when they go from the device to its network. */
  @Scenario(link = Link.TO_MACHINE)
  void onlyTheCallsOfASendfileCross(Trial trial) throws Exception {
    Path share = trial.newDirectory("share");
    long bytes = 64L << 20;
    Path large = trial.file("share/large", bytes);
    Path stats = trial.directory().resolve("stats.json");
    try (Receiver server = new Receiver(trial.directory().resolve("copy"))) {
      Finished done =
          trial
              .program(
                  Programs.PYTHON,
                  "-c",
                  """
                  import os, select, socket, sys
                  with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as c:
                      f = os.open('share/large', os.O_RDONLY)
                      left = os.fstat(f).st_size // 2
                      while left: left -= os.sendfile(c.fileno(), f, None, left)
                      # The rest in pieces, by an offset, to a socket that does not wait, and each
                      # from a file of its own: the number is another file's every time.
                      c.setblocking(False)
                      at, end = os.fstat(f).st_size // 2, os.fstat(f).st_size
                      other = os.open('share/large', os.O_WRONLY)
                      while at < end:
                          os.close(f)
                          f = os.open('share/large', os.O_RDONLY)
                          select.select([], [c], [])
                          try: at += os.sendfile(c.fileno(), f, at, min(end - at, 200_001))
                          except BlockingIOError: continue
                      # What it does not take, in the same way.
                      for arguments in (c.fileno(), f, -1, 5), (c.fileno(), other, 9, 5), (c.fileno(), 99, 0, 5):
                          try: print(os.sendfile(*arguments))
                          except OSError as e: print(e.strerror)
                  """,
                  trial.outside(),
                  "" + server.port())
              .withDirectoryOfDevice(share)
              .with("--stats=" + stats)
              .run(LIMIT)
              .expectSuccess();
      trial.outcome("output", done.output());
      assertThat(server.checksum(LIMIT)).isEqualTo(TestFiles.checksum(large));
    }
    if (trial.mode().offloaded()) {
      Statistics counted = Statistics.read(stats);
      assertThat(counted.number("\"toDevice\": (\\d+)"))
          .as("bytes over the channel of %d, in %s", bytes, counted)
          .isBetween(100L, bytes / 1000);
      assertThat(counted.number("\"fromDevice\": (\\d+)")).isBetween(100L, bytes / 1000);
      assertThat(counted.number("\"sendfile\".*\"bytes\": (\\d+)")).isEqualTo(bytes);
      if (trial.mode() == Mode.LIBRARY) {
        assertThat(counted.number("\"sendfile\".*\"direct\": (\\d+)"))
            .as("%s", counted)
            .isGreaterThan(50);
      }
    }
  }

  private static long descriptors(long pid) {
    try (Stream<Path> list = Files.list(Path.of("/proc/" + pid + "/fd"))) {
      return list.filter(p -> target(p).endsWith("/share/f") || target(p).endsWith("/share"))
          .count();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String target(Path link) {
    try {
      return Files.readSymbolicLink(link).toString();
    } catch (IOException e) {
      return ""; // closed meanwhile
    }
  }

  /**
   * Not natively: the machine's /sys shows another network than a trial's, and it may lack dummy.
   */
  @Scenario(modes = Mode.LIBRARY)
  void theNetworksFilesAreTheDevices(Trial trial) {
    Finished done =
        trial
            .shell(
                """
                set -e
                ip link add files0 type dummy
                grep -ho 'files0' /proc/net/dev /proc/self/net/dev /proc/$$/net/dev
                (cd /proc && grep -o files0 net/dev)
                ls /sys/class/net | grep files0
                cat /sys/class/net/files0/address | wc -c
                readlink -f /sys/class/net/files0
                sysctl -w net.ipv4.tcp_notsent_lowat=12345
                cat /proc/sys/net/ipv4/tcp_notsent_lowat
                echo 54321 > /proc/sys/net/ipv4/tcp_notsent_lowat
                sysctl -n net.ipv4.tcp_notsent_lowat
                ls -d /proc/sys/net/ipv4/conf/files0
                """)
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output().lines())
        .containsExactly(
            "files0",
            "files0",
            "files0",
            "files0",
            "files0",
            "18",
            "/sys/devices/virtual/net/files0",
            "net.ipv4.tcp_notsent_lowat = 12345",
            "12345",
            "54321",
            "/proc/sys/net/ipv4/conf/files0");
  }

  @Scenario(modes = Mode.LIBRARY)
  void bbrIsTheDevices(Trial trial) {
    Finished done = trial.program("sysctl", "-w", "net.ipv4.tcp_congestion_control=bbr").run(LIMIT);
    assertThat(done.expectSuccess().output().strip())
        .isEqualTo("net.ipv4.tcp_congestion_control = bbr");
  }

  @Scenario(modes = {Mode.NATIVE, Mode.HOST})
  void aProgramOfTheDeviceIsNotExecuted(Trial trial) throws IOException {
    if (!trial.mode().offloaded()) {
      return;
    }
    Path share = trial.newDirectory("share");
    Files.copy(Path.of("/bin/true"), share.resolve("true"));
    Finished done =
        trial.shell("share/true; echo status $?").withDirectoryOfDevice(share).run(LIMIT);
    assertThat(done.output()).contains("status 126");
    assertThat(done.errors()).contains("cannot be executed on the host");
  }
}
