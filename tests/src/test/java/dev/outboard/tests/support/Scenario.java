// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.TestTemplate;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * A test that runs once in each {@link Mode}, natively first, and takes a {@link Trial}.
 *
 * <p>What the method asserts must hold in every mode; what it hands to {@link Trial#outcome} must
 * be equal to what the native run handed over. After the method every process that it started, and
 * whatever those started, must have ended by itself or by {@link Running#close}; no link, socket
 * file or temporary file may be left.
 */
@Target(ElementType.METHOD)
@Retention(RetentionPolicy.RUNTIME)
@TestTemplate
@ExtendWith(ScenarioExtension.class)
public @interface Scenario {
  /** The network that the programs see. */
  Link link() default Link.NONE;

  /** The modes in which this scenario means something. */
  Mode[] modes() default {Mode.NATIVE, Mode.LIBRARY, Mode.HOST};

  /**
   * Whether offloaded runs write {@code --trace} to a file as evidence. Off where the trace would
   * be larger than the work, or where time is what is measured.
   */
  boolean trace() default true;
}
