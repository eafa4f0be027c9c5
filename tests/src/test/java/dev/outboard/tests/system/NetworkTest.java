// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.TestFiles;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * How a device's network meets the machine's: by passt, published ports, the machine's loopback.
 */
class NetworkTest {
  private static final Duration LIMIT = Duration.ofSeconds(30);

  @Scenario(link = Link.NAMESPACE)
  void withoutOptionsNamesAndConnectionsWork(Trial trial) {
    Path data = trial.file("data", 8 << 20);
    int port = trial.port();
    trial.file("resolv.conf", "nameserver " + trial.outside() + "\n");
    try (Running names =
            trial
                .machine(
                    Programs.PYTHON,
                    Programs.python("name_server"),
                    trial.outside(),
                    trial.outside())
                .start();
        Running server = serve(trial, trial::machine, trial.outside(), port)) {
      names.awaitOutput(LIMIT, "up");
      server.awaitOutput(LIMIT, "Serving");
      Finished done =
          trial
              .program(
                  "curl",
                  "-sS",
                  "-o",
                  "copy",
                  "-w",
                  "%{http_code} %{size_download}",
                  "http://server.example:%d/data".formatted(port))
              .under(
                  "unshare",
                  "-m",
                  "sh",
                  "-c",
                  "mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"",
                  "sh")
              .run(LIMIT)
              .expectSuccess();
      trial.outcome("output", done.output());
      assertThat(TestFiles.checksum(trial.directory().resolve("copy")))
          .isEqualTo(TestFiles.checksum(data));
    }
  }

  /** A kernel goes on with what is in a socket's buffers when its program has ended. */
  @Scenario(link = Link.TO_MACHINE)
  void whatWasSentLastArrives(Trial trial) throws Exception {
    try (ServerSocket server = new ServerSocket()) {
      server.setReceiveBufferSize(64 << 10);
      server.bind(null);
      CountDownLatch ended = new CountDownLatch(1);
      CompletableFuture<Long> received =
          CompletableFuture.supplyAsync(() -> {
            try (Socket s = server.accept()) {
              // Until the program is gone nothing is read, and most of it cannot leave.
              ended.await();
              return s.getInputStream().transferTo(OutputStream.nullOutputStream());
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            } catch (InterruptedException e) {
              throw new IllegalStateException(e);
            }
          });
      Running program =
          trial
              .program(
                  Programs.PYTHON,
                  "-c",
                  """
                  import os, socket, sys
                  c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
                  c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                  c.setblocking(False)
                  sent = 0
                  try:
                      while sent < 16 << 20: sent += c.send(b'x' * 65536)
                  except BlockingIOError: pass
                  print('sent', sent, flush=True)
                  os._exit(0)
                  """,
                  trial.outside(),
                  "" + server.getLocalPort())
              .start();
      Finished done = program.await(LIMIT).expectSuccess();
      ended.countDown();
      assertThat(done.output().strip())
          .isEqualTo("sent " + received.get(LIMIT.toSeconds(), TimeUnit.SECONDS));
    }
  }

  @Scenario(link = Link.TO_MACHINE, modes = Mode.LIBRARY)
  void aPublishedPortOfATap(Trial trial) {
    published(trial, trial::machine);
  }

  @Scenario(link = Link.NAMESPACE, modes = Mode.LIBRARY)
  void aPublishedPortOfPasst(Trial trial) {
    published(trial, trial::beside);
  }

  private interface Place {
    Command command(String... words);
  }

  private static Running serve(Trial trial, Place place, String address, int port) {
    return place
        .command(
            Programs.PYTHON, "-u", "-m", "http.server", "--bind", address, Integer.toString(port))
        .in(trial.directory())
        .start();
  }

  private static void published(Trial trial, Place client) {
    Path data = trial.file("data", 4 << 20);
    int port = trial.port();
    try (Running server =
        trial
            .program(Programs.PYTHON, "-u", "-m", "http.server", "--bind", "0.0.0.0", "80")
            .with("--publish", "127.0.0.1:%d:80".formatted(port))
            .start()) {
      server.awaitOutput(LIMIT, "Serving");
      client
          .command("curl", "-sS", "-o", "copy", "http://127.0.0.1:%d/data".formatted(port))
          .run(LIMIT)
          .expectSuccess();
      assertThat(TestFiles.checksum(trial.directory().resolve("copy")))
          .isEqualTo(TestFiles.checksum(data));
    }
  }

  @Scenario(link = Link.TO_MACHINE, modes = Mode.LIBRARY)
  void theMachinesLoopbackOverATap(Trial trial) {
    loopback(trial, trial::machine);
  }

  @Scenario(link = Link.NAMESPACE, modes = Mode.LIBRARY)
  void theMachinesLoopbackOverPasst(Trial trial) {
    loopback(trial, trial::beside);
  }

