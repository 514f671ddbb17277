"""Writes fixtures/numpy-choice.json: samples without replacement of numpy's legacy generator.

Run with numpy (2.x was used; the legacy generator is frozen, NEP 19): python3 test/parity/make_numpy_fixture.py
"""

import json
from pathlib import Path

import numpy

SAMPLES = [(42, 933, 512), (0, 10, 4), (4294967295, 1300, 7), (7, 5, 5), (1, 1, 1)]


def sample(seed: int, population: int, count: int) -> dict:
    numpy.random.seed(seed)
    chosen = numpy.random.choice(population, count, replace=False)
    return {"seed": seed, "population": population, "chosen": chosen.tolist()}


path = Path(__file__).parent / "fixtures" / "numpy-choice.json"
path.write_text(json.dumps([sample(*one) for one in SAMPLES], separators=(",", ":")) + "\n")
