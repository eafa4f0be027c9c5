// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.syscalls.BpfObject.Kind;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The two halves of bpf(2), against each other and against hosts that say what is not so. */
class BpfMarshallingTest {
  private static final int DATA_BYTES = 160 * 1024;
  private static final int NUMBER = 280;
  private static final BpfObject HASH = new BpfObject(Kind.MAP, BpfCommands.HASH, 12, 40);

  private final Arena arena = Arena.ofConfined();
  private final FakeProgram program = new FakeProgram();
  private final MemorySegment data = arena.allocate(DATA_BYTES, 4096);
  private final MemorySegment scratch = arena.allocate(BpfDeviceMarshaller.SCRATCH_BYTES, 16);
  private final BpfDeviceMarshaller device =
      new BpfDeviceMarshaller(data.address(), DATA_BYTES, scratch);
  private final Call call = new Call(data);
  private final long[] kernelArgs = new long[6];

  @AfterEach
  void close() {
    arena.close();
  }

  private BpfHostMarshaller host(int command, long attribute, int size) {
    BpfHostMarshaller m =
        new BpfHostMarshaller(arena, program, 4, new long[] {command, attribute, size, 0, 0, 0});
    assertThat(m.read(data)).isZero();
    return m;
  }

  /** What the kernel gets for the attribute's field. */
  private MemorySegment kernelsView() {
    assertThat(kernelArgs[1]).isEqualTo(scratch.address());
    return scratch;
  }

  private boolean inData(long address, long bytes) {
    return address >= data.address() && address + bytes <= data.address() + DATA_BYTES;
  }

  @Test
  void anElementCrossesByTheSizesOfItsMap() {
    long key = program.allocate(12);
    long value = program.allocate(40);
    program.put(key, 0x1122334455667788L);
    program.put(value, 4711L);
    long a = program.allocate(32);
    program.put(a, 77L);
    program.put(a + 8, key);
    program.put(a + 16, value);
    program.put(a + 24, 1L);
    BpfHostMarshaller m = host(BpfCommands.MAP_UPDATE_ELEM, a, 32);
    assertThat(m.subject()).isEqualTo(77);
    assertThat(m.encode(NUMBER, HASH, 5, fd -> fd == 77 ? 5 : BpfCommands.NO_FILE, call)).isZero();
    assertThat(device.prepare(call, 5, HASH, kernelArgs)).isZero();
    MemorySegment k = kernelsView();
    assertThat(k.get(Wire.INT, 0)).isEqualTo(5);
    long at = k.get(Wire.LONG, 8) - data.address();
    assertThat(data.get(Wire.LONG, at)).isEqualTo(0x1122334455667788L);
    assertThat(data.get(Wire.LONG, k.get(Wire.LONG, 16) - data.address())).isEqualTo(4711);
    assertThat(k.get(Wire.LONG, 24)).isEqualTo(1);
  }

  /** The object that the device knows decides, and the descriptor that it has looked up. */
  @Test
  void aHostThatSaysAnotherSizeOrFile() {
    MemorySegment d = data;
    call.start(NUMBER);
    call.args[0] = BpfCommands.MAP_LOOKUP_ELEM;
    call.args[1] = 32;
    d.fill((byte) 0);
    d.set(Wire.INT, 0, 99); // not what is looked up
    d.set(Wire.LONG, 8, 512);
    d.set(Wire.LONG, 16, DATA_BYTES - 39); // one byte short
    assertThat(device.prepare(call, 5, HASH, kernelArgs)).isEqualTo(-Errno.EFAULT);
    d.set(Wire.LONG, 16, DATA_BYTES - 40);
    assertThat(device.prepare(call, 5, HASH, kernelArgs)).isZero();
    assertThat(kernelsView().get(Wire.INT, 0)).isEqualTo(5);
    // Of what is no map, no pointer is left that anybody could follow.
    assertThat(device.prepare(call, 5, BpfObject.NONE, kernelArgs)).isZero();
    assertThat(kernelsView().get(Wire.LONG, 8)).isZero();
    assertThat(kernelsView().get(Wire.LONG, 16)).isZero();
  }

  @Test
  void whatIsUnknownIsRefused() {
    call.start(NUMBER);
    data.fill((byte) 0);
    call.args[1] = BpfCommands.ATTRIBUTE_BYTES;
    for (int command : new int[] {-1, BpfCommands.OBJ_PIN, 17, 20, 32, 33, 36, 37, 10_000}) {
      call.args[0] = command;
      assertThat(device.prepare(call, -1, BpfObject.NONE, kernelArgs)).isEqualTo(-Errno.EINVAL);
    }
    call.args[0] = BpfCommands.MAP_FREEZE;
    data.set(Wire.BYTE, 4, (byte) 1);
    assertThat(device.prepare(call, -1, BpfObject.NONE, kernelArgs)).isEqualTo(-Errno.EINVAL);
    call.args[1] = BpfCommands.ATTRIBUTE_BYTES + 1;
    assertThat(device.prepare(call, -1, BpfObject.NONE, kernelArgs)).isEqualTo(-Errno.E2BIG);
  }

