"""A rule's step on a whole model as one vector: for JAX and TensorFlow, and for what torch's kernels do not take."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import keras
from surefoot.rules import Vector

if TYPE_CHECKING:
    from surefoot.keras._step import RuleStep

ops: Any = keras.ops


def take_vector_step(optimizer: RuleStep, grads: Sequence[Any], variables: Sequence[Any], learning_rate: Any) -> bool:
    """Update variables and slots in place and return True: each scalar is computed once, not once a variable.

    Everything is computed in float32, or float64 if any variable has it: half precision is only how values are kept.
    """
    dtype = compute_dtype(variables)

    def read(variable: Any) -> Any:
        return value_of(variable, dtype)

    kept = optimizer.slots_for(variables)
    with _outside_of_autograd():
        t, lr = ops.cast(optimizer.iterations, dtype) + 1, read(learning_rate)
        if optimizer.decay:
            lr = lr / (1.0 + optimizer.decay * (t - 1))
        factors = optimizer.factors_of(variables)
        if factors is not None:
            lr = Vector(lr * factor for factor in factors)
        x, g = Vector(map(read, variables)), Vector(map(read, grads))
        decay = optimizer.coupled_decay
        if decay:
            rows = zip(x.leaves, g.leaves, optimizer.are_decayed(variables), strict=True)
            g = Vector(b + decay * a if is_decayed else b for a, b, is_decayed in rows)
        slots = {n: Vector(map(read, v)) if isinstance(v, Sequence) else read(v) for n, v in kept.items()}
        dx, new = optimizer.rule.step(x, g, t, lr, **slots)
        if optimizer.inner_decay and not decay:
            decays = Vector(optimizer.inner_decay if is_on else 0.0 for is_on in optimizer.are_decayed(variables))
            dx = dx - optimizer.rule.effective_lr(lr, t, **new) * (decays * x)
        for name, value in new.items():
            if value is not slots[name]:
                _assign(optimizer, kept[name], value)
        for variable, before, change in zip(variables, x.leaves, dx.leaves, strict=True):
            if _dtype(variable) == dtype:
                optimizer.assign_add(variable, change)  # in place where the backend can
            else:
                optimizer.assign(variable, ops.cast(before + change, _dtype(variable)))
    return True


def value_of(variable: Any, dtype: str) -> Any:
    """Return the value of a variable of Keras or of TensorFlow, or a tensor, in a type."""
    value = getattr(variable, "value", variable)
    return ops.cast(variable if callable(value) else value, dtype)  # a method where it is a tf.Variable


def compute_dtype(variables: Sequence[Any]) -> str:
    """Return the type in which steps of these variables are computed."""
    return "float64" if any(_dtype(v) == "float64" for v in variables) else "float32"


def is_sparse(g: Any) -> bool:
    """Whether a gradient holds only the rows that were used (an embedding's, in TensorFlow)."""
    return bool(getattr(g, "is_sparse", hasattr(g, "indices")))  # torch's dense tensors have `indices` too


def dense(g: Any) -> Any:
    """Return a gradient with all its rows."""
    if not is_sparse(g):
        return g
    if keras.backend.backend() == "tensorflow":
        return sys.modules["tensorflow"].convert_to_tensor(g)
    return g.to_dense() if hasattr(g, "to_dense") else g.todense()


def is_distributed() -> bool:
    """Whether a `tf.distribute` strategy hands out the work, one copy of each variable per device."""
    return keras.backend.backend() == "tensorflow" and sys.modules["tensorflow"].distribute.has_strategy()


def outside_of_graphs() -> Any:
    """Return a context in which values are read as they are now, though TensorFlow may be tracing a function."""
    return sys.modules["tensorflow"].init_scope() if keras.backend.backend() == "tensorflow" else nullcontext()


def _outside_of_autograd() -> Any:
    return sys.modules["torch"].no_grad() if keras.backend.backend() == "torch" else nullcontext()


def _assign(optimizer: RuleStep, kept: Any, value: Any) -> None:
    if not isinstance(kept, Sequence):
        optimizer.assign(kept, value)
        return
    for variable, leaf in zip(kept, value.leaves, strict=True):
        optimizer.assign(variable, ops.cast(leaf, _dtype(variable)))


def _dtype(variable: Any) -> str:
    return keras.backend.standardize_dtype(variable.dtype)
