"""One optimizer step in JAX, by optax and by surefoot.optax: what `optimizers.py` times side by side.

    python benchmarks/_optax_steps.py [--rounds 21] [--methods adam ...]

prints the medians alone. Both are jitted with donated parameters and state, as in training.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import optax
import surefoot.optax

METHODS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9},
    "adagrad": {},
    "adadelta": {},
    "rmsprop": {},
    "adam": {},
    "adamw": {},
    "nadam": {},
    "radam": {},
    "adamax": {},
    "lion": {},
}
SHAPES: dict[str, list[tuple[int, ...]]] = {"small": [(32, 32)] * 200, "large": [(4096, 4096)]}


def steps(method: str, shapes: list[tuple[int, ...]]) -> dict[str, Callable[[], None]]:
    """Return, by library, a function that takes one step on float32 parameters of these shapes and waits for it."""
    return {
        "optax": _step(getattr(optax, method)(1e-3, **METHODS[method]), shapes),
        "surefoot.optax": _step(getattr(surefoot.optax, method)(1e-3, **METHODS[method]), shapes),
    }


def _step(optimizer: optax.GradientTransformation, shapes: list[tuple[int, ...]]) -> Callable[[], None]:
    random = np.random.default_rng(0)
    make = [random.standard_normal(shape, np.float32) for shape in shapes]
    gradients = [jax.numpy.asarray(random.standard_normal(shape, np.float32)) for shape in shapes]
    parameters = [jax.numpy.array(x) for x in make]
    held = [(parameters, optimizer.init(parameters))]

    def advance(parameters: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state

    compiled = jax.jit(advance, donate_argnums=(0, 1))

    def step() -> None:
        held[0] = jax.block_until_ready(compiled(*held[0], gradients))

    step()  # compiles
    return step


def medians(method: str, shapes: list[tuple[int, ...]], rounds: int) -> dict[str, float]:
    """Return the median seconds of a step; the two take turns."""
    ways = steps(method, shapes)
    times: dict[str, list[float]] = {way: [] for way in ways}
    repeats = max(1, 3_000_000 // sum(int(np.prod(shape)) for shape in shapes))
    for round_ in range(rounds + 1):
        for way, step in ways.items():
            began = time.perf_counter()
            for _ in range(repeats):
                step()
            if round_:  # the first is a warm-up
                times[way].append((time.perf_counter() - began) / repeats)
    return {way: statistics.median(t) for way, t in times.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=21)
    arguments.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    arguments.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    given = arguments.parse_args()
    for shape in given.shapes:
        for method in given.methods:
            times = medians(method, SHAPES[shape], given.rounds)
            ratio = times["surefoot.optax"] / times["optax"]
            text = "  ".join(f"{way} {1e3 * t:8.3f} ms" for way, t in times.items())
            print(f"{shape:6s} {method:9s} {text}  ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
