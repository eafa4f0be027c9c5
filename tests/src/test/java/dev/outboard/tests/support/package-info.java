// SPDX-License-Identifier: MIT
/**
 * What whole-system tests are made of: scenarios that run natively, on the library kernel and on
 * the host-kernel backend, and the evidence that they leave when they fail.
 */
@NullMarked
package dev.outboard.tests.support;

import org.jspecify.annotations.NullMarked;
