// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Socket;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameStream;
import dev.outboard.posix.Linux;
import java.lang.reflect.Proxy;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.Test;

/** How long the other end may say nothing: at first, and later on. */
class HeartbeatTest {
  private static final Duration EVERY = Duration.ofMillis(10);
  private static final Duration PATIENCE = Duration.ofMillis(50);
  private static final Duration NEVER = Duration.ofDays(1);

  @Test
  void aDeviceThatIsBeingStartedMayTakeLongerThanOneThatRuns() throws Exception {
    int[] ends = RelayTest.pair();
    try (FrameStream far = new FrameStream(ends[1])) {
      Wire wire = DescriptorWire.of(ends[0], ends[0]);
      WireFrames frames = new WireFrames(wire);
      CompletableFuture<String> end = new CompletableFuture<>();
      try (Heartbeat heartbeat = new Heartbeat(wire, frames, EVERY, PATIENCE, NEVER)) {
        Thread reader =
            Thread.ofPlatform()
                .daemon()
                .start(() -> end.complete(heartbeat.reason(frames.serve(ignoring()))));
        assertThat(ends(end, PATIENCE.multipliedBy(10))).isFalse();
        far.send(new Frame.Ping(Heartbeat.ID));
        assertThat(end.get(1, TimeUnit.MINUTES)).contains("silent");
        reader.join();
      } finally {
        Linux.shutdown(ends[0], Socket.SHUT_RDWR);
        wire.close();
      }
    }
  }

  private static boolean ends(CompletableFuture<String> end, Duration within)
      throws InterruptedException, ExecutionException {
    try {
      end.get(within.toMillis(), TimeUnit.MILLISECONDS);
      return true;
    } catch (TimeoutException e) {
      return false;
    }
  }

  private static WireFrames.Receiver ignoring() {
    return (WireFrames.Receiver)
        Proxy.newProxyInstance(
            WireFrames.class.getClassLoader(),
            new Class<?>[] {WireFrames.Receiver.class},
            (proxy, method, arguments) -> null);
  }
}
