// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.abi.Fcntl;
import dev.outboard.channel.ConnectionTaker;
import dev.outboard.channel.FrameCodec;
import dev.outboard.channel.SessionFate;
import dev.outboard.posix.Linux;
import java.io.IOException;
import java.time.Duration;
import java.util.function.BiConsumer;

/** A session of a {@link TcpDevice} that is carried in this process, as by one of its kernels. */
final class CarriedDevice implements ConnectionTaker {
  private final CarriedSession session;
  private final SessionFate fate;
  private final BiConsumer<DeviceRelay, Integer> serves;
  private boolean begun;

  /**
   * @param serves begins to serve what the relay carries, over the other end of its link
   */
  CarriedDevice(Duration patience, SessionFate fate, BiConsumer<DeviceRelay, Integer> serves) {
    this.session = new CarriedSession(patience, fate::says);
    this.fate = fate;
    this.serves = serves;
  }

  /** One whose calls are sums. */
  static CarriedDevice ofSums(Duration patience, SessionFate fate) {
    return new CarriedDevice(
        patience, fate, (relay, fd) -> new RelayTest.Device(fd, FrameCodec.HIGHEST_VERSION, relay));
  }

  @Override
  public synchronized boolean connect(int fd, String ownKey, String hostKey) {
    session.connect((int) Linux.fcntl(fd, Fcntl.F_DUPFD_CLOEXEC, 0), ownKey, hostKey);
    if (!begun) {
      begun = true;
      Thread.ofPlatform().daemon().name("carrier").start(this::carry);
    }
    return true;
  }

  private void carry() {
    String why;
    try {
      int[] link = RelayTest.pair();
      Wire wire = session.begin();
      DeviceRelay relay = new DeviceRelay(wire, link[1]);
      serves.accept(relay, link[0]);
      why = relay.serve();
    } catch (IOException e) {
      why = String.valueOf(e.getMessage());
    }
    session.close();
    fate.ended(why);
  }

  @Override
  public void end() {
    session.close();
  }
}
