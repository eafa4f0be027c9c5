// SPDX-License-Identifier: MIT
@NullMarked
package dev.outboard.cli;

import org.jspecify.annotations.NullMarked;
