// SPDX-License-Identifier: MIT
/** The device's network, between the library kernel and the kernel of this machine. */
@NullMarked
package dev.outboard.tests.net;

import org.jspecify.annotations.NullMarked;
