// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Socket;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.SlotLayout;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** What is kept of sends that found no room. */
class RestsTest {
  private static final int FD = 3;
  private static final int FLAGS = Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL;

  private final SpiedKernel kernel = new SpiedKernel();
  private final ByteArrayOutputStream sent = new ByteArrayOutputStream();
  private final List<Long> flags = new ArrayList<>();
  private final Session session;
  private final Handles.Handle handle;
  private @Nullable Runnable sender;

  RestsTest() {
    kernel.begin(new byte[0], 0);
    kernel.names = fd -> fd == FD;
    kernel.watcher =
        new SpiedKernel.Watcher() {
          @Override
          public void pushes(int fd, MemorySegment bytes, long sentFlags) {
            sent.writeBytes(bytes.toArray(ValueLayout.JAVA_BYTE));
            flags.add(sentFlags);
          }
        };
    DeviceServer server =
        new DeviceServer(
            kernel, new Limits(1, 1, 1, 8), "", false, List.of(), List.of(), line -> {}, false);
    session =
        new Session(
            server,
            new FrameStream(-1),
            1,
            why -> {},
            null,
            run -> {
              sender = run;
              return Thread.currentThread();
            });
    kernel.open(FD, SpiedKernel.Kind.ELSEWHERE);
    handle = Objects.requireNonNull(session.handles().add(FD));
  }

  private void keep(int flags, byte... bytes) {
    session.rests().begin(handle, MemorySegment.ofArray(bytes), flags);
  }

  private void run() {
    kernel.caller = SpiedKernel.Caller.SENDER;
    Objects.requireNonNull(sender).run();
  }

  @Test
  void singleBytesTakeFewPieces() {
    byte[] all = new byte[Rests.MAX_BYTES];
    for (int i = 0; i < all.length; i++) {
      all[i] = (byte) (i * 31 + (i >> 8));
      // As little as possible is alike.
      keep(i % 3 == 0 ? FLAGS | Socket.MSG_MORE : FLAGS, all[i]);
    }
    Rests.Rest rest = Objects.requireNonNull(handle.rest);
    assertThat(rest.pieces()).isEqualTo(Rests.MAX_BYTES / SlotLayout.AHEAD_BYTES);
    keep(FLAGS, (byte) 1);
    run();
    assertThat(sent.toByteArray()).isEqualTo(all);
    assertThat(handle.rest).isNull();
  }

  @Test
  void noSizesTakeMoreThanTheBound() {
    byte[] half = new byte[SlotLayout.AHEAD_BYTES / 2 + 1];
    byte[] one = new byte[1];
    for (int i = 0; i < Rests.MAX_BYTES; i++) {
      keep(FLAGS, i % 2 == 0 ? half : one);
    }
    assertThat(Objects.requireNonNull(handle.rest).pieces()).isBetween(2, Rests.MAX_PIECES);
  }

  @Test
  void whatIsToLeaveAtOnceIsNotHeldBack() {
    keep(FLAGS | Socket.MSG_MORE, (byte) 1);
    keep(FLAGS | Socket.MSG_MORE, (byte) 2);
    run();
    keep(FLAGS, (byte) 3);
    keep(FLAGS | Socket.MSG_MORE, (byte) 4);
    run();
    keep(FLAGS | Socket.MSG_MORE, (byte) 5);
    keep(FLAGS, (byte) 6);
    run();
    assertThat(sent.toByteArray()).containsExactly(1, 2, 3, 4, 5, 6);
    assertThat(flags).containsExactly((long) FLAGS | Socket.MSG_MORE, (long) FLAGS, (long) FLAGS);
  }
}
