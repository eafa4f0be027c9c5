// SPDX-License-Identifier: MIT
package dev.outboard.service;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/**
 * What is done to the file system of control groups, where a directory is a group. Tests put
 * another in its place, whose directories come with the files that the kernel would make.
 */
class GroupFiles {
  private static final int LOCK_EX = 2;
  private static final int LOCK_NB = 4;

  /** {@code mkdir(2)}: makes a group. */
  void make(Path group) throws IOException {
    Files.createDirectory(group);
  }

  /** {@code rmdir(2)}: removes a group that has no processes. */
  void remove(Path group) throws IOException {
    Files.delete(group);
  }

  /** All of a file, which must be there. */
  String read(Path file) throws IOException {
    return Files.readString(file);
  }

  /** By one {@code write(2)} into a file, which must be there. */
  void write(Path file, String text) throws IOException {
    Files.writeString(file, text, StandardOpenOption.WRITE);
  }

  /** The groups in a group, in no order. */
  List<Path> groups(Path group) throws IOException {
    List<Path> groups = new ArrayList<>();
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(group, Files::isDirectory)) {
      entries.forEach(groups::add);
    }
    return groups;
  }

  /**
   * Takes a group's lock, which ends with this process at the latest.
   *
   * @return a descriptor, the caller's, which is the lock; -1 if another has it or there is no such
   *     group
   */
  int lock(Path group) {
    long fd;
    try (Arena arena = Arena.ofConfined()) {
      fd =
          Linux.open(
              Linux.cString(arena, group.toString()).address(), Fcntl.O_RDONLY | Fcntl.O_CLOEXEC);
    }
    if (fd < 0) {
      return -1;
    }
    long r;
    do {
      r = Linux.syscall(SyscallNumbers.FLOCK, fd, LOCK_EX | LOCK_NB, 0);
    } while (r == -Errno.EINTR);
    if (r < 0) {
      Linux.close((int) fd);
      return -1;
    }
    return (int) fd;
  }

  /** What the kernel has against it, without the names of files. */
  static String reason(IOException e) {
    if (e instanceof FileSystemException f && f.getReason() != null) {
      return f.getReason();
    }
    if (e instanceof AccessDeniedException) {
      return "Permission denied";
    }
    if (e instanceof NoSuchFileException) {
      return "No such file or directory";
    }
    return String.valueOf(e.getMessage());
  }
}