  /**
   * Whatever a host writes: what the kernel would read or write lies in the call's data or in the
   * device's own memory, as far as the kernel would go.
   */
  @Test
  void noise() {
    Random random = Seeds.random("noise");
    BpfObject[] objects = {
      BpfObject.NONE,
      HASH,
      new BpfObject(Kind.MAP, BpfCommands.PERCPU_ARRAY, 4, 100),
      new BpfObject(Kind.MAP, BpfCommands.PROG_ARRAY, 4, 4),
      new BpfObject(Kind.PROGRAM, 0, 0, 0),
      new BpfObject(Kind.BTF, 0, 0, 0),
      new BpfObject(Kind.LINK, 0, 0, 0)
    };
    int passed = 0;
    for (int i = 0; i < 300_000; i++) {
      int command = random.nextInt(38);
      BpfObject object = objects[random.nextInt(objects.length)];
      call.start(NUMBER);
      call.args[0] = command;
      call.args[1] = random.nextInt(BpfCommands.ATTRIBUTE_BYTES + 4);
      data.asSlice(0, 1024).fill((byte) 0);
      int known = Math.max(0, BpfCommands.known(command));
      for (int at = 0; at + 4 <= known; at += 4) {
        data.set(Wire.INT, at, interesting(random));
      }
      for (int at = 256; at < 512; at += 4) {
        data.set(Wire.INT, at, interesting(random));
      }
      if (random.nextBoolean()) {
        data.set(Wire.INT, 4, 232);
        data.set(Wire.LONG, 8, 256);
      }
      if (device.prepare(call, 3, object, kernelArgs) == 0) {
        passed++;
        MemorySegment a = kernelsView();
        for (BpfCommands.Pointer p : BpfCommands.pointers(command, a, object)) {
          long address = a.get(Wire.LONG, p.at());
          assertThat(address == 0 || inData(address, p.bytes())).isTrue();
        }
        if (command == BpfCommands.OBJ_GET_INFO_BY_FD && a.get(Wire.LONG, 8) != 0) {
          long info = a.get(Wire.LONG, 8) - scratch.address();
          assertThat(info).isBetween(152L, BpfDeviceMarshaller.SCRATCH_BYTES - 256L);
          long length = BpfCommands.unsigned(a, 4);
          MemorySegment s = scratch.asSlice(info, 256);
          for (BpfCommands.Pointer p : BpfCommands.infoPointers(object, s)) {
            long address = s.get(Wire.LONG, p.at());
            assertThat(p.at() + 8 > length || address == 0 || inData(address, p.bytes())).isTrue();
          }
        }
        device.finish(call);
      }
    }
    assertThat(passed).isGreaterThan(1000);
  }

  private static int interesting(Random random) {
    return switch (random.nextInt(6)) {
      case 0 -> 0;
      case 1 -> -1;
      case 2 -> random.nextInt(64);
      case 3 -> random.nextInt(DATA_BYTES);
      case 4 -> DATA_BYTES - random.nextInt(64);
      default -> random.nextInt();
    };
  }

  /** A load of 64 bits: its registers, and what is loaded. */
  private static long instruction(int registers, long number) {
    return 0x18L | ((long) registers << 8) | (number << 32);
  }

  /** Maps in instructions, by descriptors and by places in an array of them. */
  @Test
  void instructionsNameHandles() {
    long code = program.allocate(48);
    long array = program.allocate(8);
    program.put(code, instruction(0x11, 7));
    program.put(code + 8, 0L);
    program.put(code + 16, instruction(0x61, 1));
    program.put(code + 24, 16L << 32);
    program.put(code + 32, instruction(0x01, 7)); // a number, and no descriptor
    program.put(code + 40, 0L);
    program.put(array + 4, 9);
    long a = program.allocate(BpfCommands.ATTRIBUTE_BYTES);
    for (int at = 0; at < BpfCommands.ATTRIBUTE_BYTES; at += 8) {
      program.put(a + at, 0L);
    }
    program.put(a, 1); // a socket's filter
    program.put(a + 4, 6);
    program.put(a + 8, code);
    program.put(a + 16, program.string("GPL"));
    program.put(a + 120, array);
    BpfHostMarshaller m = host(BpfCommands.PROG_LOAD, a, BpfCommands.ATTRIBUTE_BYTES);
    assertThat(m.encode(NUMBER, BpfObject.NONE, -1, fd -> fd + 100, call)).isZero();
    assertThat(device.prepare(call, -1, BpfObject.NONE, kernelArgs)).isZero();
    long at = kernelsView().get(Wire.LONG, 8) - data.address();
    assertThat(data.get(Wire.LONG, at)).isEqualTo(instruction(0x11, 107));
    assertThat(data.get(Wire.LONG, at + 16)).isEqualTo(instruction(0x21, 109));
    assertThat(data.get(Wire.LONG, at + 24)).isEqualTo(16L << 32);
    assertThat(data.get(Wire.LONG, at + 32)).isEqualTo(instruction(0x01, 7));
  }
}
