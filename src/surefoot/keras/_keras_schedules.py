"""Keras' schedules by their own names and with its numbers; arguments are checked first, and whole numbers are taken.

Keras computes in the type of `initial_learning_rate`: an initial rate of 0, as in its own example, makes it round every
rate to a whole number. Ours become floats.
"""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import functools
import inspect
from itertools import pairwise
from typing import Any, ClassVar

import keras
from surefoot._checks import number, refuse, refuse_type
from surefoot.keras._arguments import Bounds, say_once
from surefoot.keras._schedules import as_number, registered

theirs: Any = keras.optimizers.schedules
RATE: Bounds = {"at_least": 0.0}
STEPS: Bounds = {"above": 0.0}


class Checked(theirs.LearningRateSchedule):
    """Mixed into a schedule of Keras: its arguments are checked, numbers of any kind become floats."""

    bounds: ClassVar[dict[str, Bounds]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if Checked in cls.__bases__:
            host = super().__init__
            signature = inspect.signature(host)

            @functools.wraps(host)
            def init(self: Checked, *args: Any, **kwargs: Any) -> None:
                values = signature.bind(self, *args, **kwargs).arguments
                host(**{name: self.checked(name, value) for name, value in values.items()})
                self._check()

            cls.__init__ = init

    def checked(self, name: str, value: Any) -> Any:
        """Return a value as Keras gets it."""
        where = type(self).__name__
        if name in self.bounds and not (name == "warmup_target" and value is None):
            x = number(where, name, as_number(value), **self.bounds[name])
            return int(x) if name.endswith("steps") and x.is_integer() else x
        if name in {"staircase", "cycle"} and not isinstance(value, bool):
            raise refuse_type(where, name, value, "True or False")
        if name == "name" and not isinstance(value, str | None):
            raise refuse_type(where, name, value, "a text or None")
        return value

    def _check(self) -> None:
        """Check what concerns several arguments."""


@registered
class ExponentialDecay(Checked, theirs.ExponentialDecay):
    """Multiply by a factor again and again: `initial_learning_rate * decay_rate^(step / decay_steps)`.

    Use it where training goes on for ever, as in reinforcement learning; else `CosineDecay` ends better.

    Args:
        initial_learning_rate: at step 0; at least 0.
        decay_steps: in which the rate is multiplied once; above 0.
        decay_rate: the factor; at least 0.
        staircase: let the rate fall only at multiples of decay_steps.
        name: of the operation.

    Raises:
        ArgumentError: a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    >>> float(ExponentialDecay(0.5, decay_steps=10, decay_rate=0.5)(20))
    0.125
    """

    bounds: ClassVar[dict[str, Bounds]] = {
        "initial_learning_rate": RATE,
        "decay_steps": STEPS,
        "decay_rate": RATE,
    }


@registered
class InverseTimeDecay(Checked, theirs.InverseTimeDecay):
    """Divide by a growing number: `initial_learning_rate / (1 + decay_rate * step / decay_steps)`.

    Use it for convex problems; it is what `decay` does: `InverseTimeDecay(lr, 1, decay)`.

    Args:
        initial_learning_rate: at step 0; at least 0.
        decay_steps: above 0.
        decay_rate: at least 0.
        staircase: let the rate fall only at multiples of decay_steps.
        name: of the operation.

    Raises:
        ArgumentError: a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    >>> float(InverseTimeDecay(0.5, decay_steps=10, decay_rate=1.0)(30))
    0.125
    """

    bounds: ClassVar[dict[str, Bounds]] = ExponentialDecay.bounds


@registered
class PiecewiseConstantDecay(Checked, theirs.PiecewiseConstantDecay):
    """Change the rate at given steps: `values[0]` up to and with step `boundaries[0]`, then `values[1]`, and so on.

    Use it for recipes that name their milestones.

    Args:
        boundaries: the last step of each value but the last; rising.
        values: one more than boundaries; at least 0.
        name: of the operation.

    Raises:
        ArgumentError: a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    >>> drops = PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.25])
    >>> [float(drops(step)) for step in (10, 11, 21)]
    [1.0, 0.5, 0.25]
    """

    def checked(self, name: str, value: Any) -> Any:
        """Return a value as Keras gets it."""
        where = type(self).__name__
        if name not in {"boundaries", "values"}:
            return super().checked(name, value)
        if not isinstance(value, list | tuple):
            raise refuse_type(where, name, value, "a list of numbers")
        if name == "values":
            return [number(where, name, as_number(v), at_least=0.0) for v in value]
        numbers = [number(where, name, as_number(v), at_least=0.0) for v in value]
        if not numbers or any(a >= b for a, b in pairwise(numbers)):
            raise refuse(where, name, value, "at least one step, and rising")
        return [int(x) if x.is_integer() else x for x in numbers]


@registered
class PolynomialDecay(Checked, theirs.PolynomialDecay):
    """Go to `end_learning_rate` along `(1 - step / decay_steps)^power`, and stay there or begin again.

    Use it with power 1 for fine-tuning; note that the default end is 1e-4, whatever the start.

    Args:
        initial_learning_rate: at step 0; at least 0.
        decay_steps: until the end; above 0.
        end_learning_rate: at least 0.
        power: at least 0.
        cycle: begin again from where the power law with the next multiple of decay_steps stands.
        name: of the operation.

    Raises:
        ArgumentError: a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    >>> float(PolynomialDecay(1.0, decay_steps=10, end_learning_rate=0.5)(5))
    0.75
    """

    bounds: ClassVar[dict[str, Bounds]] = {
        "initial_learning_rate": RATE,
        "decay_steps": STEPS,
        "end_learning_rate": RATE,
        "power": RATE,
    }


@registered
class CosineDecay(Checked, theirs.CosineDecay):
    """Fall along half a cosine wave, after a warm-up if there is a `warmup_target`.

    Use it when in doubt.

    Args:
        initial_learning_rate: at step 0; at least 0.
        decay_steps: of the fall alone; the whole takes warmup_steps + decay_steps. Above 0.
        alpha: the last rate as a share of the peak; at least 0.
        name: of the operation.
        warmup_target: the peak, to which the rate rises from initial_learning_rate; None for no warm-up.
        warmup_steps: of the rise; at least 0.

    Raises:
        ArgumentError: a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    >>> rate = CosineDecay(0, decay_steps=100, warmup_target=0.5, warmup_steps=10)
    >>> [round(float(rate(step)), 4) for step in (0, 5, 10, 60, 110)]
    [0.0, 0.25, 0.5, 0.25, 0.0]
    """

    bounds: ClassVar[dict[str, Bounds]] = {
        "initial_learning_rate": RATE,
        "decay_steps": STEPS,
        "alpha": RATE,
        "warmup_target": RATE,
        "warmup_steps": RATE,
    }

    def _check(self) -> None:
        if self.warmup_steps and self.warmup_target is None:
            say_once(
                "`CosineDecay(warmup_steps=...)` does nothing without warmup_target: Keras begins at "
                "initial_learning_rate. Give warmup_target, the peak, and initial_learning_rate=0.0."
            )


@registered
class CosineDecayRestarts(Checked, theirs.CosineDecayRestarts):
    """Fall along half a cosine wave and begin again, each time for longer: SGDR.

    Use it to take snapshots at the ends; a single `CosineDecay` over the whole run mostly trains better.

    Args:
        initial_learning_rate: at step 0; at least 0.
        first_decay_steps: of the first fall; above 0.
        t_mul: each fall takes so many times as long as the one before; at least 1.
        m_mul: each begins at so many times the rate of the one before; at least 0.
        alpha: the last rate as a share of the initial one; at least 0.
        name: of the operation.

    Raises:
        ArgumentError: a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    >>> rate = CosineDecayRestarts(1.0, first_decay_steps=10, t_mul=1.0, m_mul=0.5)
    >>> [round(float(rate(step)), 4) for step in (0, 5, 10, 15)]
    [1.0, 0.5, 0.5, 0.25]
    """

    bounds: ClassVar[dict[str, Bounds]] = {
        "initial_learning_rate": RATE,
        "first_decay_steps": STEPS,
        "t_mul": {"at_least": 1.0},
        "m_mul": RATE,
        "alpha": RATE,
    }
