// SPDX-License-Identifier: MIT
/**
 * Virtual devices of the library kernel and the networks behind them.
 *
 * <p>{@link dev.outboard.virtio.Network} is the way in: it shows how the parts are wired.
 */
@NullMarked
package dev.outboard.virtio;

import org.jspecify.annotations.NullMarked;
