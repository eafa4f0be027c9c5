// SPDX-License-Identifier: MIT
@NullMarked
package dev.outboard.relay;

import org.jspecify.annotations.NullMarked;
