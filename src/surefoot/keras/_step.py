"""The one driver: a rule takes the step of a Keras optimizer, on every backend.

Keras calls `_backend_update_step` with all gradients and variables at once, when it has unscaled, accumulated and
clipped the gradients and let the weights decay; moving averages and constraints come after. The method is private, and
the only one that sees the whole model on every backend.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import keras
from keras import ops

from surefoot.rules import Rule, Vector


class RuleStep(keras.optimizers.Optimizer):
    """Mixed into a Keras optimizer: a rule takes its step."""

    @property
    def rule(self) -> Rule:
        """The rule with the present settings; every step asks anew."""
        raise NotImplementedError

    def slots_for(self, variables: Sequence[Any]) -> dict[str, Any]:
        """Return by the rule's names the Keras variables of the slots: a list, or for a number a single one."""
        raise NotImplementedError

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        is_ours = not is_distributed() and not any(is_sparse(g) for g in grads)
        if not (is_ours and take_step(self, grads, trainable_variables, learning_rate)):
            self._host_step(grads, trainable_variables, learning_rate)

    def _host_step(self, grads: Any, variables: Any, learning_rate: Any) -> None:
        """Take the step without us, where a rule cannot: Keras' own."""
        super()._backend_update_step(grads, variables, learning_rate)


def take_vector_step(optimizer: RuleStep, grads: Sequence[Any], variables: Sequence[Any], learning_rate: Any) -> bool:
    """Update variables and slots in place: the model is one vector, so that each scalar is computed once.

    Everything is computed in float32, or float64 if any variable has it: half precision is only how values are kept.
    """
    dtype = compute_dtype(variables)

    def read(variable: Any) -> Any:
        return ops.cast(getattr(variable, "value", variable), dtype)

    t, lr = ops.cast(optimizer.iterations + 1, dtype), read(learning_rate)
    x, g = Vector(map(read, variables)), Vector(map(read, grads))
    kept = optimizer.slots_for(variables)
    slots = {n: Vector(map(read, v)) if isinstance(v, Sequence) else read(v) for n, v in kept.items()}
    dx, new = optimizer.rule.step(x, g, t, lr, **slots)
    for name, value in new.items():
        if value is not slots[name]:
            _assign(optimizer, kept[name], value)
    for variable, before, change in zip(variables, x.leaves, dx.leaves, strict=True):
        if _dtype(variable) == dtype:
            optimizer.assign_add(variable, change)  # in place where the backend can
        else:
            optimizer.assign(variable, ops.cast(before + change, _dtype(variable)))
    return True


if keras.backend.backend() == "torch":
    from surefoot.keras._native import take_native_step as take_step
else:
    take_step = take_vector_step


def compute_dtype(variables: Sequence[Any]) -> str:
    """Return the type in which steps of these variables are computed."""
    return "float64" if any(_dtype(v) == "float64" for v in variables) else "float32"


def is_sparse(g: Any) -> bool:
    """Whether a gradient holds only the rows that were used (an embedding's, in TensorFlow)."""
    return bool(getattr(g, "is_sparse", hasattr(g, "indices")))  # torch's dense tensors have `indices` too


def is_distributed() -> bool:
    """Whether a `tf.distribute` strategy hands out the work, one copy of each variable per device."""
    return keras.backend.backend() == "tensorflow" and sys.modules["tensorflow"].distribute.has_strategy()


def outside_of_graphs() -> Any:
    """Return a context in which values are read as they are now, though TensorFlow may be tracing a function."""
    return sys.modules["tensorflow"].init_scope() if keras.backend.backend() == "tensorflow" else nullcontext()


def _assign(optimizer: RuleStep, kept: Any, value: Any) -> None:
    if not isinstance(kept, Sequence):
        optimizer.assign(kept, value)
        return
    for variable, leaf in zip(kept, value.leaves, strict=True):
        optimizer.assign(variable, ops.cast(leaf, _dtype(variable)))


def _dtype(variable: Any) -> str:
    return keras.backend.standardize_dtype(variable.dtype)
