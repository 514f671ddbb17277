"""The PyTorch prototypes' side of bench:stages, in one thread: their own code, with the clock read where a stage ends."""

import os
import runpy
import sys
import time

os.environ["NT"] = "1"

import torch

from serve_runs import read_work, serve_runs

work = read_work()
torch.set_num_threads(1)
sys.path.insert(0, work["prototypes"])
os.chdir(work["cache"])


class End(Exception):
    """The stages that are compared are over."""


class StageClock:
    """Stands for the output, whose words say where a stage ends, and how much it did."""

    def __init__(self):
        self.marks = {}
        self.counts = {}
        self.counted = None

    def write(self, text):
        words = text.split()
        if not words:
            return
        if words[0] in ("base", "nodes", "sft", "STaR"):
            self.mark(words[0])
        if text in ("gen tokens", "unique SFT G/V/R", "pairs G/V/R"):
            self.counted = text
        elif self.counted is not None and text.isdigit():
            self.counts.setdefault(self.counted, []).append(int(text))
        else:
            self.counted = None
        if text.startswith("dpo t"):
            self.mark("dpo")
            raise End

    def flush(self):
        pass

    def mark(self, name):
        self.marks[name] = (time.perf_counter(), time.process_time())

    def stage(self, name, start, end, count):
        (wall, cpu), (last_wall, last_cpu) = self.marks[start], self.marks[end]
        return facts(name, last_wall - wall, last_cpu - cpu, count)


def facts(name, seconds, cpu_seconds, count):
    return {f"{name}.seconds": seconds, f"{name}.cpuSeconds": cpu_seconds, f"{name}.count": count}


def malt():
    clock = StageClock()
    sys.argv = ["malt_rec.py", str(work["questions"]), "0", "3", "0", "3e-4", "1e-4"]
    output, sys.stdout = sys.stdout, clock
    try:
        runpy.run_path(os.path.join(work["prototypes"], "malt_rec.py"))
    except End:
        pass
    finally:
        sys.stdout = output
    examples, pairs = clock.counts["unique SFT G/V/R"], clock.counts["pairs G/V/R"]
    return {
        **clock.stage("trees", "base", "nodes", clock.counts["gen tokens"][0]),
        **clock.stage("sft", "nodes", "sft", sum(examples)),
        **clock.stage("dpo", "STaR", "dpo", sum(pairs[1:])),
    }


def maporl():
    sys.argv = ["mp5rl.py"]
    from mp5rl import GPT, V, rl

    # What an update costs does not depend on what was learned: messages are of fixed length.
    base = GPT(V, 20, 96, 2, 4)
    wall, cpu = time.perf_counter(), time.process_time()
    rl([base, base], [0, 1], work["updates"], 0.3, beta0=0.25, bs=work["games"])
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    return facts("updates", seconds, cpu_seconds, work["updates"] * work["games"] * 10)


if work["case"] == "base":
    sys.argv = ["malt_pre.py", "10", "3", "128", "2", "1200", "2e-3", "0.2", "128"]
    runpy.run_path(os.path.join(work["prototypes"], "malt_pre.py"), run_name="__main__")
else:
    serve_runs({}, {"malt": malt, "maporl": maporl}[work["case"]])
