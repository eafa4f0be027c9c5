// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.relay.Identity;
import dev.outboard.relay.OpenSsl;
import dev.outboard.relay.PeerKey;
import dev.outboard.relay.TcpAddress;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.charset.MalformedInputException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * The keys of this user's on this machine, as files of one directory: {@code identity}, the private
 * key; {@code identity.pub}, the line for others; {@code authorized_hosts}, a line for each host
 * that may come to a device here, with {@code operator} before it if it may know what others do
 * there; {@code known_devices}, the same for devices, with their address before it.
 *
 * <p>A file is replaced as a whole, so that who reads one sees the old or the new one.
 */
final class KeyFiles {
  /** Names the directory, in place of {@code outboard} in the user's configuration. */
  static final String VARIABLE = "OUTBOARD_KEYS";

  private static final String IDENTITY = "identity";
  private static final String PUBLIC = "identity.pub";
  private static final String HOSTS = "authorized_hosts";
  private static final String DEVICES = "known_devices";
  private static final int MAX_BYTES = 1 << 20;

  /**
   * Before a key, as it is not the key's own comment that is to say so: that is another machine's
   * text.
   */
  static final String OPERATOR = "operator";

  private static final Set<PosixFilePermission> OWNER_ONLY =
      PosixFilePermissions.fromString("rw-------");
  private static final Set<PosixFilePermission> DIRECTORY =
      PosixFilePermissions.fromString("rwx------");

  private final Path directory;

  KeyFiles(Path directory) {
    this.directory = directory;
  }

  /** A device that is trusted, and the key that it must have. */
  record KnownDevice(String address, PeerKey key) {}

  /**
   * A host that may come.
   *
   * @param operator it may know what all do there
   */
  record Host(PeerKey key, boolean operator) {
    private String line() {
      return (operator ? OPERATOR + " " : "") + key.line();
    }

    private static @Nullable Host parse(String line) {
      String[] words = line.split("\\s+", 2);
      boolean operator = words.length == 2 && words[0].equals(OPERATOR);
      PeerKey key = PeerKey.parse(operator ? words[1] : line);
      return key == null ? null : new Host(key, operator);
    }
  }

  /** Those of the user who runs this. */
  static KeyFiles ofThisUser() {
    String given = System.getenv(VARIABLE);
    if (given != null && !given.isEmpty()) {
      return new KeyFiles(Path.of(given).toAbsolutePath());
    }
    String config = System.getenv("XDG_CONFIG_HOME");
    Path home = Path.of(System.getProperty("user.home", "/"));
    Path base = config == null || config.isEmpty() ? home.resolve(".config") : Path.of(config);
    return new KeyFiles(base.resolve("outboard").toAbsolutePath());
  }

  /** Where they are. */
  Path directory() {
    return directory;
  }

  /**
   * This machine's identity; null if it has none yet.
   *
   * @throws Failure if it cannot be used
   */
  @Nullable Identity identity() {
    Path file = directory.resolve(IDENTITY);
    String pem = read(file, true);
    if (pem == null) {
      return null;
    }
    requireOpenSsl();
    String line = read(directory.resolve(PUBLIC), false);
    PeerKey key = line == null ? null : PeerKey.parse(line);
    if (key == null) {
      throw new Failure(
          directory.resolve(PUBLIC) + " is not the line that belongs to " + file + ".");
    }
    try {
      return Identity.of(pem, key);
    } catch (GeneralSecurityException e) {
      throw new Failure(file + " cannot be used: " + e.getMessage() + ".");
    }
  }

  /** The same where there is no going on without. */
  Identity requireIdentity() {
    Identity identity = identity();
    if (identity == null) {
      throw new Failure(
          "this machine has no key yet (in "
              + directory
              + ").\nMake one, and give the line that it prints to the other machine: outboard keys");
    }
    return identity;
  }

  /** Keys are nothing without it. */
  static void requireOpenSsl() {
    String missing = OpenSsl.missing();
    if (missing != null) {
      throw new Failure(missing);
    }
  }

  /**
   * Makes an identity, where there is none.
   *
   * @throws Failure if that is not possible
   */
  Identity create() {
    requireOpenSsl();
    Identity made = Identity.create(System.getProperty("user.name", "user") + "@" + hostName());
    // The public part first: a private key without one is of no use.
    write(PUBLIC, made.key().line() + "\n");
    write(IDENTITY, made.pem());
    return made;
  }

  private static String hostName() {
    try {
      return Files.readString(Path.of("/proc/sys/kernel/hostname")).strip();
    } catch (IOException e) {
      return InetAddress.getLoopbackAddress().getHostName();
    }
  }

  /** Keys of hosts that may come. */
  List<PeerKey> authorizedHosts() {
    return hosts().stream().map(Host::key).toList();
  }

  /** Hosts that may come. */
  List<Host> hosts() {
    List<Host> hosts = new ArrayList<>();
    for (String line : lines(HOSTS)) {
      Host host = Host.parse(line);
      if (host == null) {
        throw new Failure(directory.resolve(HOSTS) + " has a line that is no key: " + line);
      }
      hosts.add(host);
    }
    return hosts;
  }

