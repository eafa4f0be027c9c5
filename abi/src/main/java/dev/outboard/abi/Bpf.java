// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * Classic BPF as seccomp filters use it: instructions, the offsets of {@code struct seccomp_data}
 * and what a filter may return.
 *
 * <p>Source: {@code include/uapi/linux/bpf_common.h}, {@code include/uapi/linux/filter.h}, {@code
 * include/uapi/linux/seccomp.h}, {@code include/uapi/linux/audit.h}.
 */
public final class Bpf {
  /** {@code BPF_LD | BPF_W | BPF_ABS}: A = data[k]. */
  public static final int LOAD_WORD = 0x20;

  /** {@code BPF_ALU | BPF_AND | BPF_K}: A &= k. */
  public static final int AND = 0x54;

  /** {@code BPF_JMP | BPF_JA}: pc += k. */
  public static final int JUMP = 0x05;

  /** {@code BPF_JMP | BPF_JEQ | BPF_K}: pc += A == k ? jt : jf. */
  public static final int JUMP_EQUAL = 0x15;

  /** {@code BPF_JMP | BPF_JGE | BPF_K}: pc += A >= k ? jt : jf, unsigned. */
  public static final int JUMP_NOT_BELOW = 0x35;

  /** {@code BPF_RET | BPF_K}. */
  public static final int RETURN = 0x06;

  /** {@code BPF_MAXINSNS}. */
  public static final int MAX_INSTRUCTIONS = 4096;

  /** Of {@code struct sock_filter}: u16 code, u8 jt, u8 jf, u32 k. */
  public static final int INSTRUCTION_BYTES = 8;

  public static final int DATA_NUMBER = 0;
  public static final int DATA_ARCH = 4;
  public static final int DATA_INSTRUCTION_POINTER = 8;
  public static final int DATA_ARGS = 16;

  public static final int RET_ALLOW = 0x7fff0000;
  public static final int RET_ERRNO = 0x00050000;
  public static final int RET_USER_NOTIF = 0x7fc00000;

  public static final int AUDIT_ARCH_AARCH64 = 0xC00000B7;
  public static final int AUDIT_ARCH_X86_64 = 0xC000003E;
  public static final int AUDIT_ARCH_I386 = 0x40000003;

  /** {@code __X32_SYSCALL_BIT}. */
  public static final int X32_BIT = 0x40000000;

  private Bpf() {}
}
