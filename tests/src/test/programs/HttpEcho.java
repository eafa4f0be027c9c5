// SPDX-License-Identifier: MIT
import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Arrays;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** The JDK's HTTP server and client in one JVM: what is posted comes back; then both end. */
class HttpEcho {
  private static final int REQUESTS = 60;

  public static void main(String[] args) throws Exception {
    HttpServer server =
        HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 100);
    server.createContext(
        "/",
        exchange -> {
          byte[] body = exchange.getRequestBody().readAllBytes();
          exchange.sendResponseHeaders(200, body.length == 0 ? -1 : body.length);
          exchange.getResponseBody().write(body);
          exchange.close();
        });
    try (var handlers = Executors.newVirtualThreadPerTaskExecutor();
        var callers = Executors.newFixedThreadPool(16);
        HttpClient client =
            HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build()) {
      server.setExecutor(handlers);
      server.start();
      URI uri = URI.create("http://127.0.0.1:" + server.getAddress().getPort() + "/");
      Callable<Boolean>[] calls = new Callable[REQUESTS];
      for (int i = 0; i < REQUESTS; i++) {
        byte[] body = new byte[1 + i * 331];
        Arrays.fill(body, (byte) i);
        HttpRequest request =
            HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.ofByteArray(body)).build();
        calls[i] =
            () ->
                Arrays.equals(
                    client.send(request, HttpResponse.BodyHandlers.ofByteArray()).body(), body);
      }
      int right = 0;
      for (Future<Boolean> answer : callers.invokeAll(Arrays.asList(calls))) {
        right += answer.get() ? 1 : 0;
      }
      System.out.println(right + " of " + REQUESTS + " answers are right");
    } finally {
      server.stop(0);
    }
  }
}
