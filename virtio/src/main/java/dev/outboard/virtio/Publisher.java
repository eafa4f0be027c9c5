// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import java.io.IOException;
import java.net.BindException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Semaphore;

/**
 * Published ports of a device that is reached over a TAP: what comes to a port of the machine is
 * relayed to a port of the device, as docker's proxy does it. The device sees the machine's end of
 * the TAP as the peer.
 *
 * <p>One virtual thread per port and two per connection. Connections are bounded: at the bound no
 * more are accepted, and the kernel's backlog holds what comes. Closing one half is passed on, and
 * so is a reset.
 */
final class Publisher implements AutoCloseable {
  static final int MAX_CONNECTIONS = 1024;
  static final int MAX_FLOWS = 1024;
  private static final int BUFFER_BYTES = 64 << 10;
  private static final int FLOW_IDLE_MILLIS = 60_000;
  private static final int CONNECT_BACKLOG = 1024;

  private final InetAddress device;
  private final List<AutoCloseable> listeners = new ArrayList<>();
  private final List<Thread> listening = new ArrayList<>();
  private final Set<AutoCloseable> connections = ConcurrentHashMap.newKeySet();
  private final Semaphore permits = new Semaphore(MAX_CONNECTIONS);
  private volatile boolean closed;

  private Publisher(InetAddress device) {
    this.device = device;
  }

  /**
   * Opens the ports.
   *
   * @param device the device's address
   * @throws NetException if one cannot be had; none is open then
   */
  static Publisher start(List<PortMapping> mappings, InetAddress device) throws NetException {
    Publisher publisher = new Publisher(device);
    for (PortMapping mapping : mappings) {
      try {
        if (mapping.udp()) {
          publisher.openUdp(mapping);
        } else {
          publisher.openTcp(mapping);
        }
      } catch (IOException e) {
        publisher.close();
        String why =
            e instanceof BindException && mapping.outerPort() < 1024
                ? e.getMessage() + "; a port below 1024 needs root"
                : e.getMessage();
        throw new NetException("cannot publish " + mapping + ": " + why);
      }
    }
    return publisher;
  }

  private static InetSocketAddress outer(PortMapping mapping) {
    InetAddress address = mapping.address();
    return address == null
        ? new InetSocketAddress(mapping.outerPort())
        : new InetSocketAddress(address, mapping.outerPort());
  }

  // --- TCP ---

  private void openTcp(PortMapping mapping) throws IOException {
    ServerSocketChannel listener = ServerSocketChannel.open();
    listeners.add(listener);
    listener.setOption(StandardSocketOptions.SO_REUSEADDR, true);
    listener.bind(outer(mapping), CONNECT_BACKLOG);
    listening.add(
        Thread.ofVirtual()
            .name("publish " + mapping)
            .start(() -> accept(listener, mapping.devicePort())));
  }

  private void accept(ServerSocketChannel listener, int port) {
    while (!closed) {
      permits.acquireUninterruptibly();
      try {
        SocketChannel outside = listener.accept();
        Thread.ofVirtual().name("publish connection").start(() -> relay(outside, port));
      } catch (IOException e) {
        permits.release();
        if (!listener.isOpen()) {
          return;
        }
        // Out of descriptors, or a connection that went at once: the next may succeed.
        pause();
      }
    }
  }

