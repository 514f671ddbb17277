/**
 * Programs that mean harm, and what a sandbox must have kept from them. Each is bounded by the sandbox's own limits;
 * none does lasting damage where a sandbox fails, so that a failure is a failed test and not a lost machine.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Execution, ExecutionStatus, Sandbox } from '../../src/types/sandbox.ts';

/** What is worth attacking on this machine. */
export type Target = {
  /** A folder that no program may read or write. */
  readonly folder: string;
  readonly secretFile: string;
  /** Port of a server on this machine. */
  readonly port: number;
  /** Texts that must never come out of a sandbox. */
  readonly secrets: readonly string[];
  /** What has happened to the target, in words; empty when nothing has. */
  readonly damage: () => Promise<readonly string[]>;
  readonly close: () => Promise<void>;
};

/** One way to do harm; `ends`: how it may end, in one sandbox or another. */
export type Attack = {
  readonly name: string;
  readonly program: (target: Target) => string;
  readonly ends: readonly ExecutionStatus[];
};

const secretText = 'the-answer-that-no-agent-may-read';
const secretVariable = 'a-key-of-the-host';

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Lays out a folder with a secret, a key in this process's environment, and a server that counts who calls. */
export async function layOutTarget(): Promise<Target> {
  const folder = await mkdtemp(join(tmpdir(), 'teamtune-target-'));
  const secretFile = join(folder, 'answer.csv');
  await writeFile(secretFile, secretText);
  process.env.TEAMTUNE_TEST_KEY = secretVariable;
  let calls = 0;
  const server = createServer((socket) => {
    calls++;
    socket.end('hello');
  });
  const port = await listen(server);
  return {
    ...{ folder, secretFile, port, secrets: [secretText, secretVariable, 'root:x:0:0'] },
    damage: async () => {
      const names = await readdir(folder);
      const content = await readFile(secretFile, 'utf8');
      return [
        ...(calls === 0 ? [] : [`${calls} connections to this machine`]),
        ...(names.join() === 'answer.csv' ? [] : [`files outside: ${names.join(', ')}`]),
        ...(content === secretText ? [] : ['the secret file was changed']),
      ];
    },
    close: async () => {
      server.close();
      delete process.env.TEAMTUNE_TEST_KEY;
      await rm(folder, { recursive: true });
    },
  };
}

/** Runs each line by itself and prints what it raises, so that a refusal of one way does not hide the next. */
function tryAll(...lines: readonly string[]): string {
  const ways = lines.map((line) => JSON.stringify(line)).join(', ');
  return `import os
for way in (${ways}):
    try:
        print(eval(way))
    except Exception as error:
        print(type(error).__name__, error)`;
}

const all: readonly ExecutionStatus[] = ['ok', 'error', 'denied'];

