// SPDX-License-Identifier: MIT
/** Benchmarks of the library kernel. */
@NullMarked
package dev.outboard.kernel;

import org.jspecify.annotations.NullMarked;
