// SPDX-License-Identifier: MIT
/** Downcalls into the kernel of this process, without objects and without exceptions. */
@NullMarked
package dev.outboard.posix;

import org.jspecify.annotations.NullMarked;
