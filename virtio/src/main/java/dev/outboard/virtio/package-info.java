// SPDX-License-Identifier: MIT
@NullMarked
package dev.outboard.virtio;

import org.jspecify.annotations.NullMarked;
