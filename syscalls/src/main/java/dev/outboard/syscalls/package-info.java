// SPDX-License-Identifier: MIT
@NullMarked
package dev.outboard.syscalls;

import org.jspecify.annotations.NullMarked;
