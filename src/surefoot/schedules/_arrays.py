"""One source for Python numbers, NumPy arrays, torch and TensorFlow tensors and JAX values, importing none of them.

A schedule's formula is written once against `Ops`. Which `Ops` is picked by the type of the step: whoever holds a torch
tensor has imported torch already, so it is found in `sys.modules`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from surefoot._checks import refuse_type


@dataclass(frozen=True, slots=True)
class Ops:
    """The operations that a schedule's formula needs, beside the arithmetic operators.

    Attributes:
        is_scalar: whether Python `if` may look at values; formulas may then skip work, never change the result.
        exact: the step in a type that neither wraps around nor rounds when whole steps are subtracted.
        clip: bound a value from below and above; the bounds are floats, so that the result is one too.
        where: `where(condition, a, b)`.
        floor: round down.
        sqrt: square root.
        cos: cosine.
        log: natural logarithm.
        take: `take(values, index)`, the value of a table at a whole number within it.
    """

    is_scalar: bool
    exact: Callable[[Any], Any]
    clip: Callable[[Any, float, float], Any]
    where: Callable[[Any, Any, Any], Any]
    floor: Callable[[Any], Any]
    sqrt: Callable[[Any], Any]
    cos: Callable[[Any], Any]
    log: Callable[[Any], Any]
    take: Callable[[tuple[float, ...], Any], Any]


def _scalar_clip(x: float, low: float, high: float) -> float:
    return low if x < low else high if x > high else x  # noqa: FURB136 - twice as fast as min and max


SCALAR = Ops(
    is_scalar=True,
    exact=lambda step: step,
    clip=_scalar_clip,
    where=lambda condition, a, b: a if condition else b,
    floor=lambda x: x // 1.0,  # not math.floor, which raises on infinity and NaN
    sqrt=math.sqrt,
    cos=math.cos,
    log=math.log,
    take=lambda values, index: values[int(index)] if index == index else index,  # noqa: PLR0124 - NaN stays NaN
)


def _numpy_ops() -> Ops:
    np: Any = sys.modules["numpy"]
    return Ops(
        is_scalar=False,
        exact=lambda step: step if step.dtype.kind == "f" else step.astype("float64"),
        clip=np.clip,
        where=lambda condition, a, b: np.where(condition, a, b)[()],
        floor=np.floor,
        sqrt=np.sqrt,
        cos=np.cos,
        log=np.log,
        take=lambda values, index: np.asarray(values, index.dtype)[np.nan_to_num(index).astype(int)],
    )


def _torch_ops() -> Ops:
    torch: Any = sys.modules["torch"]
    return Ops(
        is_scalar=False,
        exact=lambda step: step if step.is_floating_point() else step.long(),
        clip=torch.clamp,
        where=torch.where,
        floor=torch.floor,
        sqrt=torch.sqrt,
        cos=torch.cos,
        log=torch.log,
        take=lambda values, index: torch.tensor(values, dtype=index.dtype, device=index.device)[
            torch.nan_to_num(index).long()
        ],
    )


def _jax_ops() -> Ops:
    jnp: Any = sys.modules["jax.numpy"]
    return Ops(
        is_scalar=False,
        exact=lambda step: step if jnp.issubdtype(step.dtype, jnp.floating) else step.astype(int),
        clip=jnp.clip,
        where=jnp.where,
        floor=jnp.floor,
        sqrt=jnp.sqrt,
        cos=jnp.cos,
        log=jnp.log,
        take=lambda values, index: jnp.asarray(values, index.dtype)[index.astype(int)],
    )


def _tensorflow_ops() -> Ops:
    tf: Any = sys.modules["tensorflow"]

    def where(condition: Any, a: Any, b: Any) -> Any:
        return tf.where(condition, tf.cast(a, tf.float64), tf.cast(b, tf.float64))

    return Ops(
        is_scalar=False,
        exact=lambda step: tf.cast(step, tf.float64),  # TensorFlow promotes no types: all is computed in this one
        clip=tf.clip_by_value,
        where=where,
        floor=tf.floor,
        sqrt=tf.sqrt,
        cos=tf.cos,
        log=tf.math.log,
        take=lambda values, index: tf.gather(tf.constant(values, tf.float64), tf.cast(index, tf.int64)),
    )


_LIBRARIES = {
    "numpy": _numpy_ops,
    "torch": _torch_ops,
    "jax": _jax_ops,
    "jaxlib": _jax_ops,
    "tensorflow": _tensorflow_ops,
}

OPS: dict[type[Any], Ops] = {int: SCALAR, float: SCALAR}  # by the type of the step; grows as types are met


def ops_of(step: object) -> Ops:
    """Return the operations for a step of a type that is not in `OPS` yet, and remember them."""
    for kind in type(step).__mro__:
        library = _LIBRARIES.get(kind.__module__.partition(".")[0])
        if library is not None:
            return OPS.setdefault(type(step), library())
        if kind in {int, float}:
            return OPS.setdefault(type(step), SCALAR)
    raise refuse_type(
        "schedule",
        "step",
        step,
        "a number, or an array of NumPy, torch, JAX or TensorFlow",
        "For a list of steps call it once per step, or use `simulate`.",
    )
