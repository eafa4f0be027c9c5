// SPDX-License-Identifier: MIT
@NullMarked
package dev.outboard.device;

import org.jspecify.annotations.NullMarked;
