"""The Python half of bench/sides/serve-runs.ts."""

import json
import os
import resource
import sys
import time

REPLIES = os.fdopen(3, "w")
# Linux counts in KiB, macOS in bytes.
MIB = 1024 if sys.platform == "linux" else 1024 * 1024


def read_work():
    return json.loads(sys.argv[1])


def send(reply):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    REPLIES.write(json.dumps({**reply, "peakMiB": peak}) + "\n")
    REPLIES.flush()


def serve_runs(ready, run):
    """Says that this side is ready, then does one run for each line of the input."""
    send(ready)
    for _ in sys.stdin:
        start, cpu_start = time.perf_counter(), time.process_time()
        facts = run()
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        send({"seconds": seconds, "cpuSeconds": cpu_seconds, "facts": facts})
