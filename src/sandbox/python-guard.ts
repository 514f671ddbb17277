/**
 * Python that runs once in a fresh interpreter, before any agent's code: it makes the runner, cuts the bridge to
 * JavaScript and installs the audit hook. The last expression is the runner, a function from source code to a string:
 * one letter for the status, then the output.
 */
export const pythonGuard = String.raw`
import sys, os, io, gc, errno, builtins, random, traceback, linecache, types, asyncio
import math, json, re, itertools, functools, collections, fractions, decimal, statistics, string, datetime, time

class SandboxDenied(PermissionError):
    pass

class OutputLimit(BaseException):
    pass

def make_runner(output_limit):
    class Output(io.TextIOBase):
        encoding = 'utf-8'
        errors = 'surrogatepass'
        def __init__(self):
            self.parts = []
            self.room = output_limit
        def writable(self):
            return True
        def write(self, text):
            if not isinstance(text, str):
                raise TypeError(f"write() argument must be str, not {type(text).__name__}")
            if self.room < 0:
                raise OutputLimit()
            self.parts.append(text[:self.room])
            self.room -= len(text)
            if self.room < 0:
                raise OutputLimit()
            return len(text)

    def is_denied(error):
        seen = set()
        while error is not None and id(error) not in seen:
            # subprocess says ENOTSUP before it reaches the audit hook.
            if isinstance(error, SandboxDenied) or getattr(error, 'errno', None) == errno.ENOTSUP:
                return True
            seen.add(id(error))
            error = error.__cause__ or error.__context__
        return False

    def describe(error):
        # The first frame is the runner's own; frames of the audit hook are no news to an agent either.
        stack = traceback.TracebackException(type(error), error, error.__traceback__.tb_next)
        part = stack
        while part is not None:
            part.stack[:] = [frame for frame in part.stack if frame.filename != '<sandbox>']
            part = part.__cause__ or part.__context__
        return ''.join(stack.format())

    def run(source):
        output = Output()
        sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = output
        linecache.cache['<python>'] = (len(source), None, source.splitlines(True), '<python>')
        main = types.ModuleType('__main__')
        main.__builtins__ = builtins
        sys.modules['__main__'] = main
        status, trailer = 'o', ''
        try:
            exec(compile(source, '<python>', 'exec'), main.__dict__)
        except OutputLimit:
            status = 'l'
        except MemoryError:
            status = 'm'
        except KeyboardInterrupt:
            status = 'k'
        except SystemExit as error:
            if error.code not in (None, 0, False):
                status, trailer = 'e', f'SystemExit: {error.code}\n'
        except BaseException as error:
            status = 'd' if is_denied(error) else 'e'
            trailer = describe(error)
        if output.room < 0:
            status = 'l'
        return status + ''.join(output.parts) + trailer
    return run

def make_hook():
    # Sets of constants compile into the hook's own code, and anything wrong with SandboxDenied would still raise:
    # nothing that agents' code can reach makes the hook pass.
    def hook(event, arguments):
        if event in {
            'os.system', 'os.exec', 'os.fork', 'os.forkpty', 'os.posix_spawn', 'os.spawn', 'os.kill', 'pty.spawn',
            'subprocess.Popen', 'socket.__new__', 'socket.connect', 'socket.bind', 'socket.getaddrinfo',
            'socket.gethostbyname', 'socket.gethostbyaddr', 'socket.getnameinfo', 'socket.sendto',
            'ctypes.dlopen', 'ctypes.dlsym', 'gc.get_objects', 'gc.get_referrers', 'gc.get_referents',
            'sys.addaudithook', 'sys.settrace', 'sys.setprofile', 'sys.monitoring.register_callback',
            'code.__new__', 'marshal.loads', 'marshal.load',
        }:
            raise SandboxDenied(f'{event} is not allowed in the sandbox')
        if event == 'import' and arguments[0] in {
            'js', 'pyodide_js', 'pyodide', '_pyodide', '_pyodide_core', 'ctypes', '_ctypes', '_testcapi',
            '_testinternalcapi', '_testlimitedcapi', '_interpreters', '_posixsubprocess',
        }:
            raise SandboxDenied(f'import of {arguments[0]} is not allowed in the sandbox')
        if event == 'object.__setattr__' and arguments[1] == '__code__':
            raise SandboxDenied('changing the code of a function is not allowed in the sandbox')
    return hook

def close_bridge():
    bridge = [name for name in sys.modules
              if name.split('.')[0] in ('js', 'pyodide_js', 'pyodide', '_pyodide', '_pyodide_core')]
    sys.meta_path[:] = [finder for finder in sys.meta_path if not type(finder).__module__.startswith('_pyodide')]
    # The patched one asks JavaScript whether it may wait.
    time.sleep = getattr(time.sleep, '__wrapped__', time.sleep)
    asyncio.run = asyncio.runners.run
    asyncio.set_event_loop(None)
    for name in bridge:
        module = sys.modules.pop(name)
        try:
            contents = vars(module)
        except TypeError:
            continue
        contents.clear()
    # Classes survive through object.__subclasses__(): empty those written in Python.
    for kind in object.__subclasses__():
        pending = [kind]
        while pending:
            current = pending.pop()
            if getattr(current, '__module__', '').split('.')[0] in ('pyodide', '_pyodide'):
                for name in list(vars(current)):
                    if isinstance(vars(current)[name], (types.FunctionType, classmethod, staticmethod, property)):
                        try:
                            delattr(current, name)
                        except (AttributeError, TypeError):
                            pass
            pending += type.__subclasses__(current)

def prepare(output_limit):
    # random and the hash seed repeat in every run; the environment of the host is not there.
    os.environ.clear()
    os.environ.update({'HOME': '/home/pyodide', 'PYTHONHASHSEED': '0'})
    os.chdir('/home/pyodide')
    runner = make_runner(output_limit)
    close_bridge()
    import __main__
    vars(__main__).clear()
    random.seed(0)
    gc.collect()
    sys.addaudithook(make_hook())
    return runner
prepare
`;
