"""Nanoseconds per parameter of one optimizer step, beside the floor that memory sets, all in one run.

    python benchmarks/optimizers.py [--threads 1 2] [--rounds 7] [--shapes small resnet large] [--frameworks torch jax …]

Ours and the hosts' own ways take turns, round by round; the medians are printed as ns per parameter and as a ratio to
the floor: a pass over the same arrays that does next to nothing. Shapes: 200 tensors of 1,024; the 161 tensors of a
ResNet-50 (25.6 million); four of 16.8 million. Each framework runs in a process of its own. `--compile` adds torch's
compiled step (at the large shape; it takes minutes to compile many small tensors). Results go into a dated record.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.kernels import Batch, Kernel, bundled_openmp, take_step, trace
from surefoot.rules import Rule

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
SLOTS = ("m", "v")
ONE_SLOT = ("SGD", "Adagrad", "RMSprop")
FRAMEWORKS = ("torch", "jax", "keras-jax", "keras-torch", "keras-tensorflow")
OURS = {"torch": "ours", "jax": "surefoot.optax"} | dict.fromkeys(FRAMEWORKS[2:], "surefoot.keras")
WARMUP = 10  # steps; the first five of RAdam are plain momentum, which torch and optax take in less time
Steps = dict[str, Callable[[], Any]]


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


@dataclass(frozen=True)
class Touch(Rule):
    """Reads everything, and writes all but the gradient."""

    slots: tuple[str, ...]

    def init(self, x: Any) -> dict[str, Any]:
        return dict.fromkeys(self.slots, 0.0 * x)

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, dict[str, Any]]:
        del x, t, lr
        return g, {name: s + g for name, s in slots.items()}


def floor(shapes: list[tuple[int, ...]], slots: int, threads: int, openmp: str | None) -> Callable[[], None]:
    """Return a pass over parameters, gradients and slots that does next to nothing."""
    program = trace(Touch(SLOTS[:slots]))
    arrays = [[np.full(s, 1e-9, np.float32) for _ in program.arrays] for s in shapes]
    sizes = [row[0].size for row in arrays]
    batch = Batch(Kernel(program, "float", openmp), [program], sizes, [0] * len(sizes))
    batch.pointers[:] = [[a.ctypes.data for a in row] for row in arrays]

    def step(keep: Any = arrays) -> None:
        del keep
        take_step([batch], [[{"t": 1.0, "lr": 0.0}]], threads)

    return step


def torch_steps(method: str, shapes: list[tuple[int, ...]], *, is_compiled: bool) -> Steps:
    import surefoot.torch as ours
    import torch

    def parameters() -> list[torch.Tensor]:
        made = [torch.randn(s).requires_grad_() for s in shapes]
        for p in made:
            p.grad = torch.randn_like(p)
        return made

    settings, host = METHODS[method], getattr(torch.optim, method)
    steps: Steps = {"ours": getattr(ours, method)(parameters(), **settings).step}
    steps["for-loop"] = host(parameters(), foreach=False, **settings).step
    steps["foreach"] = host(parameters(), foreach=True, **settings).step
    if method in FUSED:
        steps["fused"] = host(parameters(), fused=True, **settings).step
    if is_compiled:
        settings = {**settings, "lr": torch.tensor(settings["lr"])}  # a number would compile again when it changes
        steps["compiled"] = torch.compile(host(parameters(), **settings).step)
    return steps


def steps_of(framework: str, method: str, shapes: list[tuple[int, ...]], *, is_compiled: bool) -> Steps:
    """Return the ways of one framework to take a step."""
    if framework == "torch":
        return torch_steps(method, shapes, is_compiled=is_compiled)
    if framework == "jax":
        return dict(importlib.import_module("_optax_steps").steps(method.lower(), shapes))
    names = {"SGD": "SGD momentum", "NAdam": "Nadam"}
    return dict(importlib.import_module("_keras_steps").steps(names.get(method, method), shapes))


def measure(steps: Steps, rounds: int, repeats: int) -> dict[str, float]:
    """Return the median seconds of each way; they take turns."""
    times: dict[str, list[float]] = {way: [] for way in steps}
    for step in steps.values():
        for _ in range(WARMUP):
            step()
    for _ in range(rounds):
        for way, step in steps.items():
            began = time.perf_counter()
            for _ in range(repeats):
                step()
            times[way].append((time.perf_counter() - began) / repeats)
    return {way: statistics.median(t) for way, t in times.items()}


def child(framework: str, threads: int, given: argparse.Namespace) -> None:
    """Measure one framework in this process; print a line of JSON for each method and shape."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # JAX and TensorFlow ask for the processors
    openmp = None
    if framework == "torch":
        import torch

        torch.set_num_threads(threads)
        openmp = bundled_openmp(torch.__file__)
    for shape in given.shapes:
        shapes = SHAPES[shape]()
        count = sum(int(np.prod(s)) for s in shapes)
        for method in given.methods:
            if framework.startswith("keras") and method == "RAdam":  # Keras has none
                continue
            steps = {"floor": floor(shapes, 1 if method in ONE_SLOT else 2, threads, openmp)}
            steps |= steps_of(framework, method, shapes, is_compiled=given.compile and shape == "large")
            times = measure(steps, given.rounds, max(1, 2_000_000 // count))
            host = min(t for way, t in times.items() if way not in (OURS[framework], "floor", "compiled"))
            row = {"framework": framework, "shape": shape, "threads": threads, "method": method}
            row["ns"] = {way: round(1e9 * t / count, 4) for way, t in times.items()}
            row["host_over_ours"] = round(host / times[OURS[framework]], 3)
            row["ours_over_floor"] = round(times[OURS[framework]] / times["floor"], 3)
            print(json.dumps(row), flush=True)


def run_child(framework: str, threads: int, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Run one framework in a process of its own, and show its lines as they come."""
    command = [sys.executable, __file__, "--child", framework, "--threads", str(threads), "--rounds", str(given.rounds)]
    command += ["--shapes", *given.shapes, "--methods", *given.methods, *(["--compile"] if given.compile else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if framework.startswith("keras-"):
        environment["KERAS_BACKEND"] = framework.removeprefix("keras-")
    rows: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout or ():
            if not line.startswith("{"):
                continue
            row = json.loads(line)
            rows.append(row)
            ns = row["ns"]
            text = "  ".join(f"{way} {v:6.2f} ({v / ns['floor']:5.2f})" for way, v in ns.items())
            print(f"  {row['shape']:7s}{row['method']:9s}{text}   host / ours {row['host_over_ours']:.2f}", flush=True)
    if process.returncode:
        sys.exit(f"{framework} failed with {process.returncode}")
    return rows


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    arguments.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    arguments.add_argument("--frameworks", nargs="+", default=list(FRAMEWORKS[:4]), choices=FRAMEWORKS)
    arguments.add_argument("--compile", action="store_true", help="torch.compile of torch's step, at the large shape")
    arguments.add_argument("--record", type=Path, help="default: benchmarks/records/<date>-optimizers.json")
    arguments.add_argument("--child", choices=FRAMEWORKS, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.child:
        child(given.child, given.threads[0], given)
        return
    rows: list[dict[str, Any]] = []
    for framework in given.frameworks:
        for threads in given.threads:
            print(f"\n{framework}, {threads} thread(s); ns per parameter (ratio to the floor)")
            rows += run_child(framework, threads, given)
    today = datetime.now(UTC)
    record = given.record or RECORDS / f"{today:%Y-%m-%d}-optimizers.json"
    record.parent.mkdir(exist_ok=True)
    versions = {name: importlib.metadata.version(name) for name in ("torch", "jax", "optax", "keras", "numpy")}
    kept = {"date": f"{today:%Y-%m-%d %H:%M} UTC", "processor": processor(), "versions": versions}
    record.write_text(json.dumps({**kept, "rounds": given.rounds, "rows": rows}) + "\n")
    print(f"\nrecord: {record}")


if __name__ == "__main__":
    main()
