// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;

/**
 * Names, asked of servers that only the device's network reaches: natively {@code resolv.conf} says
 * where they are, offloaded {@code --dns}, while the machine's file names a server that is not
 * there.
 */
class NamesTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  /** What the program finds in its domains, and how it looks. */
  private static final String REST =
      "search zone.example other.example\noptions ndots:2 timeout:2\n";

  /** Has a command see files of the trial in {@code /etc}. */
  private static final List<String> WITH_FILES =
      List.of(
          "unshare",
          "-m",
          "sh",
          "-ec",
          "for f in resolv.conf hosts nsswitch.conf; do mount --bind $f /etc/$f; done; exec \"$@\"",
          "sh");

  /** The name servers of a program: natively by the file, else by {@code --dns}. */
  private static Command asking(Trial trial, Command program, String... servers) {
    boolean offloaded = trial.mode().offloaded();
    StringBuilder text = new StringBuilder(offloaded ? "nameserver 192.0.2.99\n" : "");
    for (String server : offloaded ? new String[0] : servers) {
      text.append("nameserver ").append(server).append('\n');
    }
    trial.file("resolv.conf", text + REST);
    trial.file("hosts", "127.0.0.1 localhost\n::1 localhost\n192.0.2.40 entry.example nick\n");
    trial.file("nsswitch.conf", "hosts: files dns\n");
    return program
        .with("--dns", String.join(",", servers))
        .under(WITH_FILES.toArray(String[]::new));
  }

  /** Runs a script beside the name servers, on the same kernel; states what it prints. */
  private static Finished beside(Trial trial, int port, String script) {
    Finished done =
        asking(
                trial,
                trial.shell(
                    """
                    set -e
                    # Loopback's own addresses do not count as having IPv4 or IPv6.
                    ip addr add 192.0.2.1/32 dev lo; ip addr add 2001:db8::1/128 dev lo
                    %s %s %d 127.0.0.2 127.0.0.3 >told & zone=$!
                    until [ -s told ]; do sleep 0.02; done
                    %s
                    kill $zone; wait $zone; cat told
                    """
                        .formatted(Programs.PYTHON, Programs.python("zone"), port, script)),
                "127.0.0.2",
                "127.0.0.3")
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
    return done;
  }

  @Scenario
  void ofTheCLibraryPythonAndCurl(Trial trial) {
    int port = trial.port();
    Finished done =
        beside(
            trial,
            port,
            """
            %1$s
            curl -sS http://web.zone.example:%2$d/ http://web:%2$d/
            curl -sS http://none.zone.example:%2$d/ 2>&1 || echo "curl $?"
            %3$s -c '
            import os, socket
            print(socket.gethostbyaddr("192.0.2.10"), socket.getfqdn("nick"))
            there = lambda s: (s.st_ino, s.st_size, s.st_mtime_ns)
            own, texts = there(os.stat("/etc/resolv.conf")), []
            os.chdir("/etc")
            etc = os.open(".", os.O_RDONLY)
            for path, fd in (("/etc/resolv.conf", None), ("//etc/./../etc/resolv.conf", None),
                             ("resolv.conf", None), ("./resolv.conf", etc)):
                opened = os.open(path, os.O_RDONLY, dir_fd=fd)
                texts.append(os.read(opened, 4096))
                for s in os.fstat(opened), os.stat(path, dir_fd=fd), os.lstat(path, dir_fd=fd):
                    assert there(s) == own, (path, s)
            assert len(set(texts)) == 1
            print(*texts[0].decode().splitlines()[-4:], sep="\\n")
            print(os.path.realpath("resolv.conf"))'
            ip addr del 2001:db8::1/128 dev lo
            %1$s host v4 v6
            ip addr del 192.0.2.1/32 dev lo; ip addr add 2001:db8::1/128 dev lo
            %1$s host v4 v6
            """
                .formatted(Programs.c("names"), port, Programs.PYTHON));
    assertThat(done.output())
        .contains("host.zone.example 0 0x2: (host.zone.example) 2001:db8::10:443 192.0.2.10:443\n")
        .contains("deep.host 0 0: 192.0.2.20:443\n")
        .contains("only 0 0: 192.0.2.30:443\n")
        .contains("many.zone.example tcp server 1\n")
        .contains("failing.zone.example udp server 2\n");
  }

  /** Its own resolver, though libc is there. */
  @Tag("judges")
  @Scenario(trace = false)
  void ofGo(Trial trial) {
    beside(trial, trial.port(), "GODEBUG=netdns=go " + Programs.go("names"));
  }

  @Tag("judges")
  @Scenario(trace = false)
  void ofGoByTheCLibrary(Trial trial) {
    beside(trial, trial.port(), "GODEBUG=netdns=cgo " + Programs.go("names"));
  }

  @Tag("judges")
  @Scenario(trace = false)
  void ofGoLinkedWithNothing(Trial trial) {
    beside(trial, trial.port(), Programs.staticGo("names"));
  }

  @Tag("judges")
  @Scenario(trace = false)
  void ofNode(Trial trial) {
    Programs.require("node");
    beside(trial, trial.port(), "node " + Programs.data("names.js"));
  }

  /** By threads of the platform, by virtual ones, and by JNDI; nothing is kept meanwhile. */
  @Tag("judges")
  @Scenario(trace = false)
  void ofJava(Trial trial) {
    beside(
        trial,
        trial.port(),
        "%s -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dsun.net.inetaddr.ttl=0 -cp %s Names"
            .formatted(Programs.JAVA, Programs.java("Names")));
  }

  /** The servers are behind a TAP: who asks from elsewhere is not answered. */
  @Scenario(link = Link.TO_MACHINE)
  void overALink(Trial trial) {
    trial.file(
        "only.py",
        """
        import socket, sys
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(0, 15, 1)  # IP_FREEBIND: the link comes with the device
        s.bind((sys.argv[1], 53))
        print("up", flush=True)
        while True:
            q, peer = s.recvfrom(512)
            end = q.index(b"\\0", 12) + 5
            if peer[0] == sys.argv[2]:
                a = q[end - 4:end - 2] == b"\\0\\1"
                r = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\5\\0\\4\\xc0\\0\\2\\x09" if a else b""
                s.sendto(q[:2] + b"\\x81\\x80\\0\\1" + (b"\\0\\1" if a else b"\\0\\0")
                         + b"\\0\\0\\0\\0" + q[12:end] + r, peer)
        """);
    try (Running server =
        trial
            .machine(Programs.PYTHON, "only.py", trial.outside(), trial.inside())
            .in(trial.directory())
            .start()) {
      server.awaitOutput(LIMIT, "up");
      Finished done =
          asking(trial, trial.program(Programs.c("names"), "any.example"), trial.outside())
              .run(LIMIT)
              .expectSuccess();
      trial.outcome("output", done.output());
      assertThat(done.output()).isEqualTo("any.example 0 0x20: 192.0.2.9:443\n");
    }
  }

  /**
   * A service of the host that finds out names is asked with the machine's name servers, and not
   * with others. Stands in for nscd, systemd-resolved and avahi-daemon by their sockets.
   */
  @Scenario(modes = {Mode.LIBRARY, Mode.HOST})
  void servicesOfTheHostAreNotAsked(Trial trial) {
    trial.file(
        "services.py",
        """
        import os, socket, struct, sys, threading
        for path in sys.argv[1].split():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            s = socket.socket(socket.AF_UNIX)
            s.bind(path)
            s.listen()
            def serve(s=s, path=path):
                while True:
                    c, _ = s.accept()
                    of = c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                    print(struct.unpack("3i", of)[0], "asks", path, flush=True)
                    c.close()
            threading.Thread(target=serve, daemon=True).start()
        open("ready", "w").close()
        threading.Event().wait()
        """);
    String sockets =
        "/run/nscd/socket /run/systemd/resolve/io.systemd.Resolve /run/avahi-daemon/socket"
            + " /run/other/socket";
    for (boolean given : new boolean[] {false, true}) {
      List<String> options = new ArrayList<>();
      if (given) {
        options.addAll(List.of("--dns", "127.0.0.2"));
      }
      Finished done =
          trial
              .program(
                  Programs.PYTHON,
                  "-c",
                  """
                  import os, socket, sys
                  print("program", os.getpid(), flush=True)
                  for path in sys.argv[1].split():
                      with socket.socket(socket.AF_UNIX) as s:
                          print("connect", path, s.connect_ex(path), flush=True)
                  try: socket.getaddrinfo("any.example", None)
                  except OSError as e: print(e)
                  """,
                  sockets)
              .with(options.toArray(String[]::new))
              .under(
                  "unshare",
                  "-m",
                  "sh",
                  "-ec",
                  "mount -t tmpfs none /run; printf 'nameserver 127.0.0.2\\n' >resolv.conf;"
                      + " mount --bind resolv.conf /etc/resolv.conf;"
                      + " %s services.py \"$0\" & until [ -e ready ]; do sleep 0.02; done;"
                          .formatted(Programs.PYTHON)
                      + " rm ready; \"$@\"; kill $!",
                  sockets)
              .run(LIMIT)
              .expectSuccess();
      Stream<String> names = Stream.of(sockets.split(" ", -1)).limit(3);
      // Hook and device look up users.
      String program = done.output().replaceFirst("(?s).*program (\\d+)\n.*", "$1 asks ");
      if (given) {
        assertThat(done.output())
            .contains(names.map(s -> "connect " + s + " 2\n").toList())
            .contains("connect /run/other/socket 0\n", program + "/run/other/socket\n")
            .doesNotContain(
                program + "/run/nscd", program + "/run/systemd", program + "/run/avahi");
      } else if (!Boolean.getBoolean("tests.ssh")) { // then the device is elsewhere
        assertThat(done.output()).contains(names.map(s -> program + s + "\n").toList());
      }
    }
  }
}
