/** Numbers of the calls that programs of agents do not get, from the kernel's tables, by Node's name of the machine. */
const machines: Readonly<Record<string, Machine>> = {
  x64: {
    audit: 0xc000003e,
    socket: 41,
    clone: 56,
    refused: [
      // Looking into other processes: ptrace, process_vm_readv, process_vm_writev, perf_event_open, pidfd_getfd.
      ...[101, 310, 311, 298, 438],
      // Memory that no limit counts: memfd_create, memfd_secret, shmget, msgget; keys of the kernel.
      ...[319, 447, 29, 68, 248, 249, 250],
      // Namespaces and mounts: unshare, setns, mount, umount2, pivot_root, chroot, open_tree to fsmount, mount_setattr.
      ...[272, 308, 165, 166, 155, 161, 428, 429, 430, 431, 432, 442],
      // Ways into the kernel: bpf, userfaultfd, io_uring_setup, kexec_load, init_module, finit_module.
      ...[321, 323, 425, 246, 175, 313],
    ],
  },
  arm64: {
    audit: 0xc00000b7,
    socket: 198,
    clone: 220,
    refused: [
      ...[117, 270, 271, 241, 438],
      ...[279, 447, 194, 186, 217, 218, 219],
      ...[97, 268, 40, 39, 41, 51, 428, 429, 430, 431, 432, 442],
      ...[280, 282, 425, 104, 105, 273],
    ],
  },
};

type Machine = {
  readonly audit: number;
  readonly socket: number;
  readonly clone: number;
  readonly refused: readonly number[];
};

/** Classic BPF, as seccomp takes it: operation, jump if true, jump if false, operand. */
type Instruction = readonly [code: number, yes: number, no: number, operand: number];

const loadWord = 0x20;
const jumpIfEqual = 0x15;
const jumpIfAtLeast = 0x35;
const jumpIfAnyBit = 0x45;
const answer = 0x06;

const allow = 0x7fff0000;
const kill = 0x80000000;
const errno = (number: number) => 0x00050000 | number;
const notPermitted = errno(1);
const noSuchCall = errno(38);

/** Offsets in `struct seccomp_data`; the first argument's lower half comes first on both machines. */
const callOffset = 0;
const machineOffset = 4;
const firstArgumentOffset = 16;

const unixSocket = 1;
/** Every kind of namespace that clone can make, CLONE_NEWNS to CLONE_NEWNET. */
const namespaceFlags = 0x7e020000;
const clone3 = 435;
/** Calls from here on belong to x32, whose numbers differ. */
const firstForeignCall = 0x40000000;

/** Answers `then` to one call; leaves the call's number loaded for what follows. */
function refuse(call: number, then: number): readonly Instruction[] {
  return [
    [jumpIfEqual, 0, 1, call],
    [answer, 0, 0, then],
  ];
}

/**
 * A seccomp program for `bwrap --seccomp`: programs get sockets of this machine's own kind (`AF_UNIX`) alone, no
 * namespaces, no memory that the limits do not count, and no view of other processes.
 *
 * @param machine `process.arch`
 * @returns the program; `undefined` for a machine whose table is not known here
 */
export function systemCallFilter(machine: string): Uint8Array | undefined {
  const known = machines[machine];
  if (known === undefined) return undefined;
  const { audit, socket, clone, refused } = known;
  const program: readonly Instruction[] = [
    [loadWord, 0, 0, machineOffset],
    [jumpIfEqual, 1, 0, audit],
    [answer, 0, 0, kill],
    [loadWord, 0, 0, callOffset],
    [jumpIfAtLeast, 0, 1, firstForeignCall],
    [answer, 0, 0, notPermitted],
    ...refused.flatMap((call) => refuse(call, notPermitted)),
    // The C library falls back to clone, whose flags can be seen.
    ...refuse(clone3, noSuchCall),
    [jumpIfEqual, 0, 3, clone],
    [loadWord, 0, 0, firstArgumentOffset],
    [jumpIfAnyBit, 4, 0, namespaceFlags],
    [answer, 0, 0, allow],
    [jumpIfEqual, 0, 3, socket],
    [loadWord, 0, 0, firstArgumentOffset],
    [jumpIfEqual, 1, 0, unixSocket],
    [answer, 0, 0, notPermitted],
    [answer, 0, 0, allow],
  ];
  const bytes = new DataView(new ArrayBuffer(program.length * 8));
  for (const [index, [code, yes, no, operand]] of program.entries()) {
    bytes.setUint16(index * 8, code, true);
    bytes.setUint8(index * 8 + 2, yes);
    bytes.setUint8(index * 8 + 3, no);
    bytes.setUint32(index * 8 + 4, operand >>> 0, true);
  }
  return new Uint8Array(bytes.buffer);
}
