// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * A class whose scenarios run in {@link Mode#HOST} with {@code -Pjudges} alone, where time is not
 * short: what they judge is the hook's part, which is the same in front of either kernel, or a
 * feature of the library kernel.
 */
@Target(ElementType.TYPE)
@Retention(RetentionPolicy.RUNTIME)
public @interface HostKernelByJudges {}
