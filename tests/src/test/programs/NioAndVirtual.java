// SPDX-License-Identifier: MIT
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousServerSocketChannel;
import java.nio.channels.AsynchronousSocketChannel;
import java.nio.channels.DatagramChannel;
import java.nio.channels.FileChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Selectors, channels of each kind, and virtual threads that block in plain sockets. */
class NioAndVirtual {
  private static final InetSocketAddress ANY = new InetSocketAddress("127.0.0.1", 0);
  private static final int SELECTED = 20;
  private static final int VIRTUAL = 300;

  public static void main(String[] args) throws Exception {
    selector();
    virtualThreads();
    interrupted();
    files();
    asynchronous();
    datagrams();
    System.out.println(
        NetworkInterface.networkInterfaces().filter(i -> i.getName().equals("lo")).toList());
  }

  private static long count(Callable<Boolean> client, int clients) throws Exception {
    try (ExecutorService pool = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<Boolean>> results = new ArrayList<>();
      for (int i = 0; i < clients; i++) {
        results.add(pool.submit(client));
      }
      int right = 0;
      for (Future<Boolean> result : results) {
        right += result.get() ? 1 : 0;
      }
      return right;
    }
  }

  private static void selector() throws Exception {
    try (Selector selector = Selector.open();
        ServerSocketChannel listener = ServerSocketChannel.open().bind(ANY)) {
      listener.configureBlocking(false);
      listener.register(selector, SelectionKey.OP_ACCEPT);
      InetSocketAddress address = (InetSocketAddress) listener.getLocalAddress();
      Thread server =
          Thread.ofPlatform()
              .start(() -> {
                int[] closed = new int[1];
                try {
                  while (closed[0] < SELECTED) {
                    selector.select(key -> closed[0] += echo(selector, key) ? 1 : 0);
                  }
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                }
              });
      long right =
          count(
              () -> {
                byte[] sent = new byte[100_000];
                Arrays.fill(sent, (byte) Thread.currentThread().threadId());
                try (Socket s = new Socket(address.getAddress(), address.getPort())) {
                  Thread writer = Thread.startVirtualThread(() -> write(s, sent));
                  byte[] got = s.getInputStream().readNBytes(sent.length);
                  writer.join();
                  return Arrays.equals(sent, got);
                }
              },
              SELECTED);
      server.join();
      System.out.println("echoed by a selector: " + right);
    }
  }

