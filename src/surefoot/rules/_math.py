"""The few functions that a rule needs, on whatever it is run with: numbers, NumPy, torch, JAX, or a tracer's symbols.

A rule is written once. `sqrt(v)` asks the type of `v` which library to use; a type with its own `__rule_math__` (the
tracer's symbols, a vector over all leaves) brings its own functions.
"""

from __future__ import annotations

import math
import sys
from functools import cache
from types import SimpleNamespace
from typing import Any


def namespace_of(*values: Any) -> Any:
    """Return the namespace for these values: one of their own, else that of the first that is not a Python number."""
    for value in values:  # a vector beside an array of its framework decides
        own = getattr(value, "__rule_math__", None)
        if own is not None:
            return own
    for value in values:
        root = str(value.__class__.__module__).partition(".")[0]
        if root in ("jax", "jaxlib"):
            return sys.modules["jax.numpy"]
        if root in ("torch", "numpy"):
            return sys.modules[root]
        if root == "tensorflow":
            return _tensorflow()
    return Numbers


@cache
def _tensorflow() -> Any:
    """Return TensorFlow's functions under the arrays' names."""
    tf = sys.modules["tensorflow"]
    table = {name: getattr(tf, name) for name in ("sqrt", "abs", "sign", "maximum", "minimum", "where", "zeros_like")}
    return SimpleNamespace(
        **table, sum=tf.reduce_sum, expm1=tf.math.expm1, log=tf.math.log, constant=tf.constant, __name__="tensorflow"
    )


class Numbers:
    """Python's own functions under the arrays' names; like theirs, they answer NaN and do not raise."""

    abs = staticmethod(abs)
    sum = staticmethod(float)
    expm1 = staticmethod(math.expm1)
    log = staticmethod(math.log)

    @staticmethod
    def sqrt(x: float) -> float:
        return math.sqrt(x) if x >= 0.0 else math.nan

    @staticmethod
    def sign(x: float) -> float:
        return x if math.isnan(x) else float((x > 0.0) - (x < 0.0))

    @staticmethod
    def maximum(x: float, y: float) -> float:
        return x if x > y or math.isnan(x) else y

    @staticmethod
    def minimum(x: float, y: float) -> float:
        return x if x < y or math.isnan(x) else y

    @staticmethod
    def zeros_like(x: float) -> float:
        del x
        return 0.0


def sqrt(x: Any) -> Any:
    """Return the square root."""
    return namespace_of(x).sqrt(x)


def absolute(x: Any) -> Any:
    """Return the absolute value."""
    return namespace_of(x).abs(x)


def sign(x: Any) -> Any:
    """Return -1, 0 or 1."""
    return namespace_of(x).sign(x)


def maximum(x: Any, y: Any) -> Any:
    """Return the larger of two arrays, or of an array and a number; NaN if either is."""
    ops = namespace_of(x, y)
    if getattr(ops, "__name__", "") == "torch":  # torch.maximum takes no numbers
        if isinstance(y, int | float):
            return ops.clamp_min(x, y)
        if isinstance(x, int | float):
            return ops.clamp_min(y, x)
    return ops.maximum(x, y)


def minimum(x: Any, y: Any) -> Any:
    """Return the smaller of two arrays, or of an array and a number; NaN if either is."""
    ops = namespace_of(x, y)
    if getattr(ops, "__name__", "") == "torch":
        if isinstance(y, int | float):
            return ops.clamp_max(x, y)
        if isinstance(x, int | float):
            return ops.clamp_max(y, x)
    return ops.minimum(x, y)


def zeros_like(x: Any) -> Any:
    """Return zeros of the same shape and type; a product would keep NaN and infinity."""
    return namespace_of(x).zeros_like(x)


def where(condition: Any, a: Any, b: Any, like: Any = None) -> Any:
    """Return `a` where the condition holds, else `b`.

    Two numbers take the type of `like`: only TensorFlow in double precision needs it, which mixes no types.
    """
    if isinstance(condition, bool):
        return a if condition else b
    ops = namespace_of(condition, a, b)
    if getattr(ops, "__name__", "") == "torch":  # two numbers would become float32; a float64 scalar widens no array
        a, b = (ops.tensor(v, dtype=ops.float64) if isinstance(v, int | float) else v for v in (a, b))
    if getattr(ops, "__name__", "") == "tensorflow" and isinstance(a, int | float) and isinstance(b, int | float):
        a = ops.constant(a, getattr(like, "dtype", None))  # TensorFlow mixes no types: two numbers would be float32
    return ops.where(condition, a, b)


def dot(x: Any, y: Any) -> Any:
    """Return the sum of the products: over the array, or over the whole model if `x` is its vector."""
    product = x * y
    return namespace_of(product).sum(product)


def norm1(x: Any) -> Any:
    """Return the sum of sizes: over the array, or over the whole model if `x` is its vector.

    >>> norm1(-3.0)
    3.0
    """
    sizes = absolute(x)
    return namespace_of(sizes).sum(sizes)


def leaf_sum(x: Any) -> Any:
    """Return the sum over one array; for the vector of a whole model, one sum per leaf."""
    ops = namespace_of(x)
    return getattr(ops, "leaf_sum", ops.sum)(x)


def norm(x: Any) -> Any:
    """Return the Euclidean norm: of the array, or of the whole model if `x` is its vector.

    >>> norm(-3.0)
    3.0
    """
    return sqrt(dot(x, x))


def unbias(beta: Any, t: Any) -> Any:
    """Return 1 - beta**t, accurately: in float32 the plain form is off by 1e-5 in the first steps.

    >>> unbias(0.999, 1), unbias(0.0, 1)
    (0.0010000000000000009, 1.0)
    """
    if not beta:
        return 1.0
    exponent = t * namespace_of(beta).log(beta)
    return -namespace_of(exponent).expm1(exponent)
