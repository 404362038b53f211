"""Checks of arguments, all raising in one shape: which argument, what it was, what is allowed, what to do."""

from __future__ import annotations

import contextlib
import difflib
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import cast

from surefoot._errors import ArgumentError, ArgumentTypeError

_BITS = 64  # of whole numbers: larger ones cannot be counted to, nor always be shown or saved


def refuse(where: str, argument: str, value: object, allowed: str, cure: str = "") -> ArgumentError:
    """Return (not raise) the error for a forbidden value.

    >>> print(refuse("find", "budget", 0, "above 0", "Use 1.0 for the cost of one run."))
    `find(budget=0)`: budget must be above 0. Use 1.0 for the cost of one run.
    """
    return ArgumentError(_sentence(where, argument, value, allowed, cure))


def refuse_type(where: str, argument: str, value: object, allowed: str, cure: str = "") -> ArgumentTypeError:
    """Return (not raise) the error for a forbidden type."""
    return ArgumentTypeError(_sentence(where, argument, value, allowed, cure))


def _sentence(where: str, argument: str, value: object, allowed: str, cure: str) -> str:
    return f"`{where}({argument}={shown(value)})`: {argument} must be {allowed}. {cure}".rstrip()


def shown(value: object) -> str:
    """Return the repr of a value, cut where it is long."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a whole number of over 4300 digits has none, nor has many a half-made object
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."


def number(
    where: str,
    argument: str,
    value: object,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    cure: str = "",
) -> float:
    """Return `value` as a finite float within the bounds, or raise."""
    bounds = [
        text
        for text, limit in (
            (f"above {above}", above),
            (f"at least {at_least}", at_least),
            (f"at most {at_most}", at_most),
            (f"below {below}", below),
        )
        if limit is not None
    ]
    allowed = "a finite number" + ((" " + " and ".join(bounds)) if bounds else "")
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise refuse_type(where, argument, value, allowed, cure)
    try:
        x = float(value)
    except (OverflowError, TypeError, ValueError):  # too large, or a time span of NumPy, which calls itself a number
        x = math.nan
    fine = (
        math.isfinite(x)
        and (above is None or x > above)
        and (at_least is None or x >= at_least)
        and (at_most is None or x <= at_most)
        and (below is None or x < below)
    )
    if not fine:
        raise refuse(where, argument, value, allowed, cure)
    return x


def integer(
    where: str, argument: str, value: object, *, at_least: int | None = None, at_most: int | None = None, cure: str = ""
) -> int:
    """Return `value` as an int within the bounds, or raise; 3.0 and True are no integers."""
    bounds = [f"at least {at_least}"] * (at_least is not None) + [f"at most {at_most}"] * (at_most is not None)
    allowed = "a whole number" + ((" of " + " and ".join(bounds)) if bounds else "")
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise refuse_type(where, argument, value, allowed, cure)
    try:
        n = int(value)
    except (TypeError, ValueError):  # a time span of NumPy, which calls itself whole
        raise refuse_type(where, argument, value, allowed, cure) from None
    if (at_least is not None and n < at_least) or (at_most is not None and n > at_most):
        raise refuse(where, argument, value, allowed, cure)
    if n.bit_length() > _BITS:
        raise refuse(where, argument, value, f"{allowed}, and of no more than {_BITS} bits", cure)
    return n


def items_of(where: str, argument: str, value: object, allowed: str) -> tuple[object, ...]:
    """Return what is in a list, a tuple or an array, or raise; a text, a dict and a set are no lists."""
    if not isinstance(value, str | bytes | Mapping | set | frozenset):
        with contextlib.suppress(TypeError):
            return tuple(cast("Iterable[object]", value))
    raise refuse_type(where, argument, cast("object", value), allowed)


def one_of(where: str, argument: str, value: object, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of the names `allowed`, or raise and offer the nearest."""
    names = sorted(allowed)
    if isinstance(value, str) and value in names:
        return value
    raise refuse(where, argument, value, "one of " + ", ".join(names), nearest(value, names))


def nearest(value: object, names: Iterable[str]) -> str:
    """Return "Did you mean `x`?" for the name that is nearest to `value`, or ""."""
    close = difflib.get_close_matches(value, list(names), n=1, cutoff=0.5) if isinstance(value, str) else []
    return f"Did you mean {close[0]!r}?" if close else ""
