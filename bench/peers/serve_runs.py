"""The Python half of bench/sides/serve-runs.ts."""

import json
import os
import resource
import sys
import time

# Linux counts in KiB, macOS in bytes.
MIB = 1024 if sys.platform == "linux" else 1024 * 1024


def read_work():
    return json.loads(sys.argv[1])


class Turns:
    """Says that this side is ready, then measures a run for each line of the input."""

    def __init__(self, ready):
        self.replies = os.fdopen(3, "w")
        self._send(ready)

    def start(self):
        """Waits until a run is asked for; False when there will be no other."""
        if not sys.stdin.readline():
            return False
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return True

    def finish(self, facts):
        seconds, cpu_seconds = time.perf_counter() - self.wall, time.process_time() - self.cpu
        self._send({"seconds": seconds, "cpuSeconds": cpu_seconds, "facts": facts})

    def _send(self, reply):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
        self.replies.write(json.dumps({**reply, "peakMiB": peak}) + "\n")
        self.replies.flush()


def serve_runs(ready, run):
    """Says that this side is ready, then does one run for each line of the input."""
    turns = Turns(ready)
    while turns.start():
        turns.finish(run())
