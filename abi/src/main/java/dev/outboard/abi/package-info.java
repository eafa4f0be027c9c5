// SPDX-License-Identifier: MIT
@NullMarked
package dev.outboard.abi;

import org.jspecify.annotations.NullMarked;
