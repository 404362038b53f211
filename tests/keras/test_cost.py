"""What a compiled update costs on JAX, beside Keras' own: not measured in time, which is noise, but read off XLA."""

import re
from typing import Any

import numpy as np
import pytest

import keras
import surefoot.keras

SHAPES = [(1000,), (512, 64), (3, 3, 16, 16)] * 2
METHODS: dict[str, dict[str, Any]] = {
    "SGD": {},
    "SGD momentum": {"momentum": 0.9},
    "SGD nesterov": {"momentum": 0.9, "nesterov": True},
    "Adagrad": {},
    "Adadelta": {},
    "RMSprop": {},
    "RMSprop centered": {"centered": True, "momentum": 0.9},
    "Adam": {},
    "Adam amsgrad": {"amsgrad": True},
    "AdamW": {},
    "Nadam": {},
    "Adamax": {},
    "Lion": {},
}
MORE = {"RMSprop centered": 1}  # operations per element; what takes time are the bytes, and those are the same


def cost(library: Any, method: str) -> dict[str, float]:
    """Return what XLA says of one jitted and donated update: operations, bytes moved, passes over memory."""
    import jax

    optimizer = getattr(library, method.partition(" ")[0])(**METHODS[method])
    random = np.random.default_rng(0)
    variables = [keras.Variable(random.normal(size=s).astype("float32")) for s in SHAPES]
    gradients = [keras.ops.convert_to_tensor(random.normal(size=s).astype("float32")) for s in SHAPES]
    optimizer.build(variables)
    update = jax.jit(optimizer.stateless_apply, donate_argnums=(0, 2))
    compiled = update.lower([v.value for v in optimizer.variables], gradients, [v.value for v in variables]).compile()
    analysis, text = compiled.cost_analysis(), compiled.as_text()
    return {
        "operations": analysis["flops"],
        "bytes": analysis["bytes accessed"],
        "roots": analysis.get("transcendentals", 0.0),
        "fusions": len(re.findall(r"fusion\(", text)),
        "copies": len(re.findall(r"\bcopy\(", text)),
    }


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="it is XLA's account of the compiled step")
@pytest.mark.parametrize("method", METHODS)
def test_the_compiled_update_does_no_more_than_keras(method):
    ours, theirs = cost(surefoot.keras, method), cost(keras.optimizers, method)
    scalars = 32  # of an update: some operations, and their four bytes, whatever the model's size
    elements = sum(int(np.prod(shape)) for shape in SHAPES)
    assert ours["operations"] <= theirs["operations"] + scalars + MORE.get(method, 0) * elements
    assert ours["bytes"] <= theirs["bytes"] + 4 * scalars
    assert ours["roots"] <= theirs["roots"] + scalars
    assert ours["fusions"] <= theirs["fusions"] + 1  # one for scalars
    assert ours["copies"] <= theirs["copies"] + 1
