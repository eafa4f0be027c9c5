// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

/**
 * What a network card did since it was attached.
 *
 * @param framesIn to the device's kernel; a frame may be a segment of up to 64 KiB
 * @param bytesIn in these frames
 * @param framesOut from the device's kernel
 * @param bytesOut in these frames
 * @param dropped frames from the kernel that the network refused
 * @param interrupts raised for used buffers
 * @param starved times that no receive buffer was left
 */
public record NetCounts(
    long framesIn,
    long bytesIn,
    long framesOut,
    long bytesOut,
    long dropped,
    long interrupts,
    long starved) {}
