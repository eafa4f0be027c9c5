// SPDX-License-Identifier: MIT
@NullMarked
package dev.outboard.metrics;

import org.jspecify.annotations.NullMarked;