  /** Devices that are trusted. */
  List<KnownDevice> knownDevices() {
    List<KnownDevice> devices = new ArrayList<>();
    for (String line : lines(DEVICES)) {
      String[] parts = line.split("\\s+", 2);
      PeerKey key = parts.length < 2 ? null : PeerKey.parse(parts[1]);
      if (key == null || TcpAddress.parse(parts[0]) == null) {
        throw new Failure(
            directory.resolve(DEVICES) + " has a line that is no address with a key: " + line);
      }
      devices.add(new KnownDevice(parts[0], key));
    }
    return devices;
  }

  /** The keys of which the device at an address must have one. */
  List<PeerKey> keysOf(TcpAddress address) {
    return knownDevices().stream()
        .filter(d -> d.address().equalsIgnoreCase(address.toString()))
        .map(KnownDevice::key)
        .toList();
  }

  /**
   * Lets a host come; false if it may already.
   *
   * @param operator and know what all do here; one that may is not made one that may not
   */
  boolean authorize(PeerKey key, boolean operator) {
    List<Host> hosts = new ArrayList<>(hosts());
    Host host = new Host(key, operator);
    for (int i = 0; i < hosts.size(); i++) {
      if (hosts.get(i).key().sameKey(key)) {
        if (hosts.get(i).operator() || !operator) {
          return false;
        }
        hosts.set(i, host);
        replace(HOSTS, hosts.stream().map(Host::line).toList());
        return true;
      }
    }
    append(HOSTS, host.line());
    return true;
  }

  /** Trusts a device; false if that is so already. */
  boolean trust(TcpAddress address, PeerKey device) {
    if (keysOf(address).stream().anyMatch(device::sameKey)) {
      return false;
    }
    append(DEVICES, address + " " + device.line());
    return true;
  }

  /**
   * Takes keys away from both lists.
   *
   * @param word a fingerprint, a comment, or a device's address
   * @return what was removed, as lines for people
   */
  List<String> remove(String word) {
    List<String> removed = new ArrayList<>();
    Predicate<PeerKey> meant = key -> key.fingerprint().equals(word) || key.comment().equals(word);
    List<String> hosts = new ArrayList<>();
    for (Host host : hosts()) {
      PeerKey key = host.key();
      if (meant.test(key)) {
        removed.add("host " + key.fingerprint() + " " + key.comment());
      } else {
        hosts.add(host.line());
      }
    }
    int removedHosts = removed.size();
    List<String> devices = new ArrayList<>();
    for (KnownDevice device : knownDevices()) {
      if (meant.test(device.key()) || device.address().equals(word)) {
        removed.add("device " + device.address() + " " + device.key().fingerprint());
      } else {
        devices.add(device.address() + " " + device.key().line());
      }
    }
    if (removedHosts > 0) {
      replace(HOSTS, hosts);
    }
    if (removed.size() > removedHosts) {
      replace(DEVICES, devices);
    }
    return removed;
  }

  private List<String> lines(String name) {
    String text = read(directory.resolve(name), false);
    return text == null
        ? List.of()
        : text.lines().map(String::strip).filter(l -> !l.isEmpty() && !l.startsWith("#")).toList();
  }

  private void append(String name, String line) {
    String before = read(directory.resolve(name), false);
    String separator = before == null || before.isEmpty() || before.endsWith("\n") ? "" : "\n";
    write(name, (before == null ? "" : before) + separator + line + "\n");
  }

  private void replace(String name, List<String> lines) {
    write(name, lines.isEmpty() ? "" : String.join("\n", lines) + "\n");
  }

  /** Null if there is no such file; refuses what others could have changed, or seen. */
  private static @Nullable String read(Path file, boolean secret) {
    try {
      if (Files.size(file) > MAX_BYTES) {
        throw new Failure(file + " is too large to be a file of keys.");
      }
      Set<PosixFilePermission> mode = EnumSet.noneOf(PosixFilePermission.class);
      mode.addAll(Files.getPosixFilePermissions(file));
      if (secret) {
        mode.retainAll(PosixFilePermissions.fromString("---rwxrwx"));
        if (!mode.isEmpty()) {
          throw new Failure(
              file + " can be read by others, so it is no secret.\nTo keep it: chmod 600 " + file);
        }
      } else {
        mode.retainAll(PosixFilePermissions.fromString("----w--w-"));
        if (!mode.isEmpty()) {
          throw new Failure(
              file
                  + " can be written by others, so it says nothing.\nIf what it says is right:"
                  + " chmod go-w "
                  + file);
        }
      }
      return Files.readString(file);
    } catch (NoSuchFileException e) {
      return null;
    } catch (MalformedInputException e) {
      throw new Failure(file + " is not a text.");
    } catch (IOException e) {
      throw new Failure("cannot read " + file + ": " + e.getMessage());
    }
  }

  private void write(String name, String text) {
    try {
      if (!Files.isDirectory(directory)) {
        Files.createDirectories(directory, PosixFilePermissions.asFileAttribute(DIRECTORY));
      }
      Path made =
          Files.createTempFile(
              directory, name + ".", "", PosixFilePermissions.asFileAttribute(OWNER_ONLY));
      try {
        Files.writeString(made, text);
        Files.move(made, directory.resolve(name), StandardCopyOption.ATOMIC_MOVE);
      } finally {
        Files.deleteIfExists(made);
      }
    } catch (IOException e) {
      throw new Failure("cannot write " + directory.resolve(name) + ": " + e.getMessage());
    }
  }
}
