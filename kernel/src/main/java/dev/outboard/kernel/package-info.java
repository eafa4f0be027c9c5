// SPDX-License-Identifier: MIT
@NullMarked
package dev.outboard.kernel;

import org.jspecify.annotations.NullMarked;
