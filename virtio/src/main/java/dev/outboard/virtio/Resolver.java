// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import java.io.IOException;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The name servers of the device's machine, as {@code resolv.conf(5)} gives them, turned into ones
 * that can be reached from another kernel: a stub on 127.0.0.53 cannot.
 *
 * @param nameservers without loopback addresses; may be empty
 * @param searchDomains of the last {@code search} or {@code domain} line
 * @param options of all {@code options} lines, in their order
 * @param loopback the stub that was left out because nothing better was found, or empty
 * @param notices what the user should know
 */
public record Resolver(
    List<InetAddress> nameservers,
    List<String> searchDomains,
    List<String> options,
    List<InetAddress> loopback,
    List<String> notices) {
  /** How many name servers a C library asks: MAXNS of resolv.conf(5). */
  public static final int MAX_SERVERS = 3;

  private static final long MAX_BYTES = 64 << 10;

  public Resolver {
    nameservers = List.copyOf(nameservers);
    searchDomains = List.copyOf(searchDomains);
    options = List.copyOf(options);
    loopback = List.copyOf(loopback);
    notices = List.copyOf(notices);
  }

  /** Of this machine. */
  public static Resolver ofMachine() {
    return of(Path.of("/etc/resolv.conf"), Path.of("/run/systemd/resolve/resolv.conf"));
  }

  /**
   * @param file the machine's
   * @param upstream where systemd-resolved writes the servers behind its stub, as docker uses it
   */
  static Resolver of(Path file, Path upstream) {
    Parsed first = parse(file);
    if (!first.usable.isEmpty() || first.loopback.isEmpty()) {
      return new Resolver(first.usable, first.search, first.options, List.of(), List.of());
    }
    String stub = first.loopback.getFirst().getHostAddress();
    Parsed second = parse(upstream);
    if (second.usable.isEmpty()) {
      return new Resolver(List.of(), first.search, first.options, first.loopback, List.of());
    }
    return new Resolver(
        second.usable,
        first.search,
        first.options,
        List.of(),
        List.of(
            "the name server "
                + stub
                + " of this machine is on its loopback; the device uses "
                + second.usable.getFirst().getHostAddress()
                + " of "
                + upstream
                + " instead"));
  }

  private record Parsed(
      List<InetAddress> usable,
      List<InetAddress> loopback,
      List<String> search,
      List<String> options) {}

  private static Parsed parse(Path file) {
    List<InetAddress> usable = new ArrayList<>();
    List<InetAddress> loopback = new ArrayList<>();
    List<String> search = new ArrayList<>();
    List<String> options = new ArrayList<>();
    List<String> lines;
    try {
      lines =
          Files.size(file) > MAX_BYTES
              ? List.of()
              : new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1).lines().toList();
    } catch (IOException e) {
      // No file is a machine without name servers, as for the C library.
      lines = List.of();
    }
    for (String line : lines) {
      String[] words = line.strip().split("\\s+", -1);
      if (words.length < 2) {
        continue;
      }
      switch (words[0]) {
        case "nameserver" -> {
          try {
            InetAddress a = InterfaceAddress.parseAddress("nameserver", words[1]);
            List<InetAddress> list = a.isLoopbackAddress() ? loopback : usable;
            if (list.size() < MAX_SERVERS && !a.isLinkLocalAddress()) {
              list.add(a);
            }
          } catch (IllegalArgumentException e) {
            // The C library skips what it cannot read, and so do we.
            continue;
          }
        }
        case "search", "domain" -> {
          search.clear();
          search.addAll(List.of(words).subList(1, words.length));
        }
        case "options" -> options.addAll(List.of(words).subList(1, words.length));
        default -> {}
      }
    }
    return new Parsed(usable, loopback, search, options);
  }
}