  private static void write(Socket socket, byte[] bytes) {
    try {
      socket.getOutputStream().write(bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Serves one ready channel; true if that was its end. */
  private static boolean echo(Selector selector, SelectionKey key) {
    try {
      if (key.isAcceptable()) {
        SocketChannel accepted = ((ServerSocketChannel) key.channel()).accept();
        accepted.configureBlocking(false);
        accepted.register(selector, SelectionKey.OP_READ, new ArrayDeque<ByteBuffer>());
        return false;
      }
      SocketChannel channel = (SocketChannel) key.channel();
      @SuppressWarnings("unchecked")
      ArrayDeque<ByteBuffer> waiting = (ArrayDeque<ByteBuffer>) key.attachment();
      if (key.isReadable()) {
        ByteBuffer buffer = ByteBuffer.allocate(65536);
        if (channel.read(buffer) < 0) {
          channel.close();
          return true;
        }
        waiting.add(buffer.flip());
      }
      while (!waiting.isEmpty()) {
        channel.write(waiting.peek());
        if (waiting.peek().hasRemaining()) {
          break;
        }
        waiting.poll();
      }
      key.interestOps(SelectionKey.OP_READ | (waiting.isEmpty() ? 0 : SelectionKey.OP_WRITE));
      return false;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void virtualThreads() throws Exception {
    try (ServerSocket listener = new ServerSocket(0, VIRTUAL, InetAddress.getLoopbackAddress());
        ExecutorService pool = Executors.newVirtualThreadPerTaskExecutor()) {
      pool.submit(() -> {
        for (int i = 0; i < VIRTUAL; i++) {
          Socket accepted = listener.accept();
          pool.submit(() -> {
            try (accepted) {
              return accepted.getInputStream().transferTo(accepted.getOutputStream());
            }
          });
        }
        return VIRTUAL;
      });
      long right =
          count(
              () -> {
                try (Socket s = new Socket(listener.getInetAddress(), listener.getLocalPort())) {
                  for (int i = 0; i < 5; i++) {
                    s.getOutputStream().write(new byte[1000]);
                    if (s.getInputStream().readNBytes(1000).length != 1000) {
                      return false;
                    }
                  }
                  s.shutdownOutput();
                  return s.getInputStream().read() == -1;
                }
              },
              VIRTUAL);
      System.out.println("virtual threads: " + right);
    }
  }

  private static void interrupted() throws Exception {
    try (ServerSocket listener = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
      Thread waiting =
          Thread.startVirtualThread(() -> {
            try {
              listener.accept();
            } catch (IOException e) {
              System.out.println("interrupted: " + e.getClass().getSimpleName());
            }
          });
      Thread.sleep(200);
      waiting.interrupt();
      waiting.join();
    }
    try (ServerSocket listener = new ServerSocket(0, 5, InetAddress.getLoopbackAddress());
        Socket s = new Socket(listener.getInetAddress(), listener.getLocalPort())) {
      s.setSoTimeout(100);
      s.getInputStream().read();
    } catch (SocketTimeoutException e) {
      System.out.println("timed out");
    }
  }

  private static void files() throws Exception {
    Path file = Files.write(Path.of("sent"), new byte[3_000_000]);
    try (ServerSocketChannel listener = ServerSocketChannel.open().bind(ANY);
        FileChannel in = FileChannel.open(file);
        FileChannel out =
            FileChannel.open(
                Path.of("received"), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      Thread sender =
          Thread.startVirtualThread(() -> {
            try (SocketChannel channel = SocketChannel.open(listener.getLocalAddress())) {
              for (long sent = 0; sent < in.size(); ) {
                sent += in.transferTo(sent, in.size() - sent, channel);
              }
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
      try (SocketChannel channel = listener.accept()) {
        long all = 0;
        for (long n; (n = out.transferFrom(channel, all, 1 << 20)) > 0; ) {
          all += n;
        }
        System.out.println("transferred: " + all);
      }
      sender.join();
    }
  }

  private static String text(ByteBuffer buffer) {
    return new String(buffer.array(), 0, buffer.position(), StandardCharsets.US_ASCII);
  }

  private static void asynchronous() throws Exception {
    try (AsynchronousServerSocketChannel listener =
            AsynchronousServerSocketChannel.open().bind(ANY);
        AsynchronousSocketChannel client = AsynchronousSocketChannel.open()) {
      Future<AsynchronousSocketChannel> accepted = listener.accept();
      client.connect(listener.getLocalAddress()).get();
      try (AsynchronousSocketChannel server = accepted.get()) {
        ByteBuffer buffer = ByteBuffer.allocate(100);
        Future<Integer> read = server.read(buffer);
        client.write(ByteBuffer.wrap("asynchronous".getBytes(StandardCharsets.US_ASCII))).get();
        read.get();
        System.out.println("received: " + text(buffer));
      }
    }
  }

  private static void datagrams() throws Exception {
    try (DatagramChannel receiver = DatagramChannel.open().bind(ANY);
        DatagramSocket sender = new DatagramSocket()) {
      byte[] sent = "a datagram".getBytes(StandardCharsets.US_ASCII);
      sender.send(new DatagramPacket(sent, sent.length, receiver.getLocalAddress()));
      ByteBuffer buffer = ByteBuffer.allocate(100);
      receiver.receive(buffer);
      System.out.println("received: " + text(buffer));
    }
  }
}
