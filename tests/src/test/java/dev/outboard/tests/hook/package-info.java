// SPDX-License-Identifier: MIT
/** What the hook alone could get wrong, end to end. */
@NullMarked
package dev.outboard.tests.hook;

import org.jspecify.annotations.NullMarked;
