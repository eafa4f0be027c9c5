// SPDX-License-Identifier: MIT
/** Unmodified programs, run natively and offloaded: what they do must be the same. */
@NullMarked
package dev.outboard.tests.system;

import org.jspecify.annotations.NullMarked;
