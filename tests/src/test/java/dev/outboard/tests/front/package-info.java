// SPDX-License-Identifier: MIT
/** How {@code outboard run} looks from the outside: streams, signals, jobs, status. */
@NullMarked
package dev.outboard.tests.front;

import org.jspecify.annotations.NullMarked;