  private static void pause() {
    try {
      Thread.sleep(10);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void relay(SocketChannel outside, int port) {
    connections.add(outside);
    try (SocketChannel inside = SocketChannel.open()) {
      connections.add(inside);
      try {
        if (!closed) {
          inside.connect(new InetSocketAddress(device, port));
          outside.setOption(StandardSocketOptions.TCP_NODELAY, true);
          inside.setOption(StandardSocketOptions.TCP_NODELAY, true);
          Thread back =
              Thread.ofVirtual().name("publish answer").start(() -> pump(inside, outside));
          pump(outside, inside);
          back.join();
        }
      } finally {
        connections.remove(inside);
      }
      outside.close();
    } catch (IOException e) {
      // Nobody listens on the device: the peer sees its connection broken, not complete.
      reset(outside);
    } catch (InterruptedException e) {
      reset(outside);
      Thread.currentThread().interrupt();
    } finally {
      connections.remove(outside);
      permits.release();
    }
  }

  private static void pump(SocketChannel from, SocketChannel to) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
    try {
      while (from.read(buffer) >= 0) {
        buffer.flip();
        while (buffer.hasRemaining()) {
          to.write(buffer);
        }
        buffer.clear();
      }
      to.shutdownOutput();
    } catch (IOException e) {
      reset(from);
      reset(to);
    }
  }

  /** Ends a connection as a broken one, so that its peer does not take it for a complete one. */
  private static void reset(SocketChannel channel) {
    try (channel) {
      channel.setOption(StandardSocketOptions.SO_LINGER, 0);
    } catch (IOException e) {
      // It is closed already.
      return;
    }
  }

  // --- UDP ---

  private void openUdp(PortMapping mapping) throws IOException {
    DatagramSocket outer = new DatagramSocket(null);
    listeners.add(outer);
    outer.bind(outer(mapping));
    listening.add(
        Thread.ofVirtual()
            .name("publish " + mapping)
            .start(() -> receiveDatagrams(outer, mapping.devicePort())));
  }

  private void receiveDatagrams(DatagramSocket outer, int port) {
    // The flow that was quiet for longest goes when there are too many.
    Map<SocketAddress, DatagramSocket> flows =
        new LinkedHashMap<>(16, 0.75f, true) {
          private static final long serialVersionUID = 1L;

          @Override
          protected boolean removeEldestEntry(Map.Entry<SocketAddress, DatagramSocket> eldest) {
            if (size() <= MAX_FLOWS) {
              return false;
            }
            eldest.getValue().close();
            return true;
          }
        };
    DatagramPacket packet = new DatagramPacket(new byte[BUFFER_BYTES], BUFFER_BYTES);
    while (!closed) {
      try {
        packet.setLength(BUFFER_BYTES);
        outer.receive(packet);
        SocketAddress client = packet.getSocketAddress();
        DatagramSocket flow = flows.get(client);
        if (flow == null || flow.isClosed()) {
          flow = openFlow(outer, client, port);
          flows.put(client, flow);
        }
        flow.send(new DatagramPacket(packet.getData(), packet.getLength()));
      } catch (IOException e) {
        if (outer.isClosed()) {
          return;
        }
        // A datagram may be lost: nobody listens on the device, or no descriptor is left.
      }
    }
  }

  private DatagramSocket openFlow(DatagramSocket outer, SocketAddress client, int port)
      throws SocketException {
    DatagramSocket flow = new DatagramSocket();
    try {
      flow.connect(new InetSocketAddress(device, port));
      flow.setSoTimeout(FLOW_IDLE_MILLIS);
    } catch (SocketException e) {
      flow.close();
      throw e;
    }
    connections.add(flow);
    Thread.ofVirtual().name("publish flow").start(() -> answerDatagrams(flow, outer, client));
    return flow;
  }

  private void answerDatagrams(DatagramSocket flow, DatagramSocket outer, SocketAddress client) {
    DatagramPacket packet = new DatagramPacket(new byte[BUFFER_BYTES], BUFFER_BYTES);
    try (flow) {
      while (!closed) {
        packet.setLength(BUFFER_BYTES);
        flow.receive(packet);
        outer.send(new DatagramPacket(packet.getData(), packet.getLength(), client));
      }
    } catch (SocketTimeoutException e) {
      // Quiet for a minute; the client's next datagram opens a new flow.
    } catch (IOException e) {
      // Refused by the device, or closed.
    } finally {
      connections.remove(flow);
    }
  }

  @Override
  public void close() {
    closed = true;
    listeners.forEach(Publisher::quietly);
    connections.forEach(Publisher::quietly);
    // A channel is closed by the virtual thread that is in a call on it: only then is the port
    // free.
    for (Thread thread : listening) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  private static void quietly(AutoCloseable c) {
    try {
      c.close();
    } catch (Exception e) {
      // Closing is all that was wanted.
      return;
    }
  }
}