  private static void loopback(Trial trial, Place machine) {
    trial.file("page", "from the machine's loopback\n");
    int port = trial.port();
    try (Running server = serve(trial, machine, "127.0.0.1", port)) {
      server.awaitOutput(LIMIT, "Serving");
      Finished named =
          trial
              .program("curl", "-sS", "http://127.0.0.1:%d/page".formatted(port))
              .with("--host-loopback", Integer.toString(port))
              .run(LIMIT)
              .expectSuccess();
      assertThat(named.output()).isEqualTo("from the machine's loopback\n");
      Finished unnamed =
          trial.program("curl", "-sS", "http://127.0.0.1:%d/page".formatted(port)).run(LIMIT);
      assertThat(unnamed.status()).as("curl without --host-loopback").isEqualTo(7);
    }
  }

  /** What the device's card does is what {@code ethtool} says, and the option changes it. */
  @Scenario(link = Link.TO_MACHINE, modes = Mode.LIBRARY)
  void ethtoolShowsTheOffloads(Trial trial) {
    String on = trial.program("ethtool", "-k", "eth0").run(LIMIT).expectSuccess().output();
    String off =
        trial
            .outboard(
                "run",
                "--net",
                "tap:name=obe%d,addr=%s/24,offload=off"
                    .formatted(ProcessHandle.current().pid() % 1_000_000, trial.inside()),
                "--",
                "ethtool",
                "-k",
                "eth0")
            .run(LIMIT)
            .expectSuccess()
            .output();
    for (String feature :
        new String[] {
          "tx-checksumming",
          "tcp-segmentation-offload",
          "tx-tcp6-segmentation",
          "tx-tcp-ecn-segmentation"
        }) {
      assertThat(on).containsPattern(feature + ": on");
      assertThat(off).containsPattern(feature + ": off");
    }
    // The driver leaves it to the administrator to switch this on.
    assertThat(on).containsPattern("(?m)tx-udp-segmentation: off$");
    assertThat(off).contains("tx-udp-segmentation: off [fixed]");
    // Of the kernel's own making, whatever the card can do.
    assertThat(on).contains("generic-receive-offload: on");
    assertThat(off).contains("generic-receive-offload: on");
  }

  /** What a side sees on its interfaces: the largest frame of each kind by who sent it. */
  private static final String WATCH =
      """
      import errno, fcntl, socket, struct, threading, time
      largest = {}
      def interface(address):
          SIOCGIFADDR = 0x8915
          with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
              for index, name in socket.if_nameindex():
                  try:
                      of = fcntl.ioctl(s, SIOCGIFADDR, struct.pack('40s', name.encode()))
                  except OSError:
                      continue
                  if socket.inet_ntoa(of[20:24]) == address:
                      return name
          raise LookupError(address)
      # Only the interface with this address: others' traffic would push out what is looked for.
      def watch(address):
          s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
          s.bind((interface(address), 3))
          b = bytearray(64)
          def listen():
              while True:
                  try:
                      n = s.recv_into(b, 64, socket.MSG_TRUNC)
                  except OSError as e: # said once, before what came until then
                      if e.errno != errno.ENETDOWN:
                          raise
                      continue
                  if n > 54 and b[12:14] == b'\\x08\\0':
                      kind = {17: 'udp', 6: 'cwr' if b[47] & 0x80 else 'tcp'}.get(b[23])
                      key = kind, socket.inet_ntoa(b[26:30])
                      largest[key] = max(n, largest.get(key, 0))
          threading.Thread(target=listen, daemon=True).start()
      def unsplit(kind, sender):
          end = time.monotonic() + 10
          while (n := largest.get((kind, sender), 0)) <= 1514 and time.monotonic() < end:
              time.sleep(0.02)
          print(kind, 'above the MTU' if n > 1514 else n, flush=True)
      def send(s):
          for i in range(32):
              s.sendall(bytes(1 << 20))
      def receive(s):
          n = 0
          while b := s.recv(1 << 20):
              n += len(b)
          return n >> 20
      def datagrams(s, n):
          for i in range(n):
              assert s.recv(65536) == bytes([i]) * 1400
      SEGMENTS = b''.join(bytes([i]) * 1400 for i in range(30))
      """;

  /** With gso= a segment of 256 KiB crosses the TAP as it is, IPv4's too. */
  @Scenario(link = Link.TO_MACHINE, modes = Mode.LIBRARY)
  void segmentsAbove64KiB(Trial trial) {
    trial.file("watch.py", WATCH);
    trial.file(
        "machine.py",
        """
        import hashlib, sys, time
        from watch import *
        while True:
            try:
                service = socket.create_server((sys.argv[1], int(sys.argv[2])))
                break
            except OSError:
                time.sleep(0.02)
        watch(sys.argv[1])
        s, peer = service.accept()
        sum = hashlib.sha256()
        while b := s.recv(1 << 20):
            sum.update(b)
        end = time.monotonic() + 10
        while not (above := largest.get(('tcp', peer[0]), 0) > 66000) and time.monotonic() < end:
            time.sleep(0.02) # who watches may have had no processor yet
        print(sum.hexdigest(), above)
        """);
    Path data = trial.file("data", 16L << 20);
    String port = "" + trial.port();
    try (Running machine =
        trial.machine(Programs.PYTHON, "machine.py", trial.outside(), port).start()) {
      Finished sent =
          trial
              .outboard(
                  "run",
                  "--net",
                  "tap:name=obg%d,addr=%s/24,gso=262140"
                      .formatted(ProcessHandle.current().pid() % 1_000_000, trial.inside()),
                  "--",
                  "sh",
                  "-c",
                  "until socat -b 1048576 -u OPEN:data TCP:%s:%s 2>log; do sleep 0.05; done; ip -d link show eth0"
                      .formatted(trial.outside(), port))
              .run(LIMIT)
              .expectSuccess();
      assertThat(sent.output()).contains("gso_max_size 262140");
      assertThat(machine.await(LIMIT).expectSuccess().output())
          .isEqualTo(TestFiles.checksum(data) + " True\n");
    }
  }

