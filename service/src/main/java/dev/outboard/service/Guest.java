// SPDX-License-Identifier: MIT
package dev.outboard.service;

/**
 * Somebody who has shown who he is, and comes by another way than a socket of the service's.
 *
 * @param identity what he is known by; what two have that are equal is one's
 * @param name for a log
 */
public record Guest(String identity, String name) {}
