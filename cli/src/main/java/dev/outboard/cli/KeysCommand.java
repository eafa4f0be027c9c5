// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.relay.Identity;
import dev.outboard.relay.PeerKey;
import dev.outboard.relay.TcpAddress;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** {@code outboard keys}: by which keys this machine is known, and which others it knows. */
final class KeysCommand implements Command {
  /** More than any line has. */
  private static final int MAX_BYTES = 4096;

  private final KeyFiles files;

  KeysCommand(KeyFiles files) {
    this.files = files;
  }

  @Override
  public Syntax syntax() {
    return new Syntax(
        "keys",
        "[add [operator|HOST:PORT] KEY|FILE | list | remove WORD]",
        "Shows by which key this machine is known, and says which others it knows.",
        List.of(
            "Machines that are linked by tcp:// know each other by keys. Each prints a line:",
            "",
            "  keys                      print this machine's line; its key is made the first time",
            "  keys add KEY|FILE         on the device's machine: that host may come",
            "  keys add operator KEY|FILE",
            "                            the same, and 'outboard status --device tcp://' there shows",
            "                            everybody's sessions, not its own alone",
            "  keys add HOST:PORT KEY|FILE",
            "                            on the host: the device at that address has that key",
            "  keys list                 who is known here, by fingerprints",
            "  keys remove WORD          by fingerprint, comment or HOST:PORT; sessions that there",
            "                            are go on",
            "",
            "The files are in ${XDG_CONFIG_HOME:-~/.config}/outboard, or where OUTBOARD_KEYS says.",
            "Only the private key, 'identity', is a secret."),
        List.of(),
        List.of(
            "  device$ outboard keys",
            "  outboard-p256 MFkw... root@nic",
            "  host$ outboard keys add nic:7000 outboard-p256 MFkw... root@nic",
            "  host$ outboard keys | ssh nic outboard keys add -",
            "      the line of this machine, by a way that is trusted already",
            "  device$ outboard device --listen tcp:7000",
            "  host$ outboard run --device tcp://nic:7000 -- curl https://www.debian.org/"));
  }

  @Override
  public int run(Arguments arguments, Terminal terminal) {
    Syntax syntax = syntax();
    List<String> words = arguments.operands();
    if (words.isEmpty()) {
      show(files, terminal);
      return ExitStatus.OK;
    }
    List<String> rest = words.subList(1, words.size());
    switch (words.getFirst()) {
      case "add" -> add(files, rest, syntax, terminal);
      case "list" -> {
        if (!rest.isEmpty()) {
          throw syntax.usageError("unexpected argument '" + rest.getFirst() + "'");
        }
        list(files, terminal);
      }
      case "remove" -> {
        if (rest.isEmpty()) {
          throw syntax.usageError("which key? A fingerprint, a comment, or HOST:PORT");
        }
        String word = String.join(" ", rest);
        List<String> removed = files.remove(word);
        if (removed.isEmpty()) {
          throw new Failure("no key is known by '" + word + "'; see: outboard keys list");
        }
        removed.forEach(line -> terminal.out().println("removed: " + line));
      }
      default ->
          throw syntax.usageError(
              "keys does not know '"
                  + words.getFirst()
                  + "'"
                  + (PeerKey.parse(String.join(" ", words)) == null
                      ? ""
                      : "; to let that key's machine come: outboard keys add KEY"));
    }
    return ExitStatus.OK;
  }

  private static void show(KeyFiles files, Terminal terminal) {
    Identity identity = files.identity();
    if (identity == null) {
      identity = files.create();
      terminal.say("made a key for this machine, " + identity.key().fingerprint());
    }
    terminal.out().println(identity.key().line());
  }

  private static void list(KeyFiles files, Terminal terminal) {
    Identity identity = files.identity();
    terminal
        .out()
        .println(
            identity == null
                ? "this machine has no key yet; to make one: outboard keys"
                : "this machine: " + identity.key().fingerprint() + " " + identity.key().comment());
    for (KeyFiles.Host host : files.hosts()) {
      terminal
          .out()
          .println(
              (host.operator() ? "operator that may come: " : "host that may come: ")
                  + host.key().fingerprint()
                  + " "
                  + host.key().comment());
    }
    for (KeyFiles.KnownDevice device : files.knownDevices()) {
      terminal
          .out()
          .println(
              "device at "
                  + device.address()
                  + ": "
                  + device.key().fingerprint()
                  + " "
                  + device.key().comment());
    }
  }

  private static void add(KeyFiles files, List<String> words, Syntax syntax, Terminal terminal) {
    TcpAddress address = words.isEmpty() ? null : TcpAddress.parse(words.getFirst());
    // Alone, it is a file's name.
    boolean operator = words.size() > 1 && words.getFirst().equals(KeyFiles.OPERATOR);
    List<String> rest = address == null && !operator ? words : words.subList(1, words.size());
    if (rest.isEmpty()) {
      throw syntax.usageError("which key? The line that 'outboard keys' prints, or a file with it");
    }
    // The line may come as one word or as several.
    PeerKey key = PeerKey.parse(String.join(" ", rest));
    if (key == null && rest.size() == 1) {
      key = PeerKey.parse(contents(rest.getFirst()));
    }
    if (key == null) {
      throw new Failure(
          "that is no key: '"
              + String.join(" ", rest)
              + "'.\nOne begins with outboard-p256; the other machine prints its own: outboard keys");
    }
    boolean fresh = address == null ? files.authorize(key, operator) : files.trust(address, key);
    terminal
        .out()
        .println(
            (fresh ? "" : "already so: ")
                + (address == null
                    ? "the host with key "
                        + key.fingerprint()
                        + " may come to devices here"
                        + (operator ? ", and know what all do there" : "")
                    : "the device at " + address + " is the one with key " + key.fingerprint()));
  }

  /** The one line of a file, or of standard input. */
  private static String contents(String file) {
    try {
      String text =
          file.equals("-")
              ? new String(System.in.readNBytes(MAX_BYTES), StandardCharsets.UTF_8)
              : Files.readString(Path.of(file));
      return text.strip();
    } catch (IOException e) {
      throw new Failure("'" + file + "' is no key, and no file with one.");
    }
  }
}
