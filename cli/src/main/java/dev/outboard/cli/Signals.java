// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Signals to this process, one after the other, instead of what they do by default.
 *
 * <p>The JVM has all signals, and shutdown hooks cannot tell a second one. What it has for this is
 * {@code sun.misc.Signal}, of the documented module {@code jdk.unsupported}; by reflection, as
 * javac warns of it without an exception.
 */
final class Signals {
  private static final int MOST = 16;

  private final BlockingQueue<String> arrived = new LinkedBlockingQueue<>();

  private Signals() {}

  /** Takes these from here on: {@code TERM}, {@code HUP}. */
  static Signals take(String... names) {
    Signals signals = new Signals();
    try {
      Class<?> signal = Class.forName("sun.misc.Signal");
      Class<?> handler = Class.forName("sun.misc.SignalHandler");
      Object proxy =
          Proxy.newProxyInstance(
              Signals.class.getClassLoader(), new Class<?>[] {handler}, signals::called);
      for (String name : names) {
        signal
            .getMethod("handle", signal, handler)
            .invoke(null, signal.getConstructor(String.class).newInstance(name), proxy);
      }
    } catch (ReflectiveOperationException e) {
      throw new Failure("this JVM does not hand over signals: " + e);
    }
    return signals;
  }

  /** What the JVM calls on the handler: {@code handle}, and Object's methods. */
  private @Nullable Object called(Object self, Method method, Object @Nullable [] arguments) {
    if (arguments == null) {
      return method.getReturnType() == int.class ? 0 : (Object) "signals";
    }
    if (method.getReturnType() == boolean.class) {
      return Objects.equals(self.toString(), String.valueOf(arguments[0]));
    }
    if (arrived.size() < MOST) { // more say nothing new
      arrived.add(name(arguments[0]));
    }
    return null;
  }

  private static String name(Object signal) {
    return signal.toString().replaceFirst("^SIG", "");
  }

  /** The next one; null if none comes within so many milliseconds. */
  @Nullable String await(long millis) {
    try {
      return arrived.poll(millis, TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return "TERM";
    }
  }
}
