"""Change the rate by hand while a run goes on."""

from __future__ import annotations

import math
from typing import ClassVar

from surefoot._checks import number, refuse, refuse_type
from surefoot.control._controller import Controller, Decision, Reading


class Manual(Controller):
    """A factor that people set: from a notebook cell, another thread, a debugger.

    Use it instead of writing to the optimizer: an edit takes effect with the next reading, multiplies with the schedule
    and the other controllers, is logged with its cause, and survives a resume.

    Args:
        factor: to begin with; at least 0.

    Raises:
        ArgumentError: a value that is not allowed.

    Examples:
        >>> manual = Manual()
        >>> manual.set(0.5, cause="the loss looks nervous")
        >>> manual.observe(Reading(100)), manual.factor
        (Decision(cause='by hand: the loss looks nervous', action='continue'), 0.5)
    """

    STATE: ClassVar[tuple[str, ...]] = ("factor",)

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = number("Manual", "factor", factor, at_least=0)
        self._wanted: tuple[float, str] | None = None  # one assignment: safe from another thread

    def set(self, factor: float, *, cause: str = "") -> None:
        """Let the rate be multiplied with `factor` (of what base, schedule and the others give) from the next reading on."""
        self._wanted = (number("Manual.set", "factor", factor, at_least=0), _text("Manual.set", cause))

    def multiply(self, by: float, *, cause: str = "") -> None:
        """Multiply the present factor, including an edit that has not taken effect yet."""
        wanted = self._wanted
        present = self.factor if wanted is None else wanted[0]
        factor = present * number("Manual.multiply", "by", by, at_least=0)
        if factor == math.inf:
            raise refuse("Manual.multiply", "by", by, f"small enough that times {present:g} it is a finite number")
        self._wanted = (factor, _text("Manual.multiply", cause))

    def observe(self, reading: Reading) -> Decision | None:  # noqa: ARG002 - an edit needs no reading
        """Let an edit take effect."""
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return None
        self.factor, cause = wanted
        return Decision(f"by hand: {cause}" if cause else "by hand")

    def __repr__(self) -> str:
        return f"Manual({self.factor:g})"


def _text(where: str, cause: object) -> str:
    """Return a cause, or raise if it is no text: it goes into the decision log."""
    if not isinstance(cause, str):
        raise refuse_type(where, "cause", cause, "a text")
    return cause
