// SPDX-License-Identifier: MIT
/** What holds for the source as a whole: who may use what, licences, documentation. */
@NullMarked
package dev.outboard.tests.architecture;

import org.jspecify.annotations.NullMarked;
