// SPDX-License-Identifier: MIT

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Arrays;
import java.util.Hashtable;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import javax.naming.directory.InitialDirContext;

/** What Java finds of the names of zone.py: by the C library, and by JNDI's own resolver. */
class Names {
  private static String addresses(String name) {
    try {
      return Arrays.stream(InetAddress.getAllByName(name)).map(InetAddress::getHostAddress).toList()
          + "";
    } catch (UnknownHostException e) {
      return e.getMessage();
    }
  }

  public static void main(String[] args) throws Exception {
    List<String> names =
        List.of(
            "host.zone.example",
            "alias",
            "v4",
            "v6",
            "only",
            "deep.host",
            "none.zone.example",
            "many.zone.example",
            "failing.zone.example",
            "lost.zone.example",
            "broken.zone.example",
            "entry.example",
            "localhost");
    for (String name : names) {
      System.out.println(name + " " + addresses(name));
    }
    InetAddress of = InetAddress.getByAddress(new byte[] {(byte) 192, 0, 2, 10});
    System.out.println("192.0.2.10 is " + of.getCanonicalHostName());
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Callable<String>> tasks =
          IntStream.range(0, 200)
              .mapToObj(i -> (Callable<String>) () -> addresses(i % 2 == 0 ? "alias" : "v4"))
              .toList();
      TreeSet<String> found = new TreeSet<>();
      for (Future<String> f : threads.invokeAll(tasks)) {
        found.add(f.get());
      }
      System.out.println("at once " + found);
    }
    Hashtable<String, String> environment = new Hashtable<>();
    environment.put("java.naming.factory.initial", "com.sun.jndi.dns.DnsContextFactory");
    InitialDirContext context = new InitialDirContext(environment);
    for (String name : List.of("host.zone.example", "many.zone.example", "failing.zone.example")) {
      System.out.println(
          name + " " + context.getAttributes(name, new String[] {"A"}).get("A").size() + " A");
    }
    System.out.println(context.getAttributes("host.zone.example", new String[] {"MX"}));
  }
}
