"""What all controllers share: what they read, what they decide, and how their state is kept."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, cast, runtime_checkable

from surefoot._checks import shown
from surefoot._errors import StateError

_LARGEST = sys.float_info.max
Action = Literal["continue", "skip", "restore_best", "rewind", "stop"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a controller is told: where the run is, and what was measured there.

    Attributes:
        step: how many updates have been made.
        metrics: names and values; NaN and infinity are values.
        learning_rate: the present rate, of the parameter group whose rate is highest: no floor is reached before by all.
    """

    step: int
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    learning_rate: float = 1.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What a controller asks for after a reading. Its `factor` has changed already; this says why, and what else to do.

    Attributes:
        cause: why, in words for people; it goes into the decision log.
        action: "continue", "skip" this update, go back to the weights of the best reading ("restore_best") or to the
            last good snapshot ("rewind"), or "stop" the run. Who drives the run does it, or says that it cannot.
        by: who has decided it, where that is not the controller that was asked but a member of it; for the log.
    """

    cause: str
    action: Action = "continue"
    by: str = field(default="", repr=False)


@runtime_checkable
class Snapshots(Protocol):
    """Copies of a run to go back to, as `surefoot.torch.Checkpointer` keeps them."""

    def offer(self, step: int) -> None:
        """Hear that all is well at a step: a snapshot may be taken."""
        ...

    def restore(self, step: int) -> int:
        """Bring the last good snapshot back, at a step that went wrong; return the snapshot's step."""
        ...


class Controller:
    """A small state machine: readings in, decisions out. Subclass it, and name what is state in `STATE`.

    State are numbers, switches, texts, None, and lists of numbers. A saved state must fit what the object has: a text is
    no number, and a number is finite where the present one is. `COUNTS` names what is a whole number of at least 0, and
    `OPTIONAL` what may be None, with the type that it else has.

    Attributes:
        factor: what the learning rate is multiplied with from the next update on; 1.0 at the start.

    Examples:
        >>> class HalveAtStep(Controller):
        ...     STATE = ("factor",)
        ...     def __init__(self, step):
        ...         self.factor, self.step = 1.0, step
        ...     def observe(self, reading):
        ...         if reading.step != self.step:
        ...             return None
        ...         self.factor *= 0.5
        ...         return Decision(f"step {self.step} was reached")
        >>> controller = HalveAtStep(10)
        >>> controller.observe(Reading(10)), controller.factor
        (Decision(cause='step 10 was reached', action='continue'), 0.5)
    """

    STATE: ClassVar[tuple[str, ...]] = ("factor",)
    COUNTS: ClassVar[tuple[str, ...]] = ()
    OPTIONAL: ClassVar[Mapping[str, type]] = {}
    factor: float = 1.0

    def observe(self, reading: Reading) -> Decision | None:
        """Take a reading; return what was decided, or None if nothing was."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {name: copy.copy(getattr(self, name)) for name in self.STATE}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a saved state; settings are this object's own.

        Raises:
            StateError: the state is not one of this kind of controller. Nothing has been changed then.
        """
        self.check_state(state_dict)
        for name, value in state_dict.items():
            setattr(
                self, name, float(value) if isinstance(value, float) else copy.copy(value)
            )  # NumPy's are floats too

    def check_state(self, state_dict: Mapping[str, Any]) -> None:
        """Raise if `load_state_dict` would.

        Raises:
            StateError: the state is not one of this kind of controller.
        """
        kind = type(self).__name__
        if set(state_dict) != set(self.STATE):
            raise StateError(
                f"`{kind}.load_state_dict`: the state holds {sorted(map(str, state_dict))}, not {sorted(self.STATE)}. "
                f"Pass what the `state_dict()` of a {kind} returned."
            )
        for name, value in state_dict.items():
            if name in self.COUNTS:
                is_count = type(value) is int and 0 <= value <= sys.maxsize
                allowed = "" if is_count else "a whole number of at least 0"
            else:
                allowed = _misfit(value, getattr(self, name), self.OPTIONAL.get(name))
            if allowed:
                raise StateError(f"`{kind}.load_state_dict`: {name} is {shown(value)}; it must be {allowed}.")
        if not 0.0 <= state_dict["factor"] < math.inf:
            raise StateError(
                f"`{kind}.load_state_dict`: factor is {state_dict['factor']!r}; it must be a number of at least 0."
            )


def product(controllers: Iterable[Controller]) -> float:
    """Return the product of the factors: at most the largest float, and 0 if one of them is 0.

    >>> from surefoot.control import Manual
    >>> product([Manual(1e200), Manual(1e200)]), product([Manual(1e200), Manual(1e200), Manual(0.0)])
    (1.7976931348623157e+308, 0.0)
    """
    factors = [controller.factor for controller in controllers]
    found = math.prod(factors, start=1.0)
    if found <= _LARGEST:
        return found
    return 0.0 if 0.0 in factors else _LARGEST  # as the product of infinity and 0 it would be NaN


def _misfit(value: Any, present: Any, optional: type | None) -> str:
    """Return what is allowed in a state where `present` is, if `value` is not; else nothing."""
    if optional is not None:
        if value is None:
            return ""
        present = optional()
    if isinstance(present, list):
        is_fine = isinstance(value, list) and all(_is_finite(v) for v in cast("list[object]", value))
        return "" if is_fine else "a list of numbers"
    if isinstance(present, bool):
        return "" if isinstance(value, bool) else "True or False"
    if isinstance(present, str):
        return "" if isinstance(value, str) else "a text" + " or None" * (optional is not None)
    if isinstance(present, int | float):
        is_fine = _is_finite(value) or (isinstance(value, float) and not _is_finite(present))
        return "" if is_fine else "a number" + " or None" * (optional is not None)
    return "" if value is None or isinstance(value, int | float | str) else "plain: a number, a text or None"


def _is_finite(value: object) -> bool:
    """Whether a value is a number that can be counted with and shown."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -_LARGEST <= value <= _LARGEST
