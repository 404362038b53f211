"""One optimizer update through Keras, with its own class and with ours, on the backend that KERAS_BACKEND names.

`optimizers.py` times both side by side.
"""

from __future__ import annotations

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
