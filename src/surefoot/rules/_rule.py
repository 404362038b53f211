"""The rule protocol: an optimizer's mathematics, written once, in paper notation.

A rule is a frozen dataclass. Its fields are the hyper-parameters; `init` gives the slots (its memory), and `step` gives
the change of the parameters:

    init(x) -> slots
    step(x, g, t, lr, **slots) -> (dx, slots)

`x` and `g` are one array, or a vector over the whole model; `t` counts updates from 1; `lr` is this step's learning
rate. Everything that depends only on `t`, `lr` and the fields is a *scalar*: a driver computes it once a step, in double
precision, and a kernel takes it as a run-time value.

A slot that stands for a number and not for an array (a running product, say) is listed in `scalar_slots`.

A rule that finds its own rate says which one it has used, from the scalar slots after the step:

    effective_lr(lr, t, **slots) -> rate
"""

from __future__ import annotations

import math
from dataclasses import fields
from functools import cache
from typing import Any, ClassVar

from surefoot._checks import number, refuse_type

Slots = dict[str, Any]


class Rule:
    """Base class of all rules: checks of fields, and what a rule may say about itself.

    Attributes:
        scalar_slots: names of slots that are numbers.
        is_global: whether the rule takes norms or dot products over the whole model, so that it cannot go leaf by leaf.
    """

    scalar_slots: ClassVar[tuple[str, ...]] = ()
    is_global: ClassVar[bool] = False

    def init(self, x: Any) -> Slots:
        """Return the slots for parameters `x`; the default is none."""
        del x
        return {}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change of `x` for the gradient `g`, and the new slots."""
        raise NotImplementedError

    def effective_lr(self, lr: Any, t: Any, **slots: Any) -> Any:
        """Return what step `t` has multiplied its direction with: `lr`, unless the rule finds its own rate.

        Decoupled weight decay goes with it.

        Args:
            lr: the learning rate that step `t` was given.
            t: the number of the step, from 1.
            slots: at least the scalar slots, as the step has left them.
        """
        del t, slots
        return lr

    def doubt(self, t: Any, **slots: Any) -> str:
        """Return in words what about the scalar slots after step `t` is probably not meant; nothing if all is well.

        Drivers that can read numbers ask it after 100 and 1,000 steps, and say it once.
        """
        del t, slots
        return ""

    @property
    def finds_rate(self) -> bool:
        """Whether the rule finds its own rate."""
        return type(self).effective_lr is not Rule.effective_lr

    def _check(self, **intervals: str) -> None:
        """Check numbers against intervals, as in `b1="[0, 1)"`, and that switches are switches."""
        where = type(self).__name__
        for name, interval in intervals.items():
            value = getattr(self, name)
            low, high, is_closed = _bounds(interval)
            if type(value) is float and (low <= value < high or (is_closed and value == high)):
                continue  # the fast way: adapters make a rule at every step
            is_open = not is_closed and high < math.inf
            number(
                where, name, value, at_least=low, at_most=high if is_closed else None, below=high if is_open else None
            )
        for f in fields(self):  # pyright: ignore[reportArgumentType] - every rule is a dataclass
            if isinstance(f.default, bool) and not isinstance(getattr(self, f.name), bool):
                raise refuse_type(where, f.name, getattr(self, f.name), "True or False")


@cache
def _bounds(interval: str) -> tuple[float, float, bool]:
    """Return the two ends of "[low, high)" or "[low, high]", and whether the second belongs to it."""
    low, high = interval[1:-1].split(",")
    return float(low), float(high), interval.endswith("]")
