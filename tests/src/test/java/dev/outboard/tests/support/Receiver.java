// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * A server of this machine, on all of its addresses, that takes one connection and keeps in a file
 * what comes by it. Used by the test's thread.
 */
public final class Receiver implements AutoCloseable {
  private final ServerSocket server;
  private final CompletableFuture<String> received;

  /**
   * Listens from now on.
   *
   * @param copy where what comes is put; must not be there
   */
  public Receiver(Path copy) throws IOException {
    server = new ServerSocket(0);
    received =
        CompletableFuture.supplyAsync(() -> {
          try (Socket s = server.accept()) {
            Files.copy(s.getInputStream(), copy);
            return TestFiles.checksum(copy);
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  /** The port that it listens on. */
  public int port() {
    return server.getLocalPort();
  }

  /** Waits for the connection's end, and gives {@link TestFiles#checksum} of what came. */
  public String checksum(Duration limit) throws Exception {
    return received.get(limit.toSeconds(), TimeUnit.SECONDS);
  }

  /** Ends the wait for a connection that has not come. */
  @Override
  public void close() throws IOException {
    server.close();
  }
}
