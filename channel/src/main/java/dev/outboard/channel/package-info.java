// SPDX-License-Identifier: MIT
@NullMarked
package dev.outboard.channel;

import org.jspecify.annotations.NullMarked;
