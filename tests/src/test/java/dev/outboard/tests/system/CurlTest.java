// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;

/**
 * curl by each of its protocols but HTTP, which others test; both ways where there are two, and
 * with TLS. The server is beside it on the same kernel.
 */
@Tag("judges")
class CurlTest {
  private static final Duration LIMIT = Duration.ofMinutes(3);

  private static void judge(Trial trial, String... protocols) {
    trial.certificate();
    trial.file("data", 300_000);
    trial.file(
        "text",
        "Subject: a letter\n\n.dot\n..two\n"
            + IntStream.range(0, 3000)
                .mapToObj(Integer::toString)
                .collect(Collectors.joining("\n", "", "\n")));
    for (String protocol : protocols) {
      Finished done =
          trial
              .program(
                  "sh",
                  Programs.data("curl-protocols"),
                  protocol,
                  "" + trial.port(),
                  Programs.PYTHON,
                  Programs.python("protocols"))
              // sshd insists on a directory there.
              .under("unshare", "-m", "sh", "-ec", "mount -t tmpfs none /run; exec \"$@\"", "sh")
              .run(LIMIT)
              .expectSuccess();
      assertThat(done.output()).as(protocol).doesNotContain("differ", "EOF", "curl 28");
      trial.outcome(
          protocol, done.output().replaceAll("((localhost|127\\.0\\.0\\.1):)\\d+", "$1PORT"));
    }
  }

  /** Connections of the server's, of the client's, and two at a time. */
  @Scenario(trace = false)
  void ftp(Trial trial) {
    judge(trial, "ftp");
  }

  @Scenario(trace = false)
  void ftps(Trial trial) {
    judge(trial, "ftps");
  }

  /** Datagrams, by blocks of three sizes. */
  @Scenario(trace = false)
  void tftp(Trial trial) {
    judge(trial, "tftp");
  }

  @Scenario(trace = false)
  void smtp(Trial trial) {
    judge(trial, "smtp", "smtps");
  }

  @Scenario(trace = false)
  void imap(Trial trial) {
    judge(trial, "imap", "imaps");
  }

  @Scenario(trace = false)
  void pop3(Trial trial) {
    judge(trial, "pop3", "pop3s");
  }

  /** By libssh2, with Debian's server. */
  @Scenario(trace = false)
  void scpAndSftp(Trial trial) {
    Programs.require("sshd", "ssh-keygen");
    judge(trial, "scp", "sftp");
  }

  @Scenario(trace = false)
  void ldap(Trial trial) {
    judge(trial, "ldap", "ldaps");
  }

  @Scenario(trace = false)
  void dictAndGopher(Trial trial) {
    judge(trial, "dict", "gopher", "gophers");
  }

  @Scenario(trace = false)
  void mqttAndRtsp(Trial trial) {
    judge(trial, "mqtt", "rtsp");
  }

  /** By nginx, which plays and records. */
  @Scenario(trace = false)
  void rtmp(Trial trial) {
    Programs.require("nginx");
    judge(trial, "rtmp");
  }

  /** With Samba, which has a process for each connection. */
  @Scenario(trace = false)
  void smb(Trial trial) {
    Programs.require("smbd", "smbpasswd", "socat");
    judge(trial, "smb");
    judge(trial, "smbs");
  }

  /** Reads of standard input between polls of the socket. */
  @Scenario(trace = false)
  void telnet(Trial trial) {
    judge(trial, "telnet");
  }

  @Scenario(trace = false)
  void file(Trial trial) {
    judge(trial, "file");
  }
}
