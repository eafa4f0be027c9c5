// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Struct;
import dev.outboard.syscalls.Arg.Kind;
import java.util.ArrayList;
import java.util.List;

/**
 * A call's prototype as the table writes it, in a small language close to C:
 *
 * <pre>
 *   prototype = name "(" [ arg { ", " arg } ] ")" [ " -> " result ]
 *   arg       = [ kind " " ] name [ "[" length "]" ] [ ":" set ]
 *   kind      = fd newfd path str ptr in out inout iovin iovout msgin msgout
 *               addrin addrout socklen optin optout ioctl fcntl
 *   length    = bytes | struct | argument [ "*" ( bytes | struct ) ]
 *   result    = zero bytes count fd pid address value never
 * </pre>
 *
 * <p>A kind alone names the argument too: {@code fd} is {@code fd fd}. Without a kind an argument
 * is a number, or flags if a set follows.
 */
record Prototype(String name, List<Arg> args, ResultKind result) {
  /** Parses {@code text}; a mistake in it is a bug of the table, hence the exception. */
  static Prototype parse(String text) {
    int open = text.indexOf('(');
    int close = text.indexOf(')', open);
    if (open < 1 || close < 0) {
      throw new IllegalArgumentException(text);
    }
    String name = text.substring(0, open);
    String tail = text.substring(close + 1);
    ResultKind result =
        tail.isEmpty() ? ResultKind.ZERO : result(tail.substring(" -> ".length()), text);
    List<String> parts = split(text.substring(open + 1, close));
    List<Raw> raws = new ArrayList<>(parts.size());
    for (String part : parts) {
      raws.add(Raw.of(part));
    }
    List<Arg> args = new ArrayList<>(raws.size());
    for (Raw raw : raws) {
      args.add(raw.resolve(raws, text));
    }
    if (args.size() > 6) {
      throw new IllegalArgumentException("more than six arguments: " + text);
    }
    return new Prototype(name, args, result);
  }

  private static List<String> split(String list) {
    List<String> parts = new ArrayList<>();
    int from = 0;
    while (from < list.length()) {
      int to = list.indexOf(", ", from);
      to = to < 0 ? list.length() : to;
      parts.add(list.substring(from, to));
      from = to + 2;
    }
    return parts;
  }

  private static ResultKind result(String word, String text) {
    return switch (word) {
      case "zero" -> ResultKind.ZERO;
      case "bytes" -> ResultKind.BYTES;
      case "count" -> ResultKind.COUNT;
      case "fd" -> ResultKind.FD;
      case "pid" -> ResultKind.PID;
      case "address" -> ResultKind.ADDRESS;
      case "value" -> ResultKind.VALUE;
      case "never" -> ResultKind.NEVER;
      default -> throw new IllegalArgumentException(word + " in " + text);
    };
  }

  static Kind kind(String word) {
    return switch (word) {
      case "fd" -> Kind.FD;
      case "newfd" -> Kind.NEW_FD;
      case "path" -> Kind.PATH;
      case "str" -> Kind.STRING;
      case "ptr" -> Kind.POINTER;
      case "in" -> Kind.IN;
      case "out" -> Kind.OUT;
      case "inout" -> Kind.INOUT;
      case "iovin" -> Kind.IOVEC_IN;
      case "iovout" -> Kind.IOVEC_OUT;
      case "msgin" -> Kind.MSGHDR_IN;
      case "msgout" -> Kind.MSGHDR_OUT;
      case "addrin" -> Kind.SOCKADDR_IN;
      case "addrout" -> Kind.SOCKADDR_OUT;
      case "socklen" -> Kind.SOCKLEN;
      case "optin" -> Kind.OPTION_IN;
      case "optout" -> Kind.OPTION_OUT;
      case "ioctl" -> Kind.IOCTL;
      case "fcntl" -> Kind.FCNTL;
      default -> Kind.SCALAR;
    };
  }

  /** An argument whose length is not resolved yet. */
  private record Raw(String name, Kind kind, String length, String set) {
    static Raw of(String part) {
      String rest = part;
      String set = "";
      int colon = rest.indexOf(':');
      if (colon >= 0) {
        set = rest.substring(colon + 1);
        rest = rest.substring(0, colon);
      }
      String length = "";
      int bracket = rest.indexOf('[');
      if (bracket >= 0) {
        length = rest.substring(bracket + 1, rest.length() - 1);
        rest = rest.substring(0, bracket);
      }
      int space = rest.indexOf(' ');
      Kind kind = Prototype.kind(space < 0 ? rest : rest.substring(0, space));
      String name = rest.substring(space + 1);
      if (kind == Kind.SCALAR && !set.isEmpty()) {
        kind = Kind.FLAGS;
      }
      return new Raw(name, kind, length, set);
    }

    Arg resolve(List<Raw> all, String text) {
      if (length.isEmpty()) {
        return new Arg(name, kind, -1, 0, set);
      }
      int star = length.indexOf('*');
      String head = star < 0 ? length : length.substring(0, star);
      for (int i = 0; i < all.size(); i++) {
        if (all.get(i).name.equals(head)) {
          String unit = star < 0 ? "1" : length.substring(star + 1);
          return new Arg(name, kind, i, bytes(unit, text), struct(unit));
        }
      }
      return new Arg(name, kind, -1, bytes(length, text), struct(length));
    }

    private String struct(String unit) {
      return set.isEmpty() && !Character.isDigit(unit.charAt(0)) ? unit : set;
    }

    private static int bytes(String unit, String text) {
      if (Character.isDigit(unit.charAt(0))) {
        return Integer.parseInt(unit);
      }
      Struct s = Struct.byName(unit);
      if (s == null) {
        throw new IllegalArgumentException("no structure " + unit + ": " + text);
      }
      return s.bytes();
    }
  }
}
