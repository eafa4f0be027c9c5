// SPDX-License-Identifier: MIT
@NullMarked
package dev.outboard.service;

import org.jspecify.annotations.NullMarked;
