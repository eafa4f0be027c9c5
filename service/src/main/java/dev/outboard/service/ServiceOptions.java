// SPDX-License-Identifier: MIT
package dev.outboard.service;

import java.util.function.Consumer;

/**
 * How a service is to be.
 *
 * @param version outboard's, for whoever asks
 * @param maxSessions sessions at a time, and processes for them
 * @param oneKernel all sessions share one kernel, which is there before the first
 * @param log takes what the service has to say; lines, from any of its threads
 * @param kernelLog takes what kernels print, each line with its kernel's name before it
 */
public record ServiceOptions(
    String version,
    int maxSessions,
    boolean oneKernel,
    Consumer<String> log,
    Consumer<String> kernelLog) {}
