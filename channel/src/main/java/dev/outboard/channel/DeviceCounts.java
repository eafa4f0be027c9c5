// SPDX-License-Identifier: MIT
package dev.outboard.channel;

/**
 * What a session holds on the device, to find leaks.
 *
 * @param sessions sessions of the device, this one included
 * @param slots slots attached, that is shadow threads of this session
 * @param handles descriptors open in this session
 * @param watched handles whose readiness is watched
 * @param tasks tasks of the device's kernel that belong to this session
 * @param threads threads of the device process
 * @param descriptors descriptors of the device process itself
 * @param calls calls executed for this session
 * @param interrupts calls interrupted
 */
public record DeviceCounts(
    int sessions,
    int slots,
    int handles,
    int watched,
    int tasks,
    int threads,
    int descriptors,
    long calls,
    long interrupts) {}
