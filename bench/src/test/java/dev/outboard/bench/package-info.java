// SPDX-License-Identifier: MIT
@NullMarked
package dev.outboard.bench;

import org.jspecify.annotations.NullMarked;
