import { afterAll, describe, expect, it } from 'vitest';
import { createPythonTool } from '../tools/python-tool.ts';
import { createPythonSandbox } from './python-sandbox.ts';

const sandbox = createPythonSandbox({ timeLimitMs: 5000 });

afterAll(() => sandbox.close());

const run = (source: string) => sandbox.run(source);

/** A worker that is ready and then does what the body says at its first run. */
function brokenWorker(body: string): URL {
  const code = `import { parentPort } from 'node:worker_threads';
parentPort.on('message', () => { ${body} });
parentPort.postMessage({ kind: 'ready' });`;
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`);
}

describe('a run', () => {
  it('returns what it printed to stdout and stderr, in order, and nothing else', async () => {
    const source = 'import sys\nprint("é🙂")\nprint("err", file=sys.stderr)\n40 + 2';
    expect(await run(source)).toMatchObject({
      status: 'ok',
      output: 'é🙂\nerr\n',
    });
  });

  it('returns a traceback of the program alone when it raises', async () => {
    const { status, output } = await run('print("before")\ndef f(x):\n  return 1 / x\nf(0)');
    expect(status).toBe('error');
    expect(output).toMatch(/^before\nTraceback .*\n {2}File "<python>", line 4, in <module>\n/);
    expect(output).toMatch(/return 1 \/ x\n.*\nZeroDivisionError: division by zero\n$/);
    expect(output).not.toContain('<sandbox>');
  });

  it.each([
    ['print(', 'error', /SyntaxError/],
    ['exit()', 'ok', /^$/],
    ['import sys; sys.exit(3)', 'error', /SystemExit: 3/],
    ['input()', 'error', /EOFError/],
    ['def f(): return f()\nf()', 'error', /RecursionError/],
    ['raise KeyboardInterrupt', 'error', /^$/],
  ])('of %j ends as %s', async (source, status, output) => {
    const result = await run(source);
    expect(result.status).toBe(status);
    expect(result.output).toMatch(output);
  });

  it('repeats exactly: random numbers, hashes and addresses', async () => {
    const source =
      'import random, os\nprint(random.random(), random.Random().random(), hash("a"), id(random), os.urandom(4))';
    const first = await run(source);
    expect(first.status).toBe('ok');
    expect((await run(source)).output).toBe(first.output);
  });
});

describe('limits', () => {
  it('stop an endless loop, also one that swallows the interrupt, and the next run works', async () => {
    const quick = createPythonSandbox({ timeLimitMs: 300 });
    const stubborn = 'while True:\n  try:\n    while True: pass\n  except BaseException: pass';
    for (const source of ['print(1, flush=True)\nwhile True: pass', stubborn]) {
      const result = await quick.run(source);
      expect(result.status).toBe('timeout');
      expect(result.output).toContain('Stopped: it ran longer than 300 ms.');
    }
    expect((await quick.run('print(2)')).output).toBe('2\n');
    await quick.close();
  });

  it('stop a memory bomb, at once or step by step, and the next run works', async () => {
    for (const source of ['bytearray(10**9)', 'a = []\nwhile True: a.append("x" * 10**6)']) {
      const result = await run(source);
      expect(result.status).toBe('memory');
      expect(result.output).toContain('256 MiB');
    }
    expect((await run('print(2)')).output).toBe('2\n');
  });

  it('stop a flood of output, also one that swallows the exception', async () => {
    const swallowing =
      'for i in range(10**5):\n  try: print("x" * 100)\n  except BaseException: pass';
    for (const source of ['while True: print("x" * 1000)', swallowing]) {
      const result = await run(source);
      expect(result.status).toBe('output-limit');
      expect(result.output.length).toBeLessThan(65536 + 200);
      expect(result.output).toContain('more than 65536 characters');
    }
  });

  it('stop files from filling the memory of the host', async () => {
    const source = 'for i in range(100): open(str(i), "wb").write(b"x" * 10**7)';
    expect((await run(`import builtins\n${source}`)).output).toMatch(/No space left/);
    expect((await run('f = open("a", "wb")\nf.truncate(10**9)')).output).toMatch(/No space left/);
  });
});

describe('what the sandbox forbids is denied', () => {
  it.each([
    'import os\nos.system("ls")',
    'import os\nos.popen("ls")',
    'import subprocess\nsubprocess.run(["ls"])',
    'import urllib.request\nurllib.request.urlopen("http://127.0.0.1")',
    'import socket\nsocket.create_connection(("127.0.0.1", 80))',
    'import socket\nsocket.socket()',
    'import js',
    'import pyodide_js',
    'from pyodide.ffi import create_proxy',
    'from pyodide.code import run_js',
    'import _pyodide_core',
    'import ctypes',
    'import gc\ngc.get_objects()',
    'f = lambda: 1\nf.__code__ = (lambda: 2).__code__',
    'f = lambda: 1\nf.__code__.replace(co_name="g")',
  ])('%j', async (source) => {
    const result = await run(source);
    expect(result.output).toMatch(/not allowed in the sandbox|does not support processes/);
    expect(result.status).toBe('denied');
  });
});

describe('agents find no way out', () => {
  const kinds = `
import sys, warnings
warnings.simplefilter("ignore")
def walk(kind, seen):
    for sub in type.__subclasses__(kind):
        if sub not in seen:
            seen.add(sub)
            walk(sub, seen)
    return seen
kinds = [k for k in walk(object, set()) if 'pyodide' in str(getattr(k, '__module__', ''))]
`;

  it('through modules, the importer or the functions of left-over classes', async () => {
    const source = `${kinds}
names = [n for n in sys.modules if n.split('.')[0] in ('js', 'pyodide', 'pyodide_js', '_pyodide', '_pyodide_core')]
finders = [f for f in sys.meta_path if 'pyodide' in type(f).__module__]
functions = [v for k in kinds for v in vars(k).values() if hasattr(v, '__globals__')]
print(names, finders, [f for f in functions if f.__globals__])`;
    expect(await run(source)).toMatchObject({ status: 'ok', output: '[] [] []\n' });
  });

  it.each(['error.constructor', 'error.x = 1'])(
    'through a JavaScript error that JsException makes: %s',
    async (attempt) => {
      const source = `${kinds}
for kind in kinds:
    if kind.__name__ == 'JsException':
        error = kind('TypeError', 'm')
        ${attempt}
        print('reached')`;
      const result = await run(source);
      expect(result).toMatchObject({ status: 'denied' });
      expect(result.output).not.toContain('reached');
    },
  );

  it('through the frames of the audit hook or the runner', async () => {
    const source = `
import sys
def reachable(frame):
    while frame is not None:
        yield from frame.f_globals.values()
        yield from frame.f_locals.values()
        frame = frame.f_back
found = list(reachable(sys._getframe()))
try:
    import js
except ImportError:
    pass
except PermissionError as error:
    trace = error.__traceback__
    while trace is not None:
        found += list(trace.tb_frame.f_globals.values())
        trace.tb_frame.f_globals['SandboxDenied'] = lambda text: None
        trace = trace.tb_next
print([type(v).__name__ for v in found if 'Js' in type(v).__name__ or 'pyodide' in type(v).__module__])
import os
try:
    os.system('ls')
    print('ran')
except BaseException as error:
    print('still refused')`;
    expect(await run(source)).toMatchObject({ status: 'ok', output: '[]\nstill refused\n' });
  });

  it('to files or variables of the host', async () => {
    const source = 'import os\nprint(sorted(os.listdir("/")), dict(os.environ))';
    expect((await run(source)).output).toBe(
      "['dev', 'home', 'lib', 'proc', 'tmp'] {'HOME': '/home/pyodide', 'PYTHONHASHSEED': '0'}\n",
    );
    expect((await run('open("/etc/passwd")')).output).toContain('FileNotFoundError');
  });
});

describe('runs know nothing of one another', () => {
  it.each([
    ['globals', 'x = 1', 'print("x" in globals())', 'False'],
    ['builtins', 'import builtins\nbuiltins.print = None', 'print(1)', '1'],
    ['modules', 'import sys\nsys.modules["math"] = 5', 'import math\nprint(math.floor(1.5))', '1'],
    ['patches', 'import math\nmath.pi = 3', 'import math\nprint(math.pi > 3.1)', 'True'],
    ['seeds', 'import random\nrandom.seed(5)', 'import random\nprint(random.random())', '0.844'],
    ['limits', 'import sys\nsys.setrecursionlimit(50)', 'import json\nprint(json.dumps(1))', '1'],
    ['files', 'open("a", "w").write("b")', 'import os\nprint(os.listdir())', '[]'],
    ['folders', 'import os\nos.makedirs("/tmp/a/b")', 'import os\nprint(os.listdir("/tmp"))', '[]'],
    ['place', 'import os\nos.chdir("/tmp")', 'import os\nprint(os.getcwd())', '/home/pyodide'],
    [
      'library',
      'import os\ntry: os.remove("/lib/python314.zip")\nexcept OSError: pass',
      'import tabnanny\nprint(1)',
      '1',
    ],
    [
      'environment',
      'import os\nos.environ["A"] = "1"',
      'import os\nprint("A" in os.environ)',
      'False',
    ],
  ])('%s', async (_, tamper, look, expected) => {
    expect((await run(tamper)).status).toBe('ok');
    const { output } = await run(look);
    expect(output.startsWith(expected)).toBe(true);
  });

  it('even when fifty of them wait for two interpreters', async () => {
    const pair = createPythonSandbox({ workers: 2 });
    const sources = Array.from({ length: 50 }, (_, i) => `y = ${i}\nprint(y * y, len(globals()))`);
    const results = await Promise.all(sources.map((source) => pair.run(source)));
    const sizes = new Set(results.map(({ output }) => output.split(' ')[1]));
    expect(sizes.size).toBe(1);
    expect(results.map(({ output }) => Number(output.split(' ')[0]))).toEqual(
      sources.map((_, i) => i * i),
    );
    await pair.close();
  });
});

describe('a program that breaks its interpreter', () => {
  it.each(['import os\nos._exit(0)', 'import os\nos.abort()'])(
    'has an error of its own, and the next run works: %j',
    async (source) => {
      expect(await run(source)).toMatchObject({
        status: 'error',
        output: 'The program ended or broke the interpreter it ran in.\n',
      });
      expect((await run('print("hello")')).output).toBe('hello\n');
    },
  );

  it('does not reach the next run with what cannot be tidied up after it', async () => {
    const nest = 'import os\nfor depth in range(300):\n    os.mkdir("d")\n    os.chdir("d")';
    await run(nest);
    expect(await run('print("hello")')).toMatchObject({ status: 'ok', output: 'hello\n' });
  });
});

it('lets a program wait', async () => {
  const source =
    'import time\nbefore = time.monotonic()\ntime.sleep(0.01)\nprint(time.monotonic() - before >= 0.01)';
  expect((await run(source)).output).toBe('True\n');
});

describe('our own failures', () => {
  it('are infrastructure, never the agent’s: a worker that dies in a run', async () => {
    const dying = createPythonSandbox({ workerFile: brokenWorker('process.exit(3)') });
    expect(await dying.run('print(1)')).toMatchObject({
      status: 'infrastructure',
      output: "The Python sandbox failed: the sandbox's thread ended with code 3.\n",
    });
    await dying.close();
  });

  it('are infrastructure: a worker that does not start', async () => {
    const workerFile = new URL('data:text/javascript,throw new Error("no interpreter")');
    const unable = createPythonSandbox({ workerFile });
    const result = await unable.run('print(1)');
    expect(result.status).toBe('infrastructure');
    expect(result.output).toMatch(/did not start within 60000 ms: no interpreter/);
    await unable.close();
  });

  it('end a worker that never answers', async () => {
    const workerFile = brokenWorker('for (;;) {}');
    const silent = createPythonSandbox({ workerFile, timeLimitMs: 50 });
    expect((await silent.run('print(1)')).status).toBe('timeout');
    await silent.close();
  });
});

describe('the caller', () => {
  it('can abort a running and a waiting run', async () => {
    const abort = new AbortController();
    const running = sandbox.run('while True: pass', { signal: abort.signal });
    const waiting = sandbox.run('print(1)', { signal: abort.signal });
    abort.abort(new Error('enough'));
    const outcomes = await Promise.allSettled([running, waiting]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect((await run('print(3)')).output).toBe('3\n');
  });

  it('gets the same through the tool, and an error after closing it', async () => {
    const tool = createPythonTool(createPythonSandbox());
    const place = { actionId: 'a' };
    expect(await tool.run('print(6 * 7)', place)).toMatchObject({ tool: 'python', output: '42\n' });
    await tool.close();
    await expect(tool.run('print(1)', place)).rejects.toThrow(
      'The Python sandbox has been closed.',
    );
  });

  it('is told about a limit that makes no sense', () => {
    expect(() => createPythonSandbox({ workers: 0 })).toThrow(
      'sandbox workers must be a positive integer, got 0.',
    );
  });
});