export const attacks: readonly Attack[] = [
  {
    name: 'fork bomb',
    program: () => 'import os\nwhile True:\n  try: os.fork()\n  except OSError: pass',
    ends: ['timeout', 'error', 'denied', 'memory'],
  },
  {
    name: 'memory bomb',
    program: () => 'a = []\nwhile True: a.append(bytearray(10**6))',
    ends: ['memory'],
  },
  {
    name: 'memory bomb of many processes',
    program: () => `import os, mmap, time
for _ in range(20):
    if os.fork() == 0:
        area = mmap.mmap(-1, 40 * 2**20)
        area.write(b"x" * (40 * 2**20))
        time.sleep(60)
time.sleep(60)`,
    ends: ['memory', 'denied', 'error'],
  },
  { name: 'endless loop', program: () => 'while True: pass', ends: ['timeout'] },
  {
    name: 'endless loop that swallows every exception',
    program: () => `while True:
    try:
        while True: pass
    except BaseException: pass`,
    ends: ['timeout'],
  },
  {
    name: '1 GB of output',
    program: () => 'line = "x" * 2**20\nfor _ in range(1024): print(line)',
    ends: ['output-limit'],
  },
  {
    name: '1 GB of output past Python',
    program: () => 'import os\nline = b"x" * 2**20\nfor _ in range(1024): os.write(1, line)',
    ends: ['output-limit', 'error'],
  },
  {
    name: 'symbolic links to a secret and to /',
    program: ({ secretFile, folder }) => `import os
os.symlink(${JSON.stringify(secretFile)}, "link.csv")
os.symlink("/", "root")
os.symlink(${JSON.stringify(folder)}, "folder")
${tryAll('open("link.csv").read()', `open("root${secretFile}").read()`, 'open("folder/new.txt", "w").write("x")')}`,
    ends: all,
  },
  {
    name: '.. out of the workspace',
    program: ({ secretFile, folder }) =>
      tryAll(
        `open("../../../../../..${secretFile}").read()`,
        `open("../../../../../..${folder}/new.txt", "w").write("x")`,
        'open("../escaped.txt", "w").write("x")',
      ),
    ends: all,
  },
  {
    name: 'reading /etc/passwd',
    program: () => tryAll('open("/etc/passwd").read()', 'open("/etc/shadow").read()'),
    ends: all,
  },
  {
    name: 'reading environments',
    program: () =>
      tryAll(
        'dict(os.environ)',
        'open("/proc/self/environ").read()',
        'open("/proc/1/environ").read()',
        '[open(f"/proc/{pid}/environ").read() for pid in os.listdir("/proc") if pid.isdigit()]',
      ),
    ends: all,
  },
  {
    name: 'writing outside',
    program: ({ folder, secretFile }) =>
      tryAll(
        `open(${JSON.stringify(join(folder, 'new.txt'))}, "w").write("x")`,
        `open(${JSON.stringify(secretFile)}, "w").write("x")`,
        `os.remove(${JSON.stringify(secretFile)})`,
        'open("/usr/new.txt", "w").write("x")',
        'open("/etc/new.txt", "w").write("x")',
      ),
    ends: all,
  },
  {
    name: 'listening',
    program: () => 'import socket\ns = socket.socket()\ns.bind(("0.0.0.0", 0))\ns.listen()',
    ends: ['denied'],
  },
  {
    name: 'connecting to this machine',
    program: ({ port }) =>
      `import socket\nprint(socket.create_connection(("127.0.0.1", ${port}), 1).recv(9))`,
    ends: ['denied', 'error'],
  },
  {
    name: 'killing the parent and everybody else',
    program: () => `import os, signal
for pid in (os.getppid(), 1, -1, ${process.pid}):
    try: os.kill(pid, signal.SIGKILL)
    except Exception as error: print(error)`,
    ends: all,
  },
  {
    name: 'unpickling a command',
    program: ({ folder, secretFile }) => `import os, pickle
class Trick:
    def __reduce__(self):
        return os.system, (${JSON.stringify(`cat ${secretFile}; touch ${folder}/new.txt`)},)
pickle.loads(pickle.dumps(Trick()))`,
    ends: all,
  },
  {
    name: 'built-in modules past the importer',
    program: ({ folder, secretFile }) => `import _imp, importlib.machinery
command = b"cat ${secretFile}; touch ${folder}/new.txt"
def load(name):
    module = _imp.create_builtin(importlib.machinery.ModuleSpec(name, None, origin="built-in"))
    _imp.exec_builtin(module)
    return module
${tryAll(
  'load("_posixsubprocess").fork_exec([b"sh"], [b"/bin/sh"], True, (), None, [command], -1, -1, -1, -1, -1, -1, -1, -1, True, True, -1, None, None, None, -1, None)',
  'load("_ctypes").dlsym(load("_ctypes").dlopen(None, 0), "emscripten_system")',
  'load("_ctypes").PyDLL(None).system(command)',
  'load("_socket").socket()',
  'load("posix").system(command)',
)}`,
    ends: all,
  },
  {
    name: 'looking into the process above',
    program: () =>
      tryAll(
        'open(f"/proc/{os.getppid()}/mem", "rb").read(1)',
        'os.listdir(f"/proc/{os.getppid()}/fd")',
        '__import__("ctypes").CDLL(None).ptrace(16, os.getppid(), 0, 0)',
        '[os.write(number, b"SSSS") for number in range(3, 64)]',
      ),
    ends: all,
  },
  {
    name: 'a zip bomb among the files',
    program: () => `import zipfile
with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
    with bomb.open("zeros", "w") as zeros:
        for _ in range(64): zeros.write(bytes(2**20))`,
    ends: ['ok'],
  },
  {
    name: 'a file of 10 GB with nothing in it',
    program: () => 'with open("hole", "wb") as hole: hole.truncate(10 * 2**30)',
    ends: ['error', 'file-limit'],
  },
  {
    name: 'filling the disk',
    program: () => `for number in range(400):
    with open(f"{number}.bin", "wb") as file: file.write(bytes(2**20))`,
    ends: ['error', 'file-limit'],
  },
  {
    name: 'a hundred thousand files',
    program: () => 'for number in range(100_000): open(str(number), "w").close()',
    ends: ['file-limit', 'timeout', 'error'],
  },
  {
    name: 'folders without end',
    program: () => `import os
for _ in range(200):
    os.mkdir("x" * 100)
    os.chdir("x" * 100)
open("deep", "w").write("x")`,
    ends: ['file-limit', 'error', 'timeout'],
  },
];

export type AttackReport = {
  readonly name: string;
  readonly status: ExecutionStatus;
  readonly seconds: number;
  /** What got out or was done, in words; nothing where the sandbox held. */
  readonly leaks: readonly string[];
  /** Whether it ended as it may, and the next program ran as if nothing had been. */
  readonly isTypedWell: boolean;
  readonly isNextFine: boolean;
};

function leakedBy(execution: Execution, { secrets }: Target): string[] {
  const files = [...execution.changes.written].map(([path, content]) => `${path} ${content}`);
  const everything = [execution.output, ...files].join('\n');
  return secrets.filter((secret) => everything.includes(secret));
}

/** Runs one attack and then an honest program. */
export async function runAttack(
  sandbox: Sandbox,
  attack: Attack,
  target: Target,
): Promise<AttackReport> {
  const folder = await mkdtemp(join(tmpdir(), 'teamtune-attacked-'));
  await mkdir(join(folder, 'data'));
  await writeFile(join(folder, 'data', 'train.csv'), 'a,b\n');
  try {
    const begin = performance.now();
    const execution = await sandbox.run(attack.program(target), { folder });
    const seconds = (performance.now() - begin) / 1000;
    const next = await sandbox.run('print(open("data/train.csv").read(), 6 * 7)', { folder });
    return {
      name: attack.name,
      status: execution.status,
      seconds,
      leaks: [...leakedBy(execution, target), ...(await target.damage())],
      // On a busy machine the time limit may come before any other.
      isTypedWell: ['timeout', ...attack.ends].includes(execution.status),
      isNextFine: next.status === 'ok' && next.output === 'a,b\n 42\n',
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}
