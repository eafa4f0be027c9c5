// SPDX-License-Identifier: MIT
package dev.outboard.device;

import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * Makes the kernel forget files when an export's server holds too many for it: each file that the
 * kernel remembers costs the server a descriptor. {@link #ask} is for any thread.
 */
final class CacheRelief implements AutoCloseable {
  /** Forgetting takes the server a while; asking again meanwhile would be for nothing. */
  private static final long PAUSE_MILLIS = 50;

  private final Kernel kernel;
  private final Consumer<String> log;
  private final Semaphore asked = new Semaphore(0);
  private final Thread thread;
  private volatile boolean closed;

  CacheRelief(Kernel kernel, Consumer<String> log) {
    this.kernel = kernel;
    this.log = log;
    thread = Thread.ofPlatform().daemon(true).name("cache-relief").start(this::run);
  }

  /** Asks for it, and does not wait. */
  void ask() {
    if (asked.availablePermits() == 0) {
      asked.release();
    }
  }

  private void run() {
    try {
      while (true) {
        asked.acquire();
        if (closed) {
          return;
        }
        ExportSetup.dropCaches(kernel);
        TimeUnit.MILLISECONDS.sleep(PAUSE_MILLIS);
      }
    } catch (DeviceException e) {
      log.accept(String.valueOf(e.getMessage()));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() {
    closed = true;
    asked.release();
    Threads.join(thread);
  }
}
