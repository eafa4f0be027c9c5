// SPDX-License-Identifier: MIT
@NullMarked
package dev.outboard.hook;

import org.jspecify.annotations.NullMarked;
