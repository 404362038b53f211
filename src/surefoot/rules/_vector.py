"""A whole model as one vector: arithmetic goes leaf by leaf, sums go over everything."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

from surefoot.rules import _math


class Vector:
    """All parameters of a model, or all of their gradients, as one operand of a rule.

    A rule that takes norms over the whole model (`DoG`, clipping by the global norm) is handed vectors; one that goes
    element by element may be. Between two vectors an operation pairs their leaves; a number or a single array of one
    element meets every leaf.

    Args:
        leaves: arrays of one framework, in a fixed order.

    >>> x = Vector([1.0, 2.0])
    >>> (2.0 * x + x).leaves
    (3.0, 6.0)
    >>> from surefoot.rules._math import norm
    >>> norm(Vector([3.0, -4.0]))
    5.0
    """

    __slots__ = ("leaves",)
    __array_ufunc__ = None  # a NumPy scalar on the left leaves the operation to us

    def __init__(self, leaves: Iterable[Any]) -> None:
        self.leaves = tuple(leaves)

    def __repr__(self) -> str:
        return f"Vector({list(self.leaves)!r})"

    def __add__(self, other: Any) -> Vector:
        return _map(operator.add, self, other)

    def __radd__(self, other: Any) -> Vector:
        return _map(operator.add, other, self)

    def __sub__(self, other: Any) -> Vector:
        return _map(operator.sub, self, other)

    def __rsub__(self, other: Any) -> Vector:
        return _map(operator.sub, other, self)

    def __mul__(self, other: Any) -> Vector:
        return _map(operator.mul, self, other)

    def __rmul__(self, other: Any) -> Vector:
        return _map(operator.mul, other, self)

    def __truediv__(self, other: Any) -> Vector:
        return _map(_divide, self, other)

    def __rtruediv__(self, other: Any) -> Vector:
        return _map(_divide, other, self)

    def __pow__(self, other: Any) -> Vector:
        return _map(_power, self, other)

    def __neg__(self) -> Vector:
        return _map(operator.neg, self)

    def __gt__(self, other: Any) -> Vector:
        return _map(operator.gt, self, other)

    def __lt__(self, other: Any) -> Vector:
        return _map(operator.lt, self, other)


def _divide(x: Any, y: Any) -> Any:
    return x / y


def _power(x: Any, y: Any) -> Any:
    return x**y


def _map(function: Callable[..., Any], *operands: Any) -> Vector:
    """Apply a function to the leaves of the vectors among the operands; the others are the same for every leaf."""
    count = next(len(o.leaves) for o in operands if isinstance(o, Vector))
    columns = [o.leaves if isinstance(o, Vector) else (o,) * count for o in operands]
    return Vector(function(*row) for row in zip(*columns, strict=True))


class _VectorMath:
    """What `surefoot.rules._math` calls for vectors."""

    @staticmethod
    def sqrt(x: Vector) -> Vector:
        return _map(_math.sqrt, x)

    @staticmethod
    def abs(x: Vector) -> Vector:
        return _map(_math.absolute, x)

    @staticmethod
    def sign(x: Vector) -> Vector:
        return _map(_math.sign, x)

    @staticmethod
    def log(x: Vector) -> Vector:
        return Vector(_math.namespace_of(leaf).log(leaf) for leaf in x.leaves)

    @staticmethod
    def expm1(x: Vector) -> Vector:
        return Vector(_math.namespace_of(leaf).expm1(leaf) for leaf in x.leaves)

    @staticmethod
    def maximum(x: Any, y: Any) -> Vector:
        return _map(_math.maximum, x, y)

    @staticmethod
    def minimum(x: Any, y: Any) -> Vector:
        return _map(_math.minimum, x, y)

    @staticmethod
    def where(condition: Any, a: Any, b: Any) -> Vector:
        return _map(_math.where, condition, a, b)

    @staticmethod
    def zeros_like(x: Vector) -> Vector:
        return _map(_math.zeros_like, x)

    @staticmethod
    def sum(x: Vector) -> Any:
        return sum((_math.namespace_of(leaf).sum(leaf) for leaf in x.leaves), 0.0)

    @staticmethod
    def leaf_sum(x: Vector) -> Vector:
        return _map(_math.leaf_sum, x)


Vector.__rule_math__ = _VectorMath  # pyright: ignore[reportAttributeAccessIssue] - it needs Vector itself
