// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

/**
 * One argument of a row.
 *
 * @param name as in the call's prototype
 * @param kind what it is, and how it crosses
 * @param lengthArg index of the argument that holds its length or count, -1 if there is none
 * @param bytes its size if {@code lengthArg} is -1, else the size of one element
 * @param set name of the set of flags or values it is printed with, or of the structure it points
 *     to; empty if there is none
 */
public record Arg(String name, Kind kind, int lengthArg, int bytes, String set) {
  /** What an argument is. */
  public enum Kind {
    /** A number that crosses as it is. */
    SCALAR,
    /** A set of flags or an enumerated value; crosses as it is, printed by name. */
    FLAGS,
    /** A descriptor; on a device fd the hook puts the handle in its place. */
    FD,
    /** A descriptor number that the call makes valid. */
    NEW_FD,
    /** A path: NUL-terminated bytes. */
    PATH,
    /** NUL-terminated bytes that are no path to look up: an attribute's name, a link's target. */
    STRING,
    /** An address that the product never follows: opaque to it. */
    POINTER,
    /** Memory that the call reads. */
    IN,
    /** Memory that the call writes. */
    OUT,
    /** Memory that the call reads, then writes. */
    INOUT,
    /** {@code struct iovec[]} of memory that the call reads. */
    IOVEC_IN,
    /** {@code struct iovec[]} of memory that the call writes. */
    IOVEC_OUT,
    /** {@code struct msghdr} to send. */
    MSGHDR_IN,
    /** {@code struct msghdr} to receive into. */
    MSGHDR_OUT,
    /** A socket address that the call reads. */
    SOCKADDR_IN,
    /** A socket address that the call writes, as much as {@link #SOCKLEN} allows. */
    SOCKADDR_OUT,
    /** {@code socklen_t *}: room on entry, the true length on return. */
    SOCKLEN,
    /** A socket option's value; its form is in {@link SocketOptions}. */
    OPTION_IN,
    /** Where a socket option's value goes; its form is in {@link SocketOptions}. */
    OPTION_OUT,
    /** The third argument of ioctl; its form is in {@link IoctlRequests}. */
    IOCTL,
    /** The third argument of fcntl; its form is in {@link FcntlCommands}. */
    FCNTL;

    /** Whether the argument is an address in the program. */
    public boolean pointer() {
      return switch (this) {
        case SCALAR, FLAGS, FD, NEW_FD, IOCTL, FCNTL -> false;
        default -> true;
      };
    }
  }
}
