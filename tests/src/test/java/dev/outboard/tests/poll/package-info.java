// SPDX-License-Identifier: MIT
/** Waiting for sockets, and moving bytes in bulk, as programs do it. */
@NullMarked
package dev.outboard.tests.poll;

import org.jspecify.annotations.NullMarked;
