"""Nanoseconds per parameter of one optimizer step, beside the floor that memory sets, all in one run.

    python benchmarks/optimizers.py [--threads 1 2] [--rounds 7] [--shapes small resnet large]

Ours, torch's for-loop, foreach and (where torch has one) fused step take turns, round by round; the medians are printed
as ns per parameter and as a ratio to the floor: a pass over the same arrays that does next to nothing. Shapes: 200
tensors of 1,024; the 161 tensors of a ResNet-50 (25.6 million); four of 16.8 million. Results go into a dated record.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import surefoot.torch as ours
import torch
from surefoot.kernels import Program, load, source, tasks
from surefoot.kernels._cpp import ALONE
from surefoot.torch._fused import _openmp

RECORDS = Path(__file__).parent / "records"
METHODS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 1e-3, "momentum": 0.9},
    "Adagrad": {"lr": 1e-3},
    "Adadelta": {"lr": 1e-3},
    "RMSprop": {"lr": 1e-3},
    "Adam": {"lr": 1e-3},
    "AdamW": {"lr": 1e-3},
    "NAdam": {"lr": 1e-3},
    "RAdam": {"lr": 1e-3},
    "Adamax": {"lr": 1e-3},
}
FUSED = ("SGD", "Adagrad", "Adam", "AdamW")
SLOTS = {"SGD": 1, "Adagrad": 1, "RMSprop": 1}


def resnet50() -> list[tuple[int, ...]]:
    """Return the shapes of a ResNet-50's parameters."""
    shapes: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,)]
    width = 64
    for blocks, planes in ((3, 64), (4, 128), (6, 256), (3, 512)):
        for block in range(blocks):
            for out, into, k in ((planes, width, 1), (planes, planes, 3), (4 * planes, planes, 1)):
                shapes += [(out, into, k, k), (out,), (out,)]
            if block == 0:
                shapes += [(4 * planes, width, 1, 1), (4 * planes,), (4 * planes,)]
            width = 4 * planes
    return [*shapes, (1000, 2048), (1000,)]


SHAPES: dict[str, Callable[[], list[tuple[int, ...]]]] = {
    "small": lambda: [(32, 32)] * 200,
    "resnet": resnet50,
    "large": lambda: [(4096, 4096)] * 4,
}


def parameters(shapes: list[tuple[int, ...]]) -> list[torch.Tensor]:
    made = [torch.randn(s).requires_grad_() for s in shapes]
    for p in made:
        p.grad = torch.randn_like(p)
    return made


def floor(shapes: list[tuple[int, ...]], slots: int) -> Callable[[], None]:
    """Return a pass over parameters, gradients and slots that reads all and writes all but the gradients."""
    names = ("x", "g", *(f"s{i}" for i in range(slots)))
    lines = [("a0", "+", ("x", "g")), *((f"a{i + 1}", "+", (f"s{i}", "g")) for i in range(slots))]
    outputs = [("x", "a0"), *((f"s{i}", f"a{i + 1}") for i in range(slots))]
    program = Program(
        arrays=names, lines=tuple(lines), outputs=tuple(outputs), width=0, scalars=lambda _: ([], {}), source=""
    )
    run = load(source(program, "float"), _openmp()).run
    run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int]
    arrays = [[torch.randn(s) * 1e-9 for _ in names] for s in shapes]
    pointers = np.array([[a.data_ptr() for a in row] for row in arrays], dtype=np.uint64)
    sizes = [row[0].numel() for row in arrays]
    work = np.array(tasks(sizes, [0] * len(sizes)), dtype=np.int64)

    def step() -> None:
        threads = torch.get_num_threads() if sum(sizes) >= ALONE else 1
        run(0, pointers.ctypes.data, work.ctypes.data, len(work) // 4, threads)

    step.keep = arrays  # type: ignore[attr-defined]
    return step


def measure(name: str, shapes: list[tuple[int, ...]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each way to take a step."""
    settings = METHODS[name]
    host = getattr(torch.optim, name)
    steps: dict[str, Callable[[], Any]] = {"floor": floor(shapes, SLOTS.get(name, 2))}
    steps["ours"] = getattr(ours, name)(parameters(shapes), **settings).step
    steps["for-loop"] = host(parameters(shapes), foreach=False, **settings).step
    steps["foreach"] = host(parameters(shapes), foreach=True, **settings).step
    if name in FUSED:
        steps["fused"] = host(parameters(shapes), fused=True, **settings).step
    times: dict[str, list[float]] = {way: [] for way in steps}
    repeats = max(1, 2_000_000 // sum(int(np.prod(s)) for s in shapes))
    for round_ in range(rounds + 1):
        for way, step in steps.items():
            began = time.perf_counter()
            for _ in range(repeats):
                step()
            if round_:  # the first is a warm-up
                times[way].append((time.perf_counter() - began) / repeats)
    return {way: statistics.median(t) for way, t in times.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    arguments.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    given = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    for threads in given.threads:
        torch.set_num_threads(threads)
        for shape in given.shapes:
            shapes = SHAPES[shape]()
            count = sum(int(np.prod(s)) for s in shapes)
            print(
                f"\n{shape}: {len(shapes)} tensors, {count / 1e6:.1f} million parameters, {threads} thread(s); ns per parameter (ratio to the floor)"
            )
            for name in given.methods:
                times = measure(name, shapes, given.rounds)
                best = min(t for way, t in times.items() if way not in ("ours", "floor"))
                ns = {way: 1e9 * t / count for way, t in times.items()}
                rows.append(
                    {
                        "shape": shape,
                        "threads": threads,
                        "method": name,
                        "ns": ns,
                        "torch_best_over_ours": best / times["ours"],
                    }
                )
                text = "  ".join(f"{way} {v:6.2f} ({v / ns['floor']:5.2f})" for way, v in ns.items())
                print(f"  {name:9s} {text}   torch's best / ours {best / times['ours']:.2f}", flush=True)
    RECORDS.mkdir(exist_ok=True)
    today = datetime.now(UTC)
    info = Path("/proc/cpuinfo")
    processor = (
        next(
            (line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")),
            platform.machine(),
        )
        if info.exists()
        else platform.machine()
    )
    record = RECORDS / f"{today:%Y-%m-%d}-optimizers.json"
    record.write_text(
        json.dumps(
            {"date": f"{today:%Y-%m-%d %H:%M} UTC", "processor": processor, "torch": torch.__version__, "rows": rows}
        )
        + "\n"
    )
    print(f"\nrecord: {record}")


if __name__ == "__main__":
    main()
