// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.Frame;
import dev.outboard.channel.LinkException;
import dev.outboard.channel.LinkListener;
import dev.outboard.channel.LinkOptions;
import dev.outboard.posix.SocketPair;
import dev.outboard.relay.DescriptorWire;
import dev.outboard.relay.DeviceRelay;
import dev.outboard.relay.HostRelay;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** A device server in this JVM, and links to it over socket pairs. */
final class TestDevice implements AutoCloseable {
  final DeviceServer server;
  final List<String> log = new ArrayList<>();

  TestDevice(Kernel kernel, Limits limits) {
    server =
        new DeviceServer(
            kernel,
            limits,
            "nameserver 192.0.2.1\n",
            true,
            List.of(),
            List.of("a notice"),
            line -> {
              synchronized (log) {
                log.add(line);
              }
            },
            false);
  }

  /** Two connected stream sockets. */
  static int[] socketPair() {
    SocketPair pair = SocketPair.open();
    if (pair.error() < 0) {
      throw new IllegalStateException("socketpair: " + pair.error());
    }
    return new int[] {pair.one(), pair.other()};
  }

  /** A raw link: the descriptor of its host end. */
  int rawLink() {
    int[] pair = socketPair();
    try {
      server.serve(pair[1], null);
    } catch (DeviceException e) {
      throw new IllegalStateException(e);
    }
    return pair[0];
  }

  DeviceLink link(LinkListener listener, int slots) throws LinkException {
    return DeviceLink.overDescriptor(
        rawLink(),
        listener,
        new LinkOptions("test", slots, Duration.ofSeconds(10), Duration.ofSeconds(10)));
  }

  /** A link that a relay carries at each end. */
  DeviceLink carriedLink(LinkListener listener, int slots) throws IOException, LinkException {
    int[] wire = socketPair();
    int[] session = socketPair();
    DeviceRelay carrier = new DeviceRelay(DescriptorWire.of(wire[1], wire[1]), session[1]);
    try {
      server.serve(session[0], carrier);
    } catch (DeviceException e) {
      throw new IllegalStateException(e);
    }
    Thread.ofPlatform().daemon().name("carrier").start(carrier::serve);
    HostRelay host = HostRelay.start(DescriptorWire.of(wire[0], wire[0]));
    return DeviceLink.overDescriptor(
        host.linkFd(),
        listener,
        new LinkOptions("test", slots, Duration.ofSeconds(10), Duration.ofSeconds(10)),
        host);
  }

  @Override
  public void close() {
    server.close();
  }

  /** Keeps what it hears. */
  static final class Ear implements LinkListener {
    final BlockingQueue<Frame.Sample> samples = new LinkedBlockingQueue<>();
    final BlockingQueue<String> losses = new LinkedBlockingQueue<>();
    final BlockingQueue<String> notices = new LinkedBlockingQueue<>();

    @Override
    public void ready(int handle, int pollMask, long stamp) {
      samples.add(new Frame.Sample(handle, pollMask, stamp));
    }

    @Override
    public void lost(String why) {
      losses.add(why);
    }

    @Override
    public void notice(String line) {
      notices.add(line);
    }

    /** The next sample, or null after a time. */
    Frame.Sample sample(long millis) throws InterruptedException {
      return samples.poll(millis, TimeUnit.MILLISECONDS);
    }
  }
}
