// SPDX-License-Identifier: MIT
/** Benchmarks of parts that only their own package sees. */
@NullMarked
package dev.outboard.channel;

import org.jspecify.annotations.NullMarked;
