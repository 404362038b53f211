"""One optimizer update through Keras, with its own class and with ours, on the backend that KERAS_BACKEND names.

`python benchmarks/_keras_steps.py` times both side by side, for all methods at two shapes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import keras
import surefoot.keras

Shapes = list[tuple[int, ...]]
METHODS = {
    "SGD": {},
    "SGD momentum": {"momentum": 0.9},
    "Adagrad": {},
    "Adadelta": {},
    "RMSprop": {},
    "Adam": {},
    "AdamW": {},
    "Nadam": {},
    "Adamax": {},
    "Lion": {},
}


def steps(method: str, shapes: Shapes) -> dict[str, Callable[[], None]]:
    """Return one update each, "keras" and "surefoot.keras", of float32 variables with fixed gradients; it blocks."""
    libraries = {"keras": keras.optimizers, "surefoot.keras": surefoot.keras}
    name = method.partition(" ")[0]
    return {label: _step(getattr(library, name)(**METHODS[method]), shapes) for label, library in libraries.items()}


def _step(optimizer: keras.optimizers.Optimizer, shapes: Shapes) -> Callable[[], None]:
    random = np.random.default_rng(0)
    variables = [keras.Variable(random.normal(size=s).astype("float32") * 0.1) for s in shapes]
    grads = [keras.ops.convert_to_tensor(random.normal(size=s).astype("float32")) for s in shapes]
    optimizer.build(variables)
    backend = keras.backend.backend()
    if backend == "jax":
        return _jitted(optimizer, variables, grads)
    if backend == "tensorflow":
        import tensorflow as tf

        function = tf.function(lambda: optimizer.apply(grads, variables), jit_compile=False)
        return lambda: (function(), variables[-1].numpy()[:1], None)[-1]
    return lambda: optimizer.apply(grads, variables)


def _jitted(optimizer: keras.optimizers.Optimizer, variables: list[Any], grads: list[Any]) -> Callable[[], None]:
    import jax

    apply = jax.jit(optimizer.stateless_apply, donate_argnums=(0, 2))
    kept = [[v.value + 0 for v in optimizer.variables], [v.value for v in variables]]

    def step() -> None:
        kept[1], kept[0] = apply(kept[0], grads, kept[1])
        jax.block_until_ready(kept)

    return step


def _medians(functions: dict[str, Callable[[], None]], seconds: float) -> dict[str, float]:
    """Return the median time of each, taken in turns so that both see the same machine."""
    times: dict[str, list[float]] = {label: [] for label in functions}
    for function in functions.values():
        for _ in range(3):
            function()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["keras"]) < 5:
        for label, function in functions.items():
            began = time.perf_counter()
            function()
            times[label].append(time.perf_counter() - began)
    return {label: statistics.median(values) for label, values in times.items()}


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    print(f"{keras.backend.backend()}, Keras {keras.__version__}: ms per update, Keras' own, ours, ratio")
    for title, shapes in (("200 of 32 x 32", [(32, 32)] * 200), ("4 of 2048 x 2048", [(2048, 2048)] * 4)):
        for method in METHODS:
            ms = {label: 1e3 * t for label, t in _medians(steps(method, shapes), seconds).items()}
            own, ours = ms["keras"], ms["surefoot.keras"]
            print(f"{title:18}{method:14}{own:9.3f}{ours:9.3f}{ours / own:7.2f}", flush=True)
