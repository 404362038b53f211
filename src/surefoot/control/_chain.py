"""Several controllers in a row, of which the first may keep a reading from the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

from surefoot._checks import refuse, refuse_type
from surefoot._errors import StateError
from surefoot.control._controller import Controller, Decision, Reading, product


class Chain(Controller):
    """Show a reading to controllers in order, until one asks for more than a new rate.

    Use it where one controller must not see what another has dealt with: with a guard in front that goes back, skips or
    stops, the loss that made it do so is no reading for the plateau behind it. A guard that only warns or cuts asks for
    no more than a rate, and lets the reading pass. Controllers that shall all see every reading need no chain: give them
    as a list.

    Its factor is the product of its members' factors. The decision log names the members.

    Args:
        *controllers: at least one, each once; chains too.

    Attributes:
        members: as given.

    Raises:
        ArgumentError: no controller, or one twice.
        ArgumentTypeError: something that is no controller.

    Examples:
        >>> from surefoot.control import DivergenceGuard, Plateau
        >>> plateau = Plateau("loss", patience=2)
        >>> chain = Chain(DivergenceGuard(action="skip"), plateau)
        >>> for step, loss in enumerate([1.0, float("nan"), 1.0]):
        ...     decision = chain.observe(Reading(step, {"loss": loss}))
        >>> plateau.wait  # alone it had counted two readings without gain
        1
    """

    STATE: ClassVar[tuple[str, ...]] = ("members",)

    def __init__(self, *controllers: Controller) -> None:
        where, cure = "Chain", "As in `Chain(DivergenceGuard(action='skip'), Plateau())`."
        if not controllers:
            raise refuse(where, "controllers", controllers, "at least one controller", cure)
        for controller in controllers:
            if not isinstance(controller, Controller):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise refuse_type(where, "controllers", controller, "controllers, one argument each", cure)
        check_once(where, controllers)
        self.members = controllers

    @property
    def factor(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride] - never set, always computed
        """The product of the members' factors."""
        return product(self.members)

    def observe(self, reading: Reading) -> Decision | None:
        """Show a reading to the members, each with the rate that those before it have made."""
        decisions: list[Decision] = []
        for member in self.members:
            before = member.factor
            decision = member.observe(reading)
            if decision is None:
                continue
            decisions.append(decision if decision.by else replace(decision, by=type(member).__name__))
            if decision.action != "continue":
                break
            if before:
                reading = replace(reading, learning_rate=reading.learning_rate * (member.factor / before))
        if not decisions:
            return None
        cause, by = "; ".join(d.cause for d in decisions), ", ".join(d.by for d in decisions)
        return Decision(cause, decisions[-1].action, by)

    def state_dict(self) -> dict[str, Any]:
        """Return the members' states, each with its kind, as plain data."""
        return {"members": [{"kind": type(m).__name__, **m.state_dict()} for m in self.members]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a saved state; settings are the members' own.

        Raises:
            StateError: the state is damaged, or has other members. Nothing has been changed then.
        """
        load_states("Chain", self.members, _members(state_dict))

    def check_state(self, state_dict: Mapping[str, Any]) -> None:
        """Raise if `load_state_dict` would.

        Raises:
            StateError: the state is damaged, or has other members.
        """
        check_states("Chain", self.members, _members(state_dict))

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.members))})"


def _members(state_dict: Mapping[str, Any]) -> list[Any]:
    states: Any = state_dict.get("members")
    if set(state_dict) != {"members"} or not isinstance(states, list):
        raise StateError(
            f"`Chain.load_state_dict`: the state holds {list(state_dict)}, not a list of members. "
            "Pass what the `state_dict()` of a Chain returned."
        )
    return cast("list[Any]", states)


def flat(controllers: Iterable[Controller]) -> Iterator[Controller]:
    """Yield controllers, and for each chain its members."""
    for controller in controllers:
        if isinstance(controller, Chain):
            yield from flat(controller.members)
        else:
            yield controller


def check_once(where: str, controllers: Iterable[Controller]) -> None:
    """Raise if a controller is there twice, also as a member of a chain."""
    given = list(controllers)
    ids = [id(controller) for controller in flat(given)]
    if len(set(ids)) < len(ids):
        raise refuse(where, "controllers", given, "a list without repetitions: a controller counts what it sees")


def load_states(where: str, controllers: Iterable[Controller], states: Iterable[Any]) -> None:
    """Give each controller the state with its `kind`, all of them or none.

    Raises:
        StateError: a state is damaged, or one of another controller. Nothing has been changed then.
    """
    given = list(controllers)
    own = check_states(where, given, states)
    before = [controller.state_dict() for controller in given]
    try:
        for controller, state in zip(given, own, strict=True):
            controller.load_state_dict(state)
    except StateError:  # of a controller that checks more than `check_state` does
        for controller, state in zip(given, before, strict=True):
            controller.load_state_dict(state)
        raise


def check_states(where: str, controllers: Iterable[Controller], states: Iterable[Any]) -> list[dict[str, Any]]:
    """Return the state of each controller, without its `kind`.

    Raises:
        StateError: a state is damaged, or one of another controller.
    """
    given = list(controllers)
    try:
        own = [dict(state) for state in states]
        saved = [state.pop("kind") for state in own]
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"`{where}.load_state_dict`: the state is damaged: {error!r}.") from error
    kinds = [type(controller).__name__ for controller in given]
    if saved != kinds:
        raise StateError(
            f"`{where}.load_state_dict`: the state has the controllers {saved}, this has {kinds}. "
            "Give the same controllers in the same order."
        )
    for controller, state in zip(given, own, strict=True):
        controller.check_state(state)
    return own
