"""Lengths of schedules: whole steps, a share of the run ("5%"), epochs ("3 epochs"), or None, the rest of the run.

Rounding. Shares and epochs are turned into steps with exact fractions, and what is rounded is the *boundary* at which a
piece ends, to the nearest step, halves up. So 5 % of 310 steps end at step 16 (15.5 rounded up), and two halves of 301
steps take 151 and 150: the pieces of a run always add up to the run. A number of steps is never rounded.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from surefoot._checks import integer, number, refuse, refuse_type
from surefoot._errors import ArgumentError

Length = int | float | str

_ALLOWED = 'a number of steps, a share of the run such as "5%", or epochs such as "3 epochs"'
_TEXT = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)\s*(%|epochs?)")
_HALF = Fraction(1, 2)
_ALL_PERCENT = 100
MOST = 2**53  # steps; beyond, a float does not hold every whole number, and sums of lengths are not exact


@dataclass(frozen=True, slots=True)
class Run:
    """The horizon against which lengths are resolved."""

    total_steps: int
    steps_per_epoch: float | None = None


def check_run(where: str, total_steps: object, steps_per_epoch: object) -> Run:
    """Return the horizon as a `Run`, or raise."""
    cure = "Give the optimizer steps of the whole run."
    total = integer(where, "total_steps", total_steps, at_least=1, at_most=MOST, cure=cure)
    if steps_per_epoch is None:
        return Run(total)
    cure = "Give the optimizer steps of one pass over the data."
    return Run(total, number(where, "steps_per_epoch", steps_per_epoch, above=0, at_most=MOST, cure=cure))


def check_length(where: str, argument: str, value: object, *, is_zero_allowed: bool = False) -> Length:
    """Return a length in its one spelling ("5 %" becomes "5%", 10.0 becomes 10), or raise."""
    if isinstance(value, str):
        return _check_text(where, argument, value, is_zero_allowed=is_zero_allowed)
    if value is None:
        raise refuse_type(where, argument, value, _ALLOWED)
    steps = number(where, argument, value, at_least=0, at_most=MOST, cure=f"It is {_ALLOWED}.")
    if 0 < steps < 1:
        raise refuse(where, argument, value, _ALLOWED, f'For a share of the run, write "{steps * 100:g}%".')
    if steps == 0 and not is_zero_allowed:
        raise refuse(where, argument, value, "above 0", f"It is {_ALLOWED}.")
    return int(steps) if steps.is_integer() else steps


def _check_text(where: str, argument: str, value: str, *, is_zero_allowed: bool) -> str:
    match = _TEXT.fullmatch(value.strip())
    if match is None:
        raise refuse(where, argument, value, _ALLOWED)
    digits, unit = match.groups()
    amount = Fraction(digits)
    if unit == "%" and amount > _ALL_PERCENT:
        raise refuse(where, argument, value, "a share of at most 100%")
    if amount == 0 and not is_zero_allowed:
        raise refuse(where, argument, value, "above 0")
    return f"{digits}%" if unit == "%" else f"{digits} epoch" + "s" * (amount != 1)


def exact_steps(where: str, argument: str, length: Length, run: Run, *, must_fit: bool = True) -> Fraction:
    """Return a length in steps, not yet rounded; raise if it needs what the run does not tell, or exceeds the run."""
    if not isinstance(length, str):
        steps = Fraction(length)
    elif length.endswith("%"):
        steps = Fraction(length[:-1]) * run.total_steps / _ALL_PERCENT
    elif run.steps_per_epoch is None:
        raise ArgumentError(
            f"`{where}({argument}={length!r})` is in epochs, and the steps of an epoch are not known. "
            "Pass `steps_per_epoch=`, or give the length in steps or as a share of the run."
        )
    else:
        steps = Fraction(length.split()[0]) * Fraction(run.steps_per_epoch)
    if must_fit and steps > run.total_steps:
        raise ArgumentError(
            f"`{where}({argument}={length!r})`{_in_steps(length, steps)} is longer than "
            f"`total_steps={run.total_steps}`. Lower `{argument}` or raise `total_steps`."
        )
    return steps


def _in_steps(length: Length, steps: Fraction) -> str:
    return f", {float(steps):g} steps," if isinstance(length, str) else ""


def nearest_step(x: Fraction) -> int:
    """Return the nearest whole step, halves up."""
    return math.floor(x + _HALF)


def own_steps(where: str, argument: str, length: Length, run: Run, *, must_fit: bool = True) -> int | float:
    """Return a length that starts at a whole step as a number of steps."""
    steps = exact_steps(where, argument, length, run, must_fit=must_fit)
    return nearest_step(steps) if isinstance(length, str) else length
