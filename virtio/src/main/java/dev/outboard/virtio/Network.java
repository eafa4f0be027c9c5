// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import dev.outboard.abi.Errno;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The network of a device: a backend on the machine, the card that the library kernel sees, and the
 * published ports. How it is wired:
 *
 * <pre>{@code
 * NetSpec spec = NetSpec.parse("tap:name=ob0,addr=10.77.0.2/24");
 * Network network = Network.open(spec, ports);         // the TAP is there, or passt runs
 * LinuxKernel kernel = LinuxKernel.boot(...);
 * network.attach(guestKernel, line, notices);          // the kernel has its card (eth0)
 * network.config().ifPresent(this::configure);         // address, MTU, default route, link up
 * ...
 * network.detach();                                    // no thread touches the kernel any more
 * kernel.close();
 * network.close();                                     // TAP, passt and ports are gone
 * }</pre>
 *
 * <p>{@code guestKernel} is a {@link GuestKernel} over the kernel's binding. The thread that
 * attaches must be able to make system calls of the kernel; the device's own threads only raise the
 * line. {@link #open}, {@link #attach}, {@link #detach} and {@link #close} are for one thread at a
 * time.
 */
public final class Network implements AutoCloseable {
  private final @Nullable NetBackend backend;
  private final @Nullable Publisher publisher;
  private @Nullable NetDevice device;

  private Network(@Nullable NetBackend backend, @Nullable Publisher publisher) {
    this.backend = backend;
    this.publisher = publisher;
  }

  /** Whether {@code passt} is installed, so that a network can be had without privileges. */
  public static boolean passtInstalled() {
    return PasstBackend.find() != null;
  }

  /**
   * Makes the machine's side of the network and opens the published ports.
   *
   * @throws NetException if it cannot be had; nothing is left behind then
   */
  public static Network open(NetSpec spec, List<PortMapping> publish) throws NetException {
    return switch (spec) {
      case NetSpec.None none -> {
        if (!publish.isEmpty()) {
          throw new NetException(
              "--publish needs a network; use --net passt or --net tap:... instead of " + none);
        }
        yield new Network(null, null);
      }
      case NetSpec.Passt passt ->
          new Network(PasstBackend.open(passt, publish, Resolver.ofMachine()), null);
      case NetSpec.Link link -> {
        if (link.via() != NetSpec.Via.TAP && !publish.isEmpty()) {
          throw new NetException(
              "--publish is for --net tap:... and passt; with "
                  + link.via()
                  + " the device is reached at its own address");
        }
        NetBackend backend = open(link, Resolver.ofMachine());
        try {
          yield new Network(backend, Publisher.start(publish, link.address().address()));
        } catch (NetException e) {
          backend.close();
          throw e;
        }
      }
    };
  }

  private static NetBackend open(NetSpec.Link link, Resolver resolver) throws NetException {
    return switch (link.via()) {
      case TAP -> TapBackend.open(link, resolver);
      case MACVTAP -> TapBackend.openMacvtap(link, resolver);
      case PACKET -> PacketBackend.open(link, resolver);
      case XDP -> XdpBackend.open(link, resolver);
    };
  }

  /** Whether it has nothing of this machine that is to be given back. */
  public boolean isPlain() {
    return backend == null || backend instanceof PasstBackend;
  }

  /** What the device's kernel is to be configured with; empty without a card. */
  public Optional<NetworkConfig> config() {
    return backend == null ? Optional.empty() : Optional.of(backend.config());
  }

  /**
   * Gives the kernel its network card; without one there is nothing to do.
   *
   * @param line an interrupt line that is the card's alone
   * @param notices takes a sentence if the card fails later; called by the card's threads
   * @throws NetException if the kernel does not take it
   */
  public void attach(GuestKernel kernel, int line, Consumer<String> notices) throws NetException {
    if (backend == null) {
      return;
    }
    if (device != null) {
      throw new IllegalStateException("attached already");
    }
    NetDevice card = new NetDevice(kernel, backend, line, notices);
    device = card;
    card.start();
    long r = kernel.registerVirtioDevice(card.pageAddress());
    if (r < 0) {
      throw new NetException("the kernel does not take the network card: " + Errno.name((int) -r));
    }
  }

  /** What the card did so far; empty before {@link #attach} and without a card. Any thread. */
  public Optional<NetCounts> counts() {
    return device == null ? Optional.empty() : Optional.of(device.counts());
  }

  /**
   * Lets the calling thread, which makes system calls of the kernel, send what they hand to the
   * card itself. After {@link #attach}.
   *
   * @return null without a card
   */
  public @Nullable KeptKicks keepKicks() {
    return device == null ? null : device.keepKicks();
  }

  /** Ends all threads that could touch the kernel: to be called before the kernel is halted. */
  public void detach() {
    if (device != null) {
      device.stop();
    }
  }

  /** Removes the network from the machine; after {@link #detach}. */
  public void unplug() {
    if (publisher != null) {
      publisher.close();
    }
    if (backend != null) {
      backend.close();
    }
  }

  /** Removes all; the kernel, if one was attached, has been halted before. */
  @Override
  public void close() {
    if (device != null) {
      device.close();
    }
    unplug();
  }
}
