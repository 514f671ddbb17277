/**
 * Python that runs one program of an agent in a process of its own, under limits, and reports what became of it and of
 * its files. It runs inside a sandbox and reads its orders from `request`; the answer is a frame: the length of a JSON
 * header as four bytes, the header, then the contents of the files it names (read-frame.ts).
 *
 * It outlives the program: whatever the program leaves running is killed, then the files are collected. Symbolic links,
 * sockets and devices are never collected, so nothing but plain files ever leaves.
 */
export const pythonRunner = `
import json, os, resource, select, signal, stat, struct, subprocess, sys, time

# Runs in the program's process before it and says of what kind an exception was that ended it: what the program prints
# says nothing. Whoever writes there on purpose can only put a limit or a refusal in the place of his own mistake.
report = '''
import os, sys
def install(number, owner=os.getpid(), show=sys.excepthook):
    def kind(error, seen=()):
        if error is None or error in seen:
            return b'e'
        if isinstance(error, MemoryError):
            return b'm'
        if isinstance(error, PermissionError) or getattr(error, 'errno', None) in (1, 13, 30, 101, -2, -3):
            return b'd'
        return kind(error.__cause__ or error.__context__, (*seen, error))
    def hook(kind_of, error, trace):
        if os.getpid() == owner:
            try:
                os.write(number, kind(error))
            except (OSError, RecursionError):
                pass  # Then it is an error like any other.
        show(kind_of, error, trace)
    sys.excepthook = hook
'''

def place_report(request, number):
    folder = os.path.join(os.path.dirname(request['programFile']), 'teamtune-report')
    os.mkdir(folder, 0o755)
    with open(os.path.join(folder, 'sitecustomize.py'), 'w') as file:
        file.write(report + f'install({number})\\n')
    return folder + os.pathsep + request['environment']['PYTHONPATH']

def read_report(reader):
    os.set_blocking(reader, False)
    try:
        return {b'm': 'memory', b'd': 'denied'}.get(os.read(reader, 1))
    except BlockingIOError:
        return None

def restrict(request):
    memory, size = request['memoryBytes'], request['workspaceBytes']
    seconds = int(request['timeLimitSeconds']) + 1
    for limit, value in (
        (resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, size), (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_NPROC, request['processes']),
    ):
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    if request['user']:
        os.setgroups([])
        os.setresgid(request['user'], request['user'], request['user'])
        os.setresuid(request['user'], request['user'], request['user'])

def hide():
    # Programs of the same user can neither read this process's memory nor write into its pipes.
    try:
        import ctypes
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass

def copy_in(source, target):
    for name in os.listdir(source):
        here, there = os.path.join(source, name), os.path.join(target, name)
        if os.path.isdir(here):
            os.mkdir(there, 0o777)
            copy_in(here, there)
        else:
            with open(here, 'rb') as reader, open(there, 'wb') as writer:
                while True:
                    block = reader.read(1 << 20)
                    if not block:
                        break
                    writer.write(block)
            os.chmod(there, 0o666)

class TooMuch(Exception):
    pass

def look(request, unnamed):
    """Path to (state, full path) of every plain file; names that cannot be printed are put into the list of unnamed."""
    files, size, pending = {}, 0, [(request['workspace'], '', 0)]
    while pending:
        folder, prefix, depth = pending.pop()
        try:
            entries = list(os.scandir(folder))
        except PermissionError:
            os.chmod(folder, 0o700)
            entries = list(os.scandir(folder))
        for entry in entries:
            path, kind = prefix + entry.name, entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(kind.st_mode):
                if depth >= 8 or len(files) + len(pending) > request['workspaceFiles']:
                    raise TooMuch()
                pending.append((entry.path, path + '/', depth + 1))
            elif stat.S_ISREG(kind.st_mode) and not path.isprintable():
                unnamed.append(path)
            elif stat.S_ISREG(kind.st_mode) and path not in request['hidden']:
                size += kind.st_size
                files[path] = ((kind.st_ino, kind.st_size, kind.st_mtime_ns, kind.st_ctime_ns), entry.path)
                if size > request['workspaceBytes'] or len(files) > request['workspaceFiles']:
                    raise TooMuch()
    return files

def processes():
    return [int(name) for name in os.listdir('/proc') if name.isdigit()]

def used_memory(mine):
    total = 0
    for pid in processes():
        if pid in mine:
            continue
        try:
            with open(f'/proc/{pid}/status') as status:
                fields = dict(line.split(':', 1) for line in status)
            total += sum(int(fields[name].split()[0]) for name in ('RssAnon', 'RssShmem')) * 1024
        except (OSError, KeyError, ValueError):
            pass  # It has just ended.
    return total

def end_all(request, child, mine):
    if not request['isAlone']:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        return
    # In a process namespace of its own, everything but its first process and this one is the program's.
    for _ in range(200):
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            return
        child.poll()
        if not set(processes()) - mine:
            return
        time.sleep(0.005)

def watch(request, child, reader):
    """What the program printed, and which limit stopped it, if any."""
    printed, room, started = [], request['outputBytes'], time.monotonic()
    mine, looked = {1, os.getpid()}, 0.0
    while True:
        ready, _, _ = select.select([reader], [], [], 0.02)
        block = os.read(reader, 65536) if ready else None
        if block:
            printed.append(block[:room])
            room -= len(block)
            if room < 0:
                return printed, 'output-limit'
        if block == b'' or (block is None and child.poll() is not None):
            if child.poll() is not None:
                return printed, None
        now = time.monotonic()
        if now - started > request['timeLimitSeconds']:
            return printed, 'timeout'
        if request['isAlone'] and now - looked > 0.05:
            looked = now
            if used_memory(mine) > request['memoryBytes']:
                return printed, 'memory'
        if block == b'':
            time.sleep(0.005)

def run(request):
    hide()
    os.umask(0)
    workspace = request['workspace']
    if request['input']:
        copy_in(request['input'], workspace)
    before = look(request, [])
    with open(request['programFile'], 'w', encoding='utf-8', errors='surrogatepass') as file:
        file.write(request['program'])
    reader, writer = os.pipe()
    report_reader, report_writer = os.pipe()
    environment = {**request['environment'], 'PYTHONPATH': place_report(request, report_writer)}
    started = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, '-u', request['programFile']], stdin=subprocess.DEVNULL, stdout=writer, stderr=writer,
        cwd=workspace, env=environment, start_new_session=True, umask=0o022, pass_fds=[report_writer],
        preexec_fn=lambda: restrict(request))
    os.close(writer)
    os.close(report_writer)
    printed, stopped = watch(request, child, reader)
    end_all(request, child, {1, os.getpid()})
    code = child.wait()
    seconds = time.monotonic() - started
    if code == -signal.SIGXCPU:
        stopped = stopped or 'timeout'
    written, removed, unnamed = {}, [], []
    try:
        after = look(request, unnamed)
        written = {path: full for path, (state, full) in after.items() if path not in before or before[path][0] != state}
        removed = [path for path in before if path not in after]
    except TooMuch:
        stopped = stopped or 'file-limit'
    contents = []
    for path, full in written.items():
        try:
            file = open(full, 'rb')
        except PermissionError:
            os.chmod(full, 0o600)
            file = open(full, 'rb')
        with file:
            contents.append(file.read())
    header = json.dumps({
        'stopped': stopped, 'code': code, 'seconds': seconds, 'raised': read_report(report_reader), 'unnamed': len(unnamed),
        'output': b''.join(printed).decode('utf-8', 'replace'),
        'files': [[path, len(content)] for path, content in zip(written, contents)], 'removed': removed,
    }).encode()
    return b''.join([struct.pack('>I', len(header)), header, *contents])
`;
