"""What all controllers share: what they read, what they decide, and how their state is kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, cast, runtime_checkable

from surefoot._errors import StateError

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

    State are numbers, texts, None, and lists of numbers.

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
        kind = type(self).__name__
        if set(state_dict) != set(self.STATE):
            raise StateError(
                f"`{kind}.load_state_dict`: the state holds {sorted(state_dict)}, not {sorted(self.STATE)}. "
                f"Pass what the `state_dict()` of a {kind} returned."
            )
        for name, value in state_dict.items():
            if not _is_plain(value) or isinstance(value, list) != isinstance(getattr(self, name), list):
                raise StateError(f"`{kind}.load_state_dict`: {name} is {value!r}, which is no plain value.")
        factor = state_dict["factor"]
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0.0 <= factor < math.inf:
            raise StateError(f"`{kind}.load_state_dict`: factor is {factor!r}; it must be a number of at least 0.")
        for name, value in state_dict.items():
            setattr(self, name, copy.copy(value))


def _is_plain(value: object) -> bool:
    """Whether a value may be in a state: a number, a text, None, or a list of numbers."""
    if isinstance(value, list):
        return all(isinstance(v, int | float) for v in cast("list[object]", value))
    return value is None or isinstance(value, int | float | str)
