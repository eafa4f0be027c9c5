// SPDX-License-Identifier: MIT
/**
 * The library kernel: Linux 6.12 in this process.
 *
 * <p>{@link dev.outboard.kernel.LinuxKernel} is the binding of {@code outboard_kernel.h}, the
 * contract of the shared object that {@code kernel/build} makes of Debian's kernel source and the
 * port in {@code kernel/src/main/linux}.
 */
@NullMarked
package dev.outboard.kernel;

import org.jspecify.annotations.NullMarked;