  /**
   * Segments with ECN's answer in them, and of datagrams, cross the TAP as they are. Every 32nd
   * packet is marked as by a router that is congested.
   */
  @Scenario(link = Link.TO_MACHINE, modes = Mode.LIBRARY)
  void segmentsWithEcnAndOfDatagrams(Trial trial) {
    trial.file("watch.py", WATCH);
    trial.file(
        "machine.py",
        """
        import sys, time
        from watch import *
        me, device, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
        while True:
            try:
                service = socket.create_server((me, port))
                break
            except OSError:
                time.sleep(0.02)
        watch(me)
        print('ready', flush=True)
        s, peer = service.accept()
        print('received', receive(s))
        send(s)
        s.close()
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        u.bind((me, port))
        hello, peer = u.recvfrom(10)
        u.setsockopt(17, 103, 1400)
        u.connect(peer)
        u.send(SEGMENTS)
        datagrams(u, 30)
        unsplit('cwr', device)
        unsplit('udp', device)
        """);
    trial.file(
        "device.py",
        """
        import sys, time
        from watch import *
        machine, port = sys.argv[1], int(sys.argv[2])
        while True:
            try:
                s = socket.create_connection((machine, port))
                break
            except OSError:
                time.sleep(0.05)
        watch(s.getsockname()[0])
        send(s)
        s.shutdown(socket.SHUT_WR)
        print('received', receive(s))
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        u.connect((machine, port))
        u.settimeout(10)
        while True:
            try:
                u.send(b'hello')
                datagrams(u, 30)
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        u.setsockopt(17, 103, 1400)
        u.send(SEGMENTS)
        unsplit('cwr', machine)
        unsplit('udp', machine)
        """);
    trial.file(
        "rules",
        """
        table ip congested {
          chain in {
            type filter hook input priority mangle;
            meta l4proto tcp ip ecn ect0 numgen inc mod 32 0 ip ecn set ce
          }
          chain out {
            type filter hook output priority mangle;
            meta l4proto tcp ip ecn ect0 numgen inc mod 32 0 ip ecn set ce
          }
        }
        """);
    String port = Integer.toString(trial.port());
    try (Running machine =
        trial
            .machine(Programs.PYTHON, "machine.py", trial.outside(), trial.inside(), port)
            .in(trial.directory())
            .start()) {
      Finished device =
          trial
              .shell(
                  "set -e; echo 1 >/proc/sys/net/ipv4/tcp_ecn; nft -f rules;"
                      + " ethtool -K eth0 tx-udp-segmentation on;"
                      + " exec %s device.py %s %s"
                          .formatted(Programs.PYTHON, trial.outside(), port))
              .in(trial.directory())
              .run(LIMIT)
              .expectSuccess();
      assertThat(device.output()).isEqualTo("received 32\ncwr above the MTU\nudp above the MTU\n");
      machine.awaitOutput(LIMIT, "udp");
      assertThat(machine.output())
          .isEqualTo("ready\nreceived 32\ncwr above the MTU\nudp above the MTU\n");
    }
  }

  /** Two programs of two commands meet on one device. */
  @Scenario(modes = {Mode.LIBRARY, Mode.HOST})
  void programsOfOneDeviceMeet(Trial trial) {
    Path socket = trial.directory().resolve("device.sock");
    trial.file("page", "from the neighbour\n");
    int port = trial.port();
    Command listening =
        trial.mode() == Mode.LIBRARY
            ? trial.outboard(
                "device", "--listen", "unix:" + socket, "--one-kernel", "--net", "none")
            : trial.outboard("device", "--listen", "unix:" + socket, "--kernel", "host");
    try (Running device = listening.start()) {
      Eventually.require(LIMIT, device::errors, () -> socket.toFile().exists());
      Place onDevice =
          words -> {
            String[] line = new String[words.length + 4];
            System.arraycopy(words, 0, line, 4, words.length);
            line[0] = "run";
            line[1] = "--device";
            line[2] = "unix:" + socket;
            line[3] = "--";
            return trial.outboard(line);
          };
      try (Running server = serve(trial, onDevice, "127.0.0.1", port)) {
        server.awaitOutput(LIMIT, "Serving");
        Finished done =
            onDevice
                .command("curl", "-sS", "http://127.0.0.1:%d/page".formatted(port))
                .run(LIMIT)
                .expectSuccess();
        assertThat(done.output()).isEqualTo("from the neighbour\n");
      }
    }
    assertThat(socket).doesNotExist();
  }
}
