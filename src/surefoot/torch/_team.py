"""The schedulers of one optimizer: each holds a factor, and the rate is the initial one times all of them."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from surefoot._errors import StateError
from surefoot.torch._rates import RateWriter
from surefoot.torch._updates import innermost

_ROUNDING = 1e-6  # a rate that was kept in float32 and comes back is the same rate


class Member(Protocol):
    """What a team asks of a scheduler."""

    leaves_its_factor: bool

    def applied(self, rate: float, base: float, group: int) -> float:
        """Return the rate of a parameter group after this scheduler's part."""
        ...


class Team:
    """The rates of one optimizer, and whose factors they are made of.

    It holds neither the optimizer nor the schedulers, so that no reference cycle arises.

    Attributes:
        edits: by parameter group, what the rate was multiplied with by hand (`group["lr"] *= 0.5`), and what schedulers
            that are gone have left behind.
    """

    def __init__(self) -> None:
        self.edits: list[float] = []
        self._bases: list[float] = []
        self._seen: list[object] = []  # the `initial_lr` that each base was read from
        self._written: list[tuple[object, int, float]] = []  # the `lr` itself, its version, the rate
        self._members: list[tuple[weakref.ref[Any], bool, list[float]]] = []  # with its latest factors
        self._aside: weakref.WeakSet[Any] = weakref.WeakSet()
        self._writer = RateWriter()

    @property
    def is_new(self) -> bool:
        """Whether no rate was written yet."""
        return not self._written

    def join(self, member: Member) -> None:
        """Let a scheduler's factor count, if it does not already."""
        if member not in self._aside and all(ref() is not member for ref, _, _ in self._members):
            self._members.append((weakref.ref(member), member.leaves_its_factor, [1.0] * len(self.edits)))

    def put_aside(self, member: Member) -> None:
        """Let a scheduler's factor count no more: it is part of another, or another goes on for it."""
        self._aside.add(member)
        self._members = [entry for entry in self._members if entry[0]() is not member]

    def supersede(self, member: Member) -> None:
        """Put the schedulers of the same class aside: this one was told that it goes on at their step."""
        for ref, _, _ in list(self._members):
            other = ref()
            if other is not None and other is not member and type(other) is type(member):
                self.put_aside(other)

    def note_edits(self, groups: Sequence[dict[str, Any]]) -> None:
        """Take what was done to a rate since it was written as a factor."""
        self._meet(groups)
        found = self.rates(groups)
        if self._written:
            made = [rate for _, _, rate in self._written]
        else:  # a plateau, which changes no rate before its first cut; copies of an optimizer and its schedulers
            made = [self._product(i) for i in range(len(groups))]
        for i, (now, before) in enumerate(zip(found, made, strict=False)):
            if now != before and before and math.isfinite(now):
                self.edits[i] *= now / before
        self._note_written(groups, found)

    def rates(self, groups: Sequence[dict[str, Any]]) -> list[float]:
        """Return the present rates; a tensor is read only if it is not as it was written."""
        rates: list[float] = []
        for i, group in enumerate(groups):
            lr = group["lr"]
            if not isinstance(lr, torch.Tensor):
                rates.append(float(lr))
                continue
            known, version, rate = self._written[i] if i < len(self._written) else (None, 0, math.nan)
            if known is not lr or version != lr._version:  # noqa: SLF001 - the only sign of a write that needs no copy
                value = float(lr)
                rate = rate if math.isclose(value, rate, rel_tol=_ROUNDING) else value
            rates.append(rate)
        return rates

    def write(self, groups: Sequence[dict[str, Any]]) -> None:
        """Write the rate of every parameter group."""
        self._bury()
        self._meet(groups)
        rates: list[float] = []
        for i, group in enumerate(groups):
            rate = self._product(i)
            rates.append(rate)
            if type(group["lr"]) is float:
                group["lr"] = rate
            else:
                self._writer.write(group, rate)
        self._note_written(groups, rates)

    def state(self, groups: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
        """Return what all schedulers of an optimizer share, as plain data."""
        self.note_edits(groups)
        return {"initial_lrs": list(self._bases), "edits": list(self.edits)}

    def load(self, groups: Sequence[dict[str, Any]], state: Mapping[str, Any]) -> None:
        """Take the initial rates and the edits of a saved run; `write` writes them."""
        self._meet(groups)
        try:
            bases, edits = ([float(value) for value in state[key]] for key in ("initial_lrs", "edits"))
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"`load_state_dict`: the state is damaged: {error}.") from error
        for group, base in zip(groups, bases, strict=True):
            group["initial_lr"] = base
        self.edits[:] = edits

    def _product(self, i: int) -> float:
        """Return the rate of a parameter group, and note each scheduler's part in it."""
        rate = self._bases[i]
        for ref, _, factors in self._members:
            member = ref()
            if member is not None:
                after = member.applied(rate, self._bases[i], i)
                factors[i] = after / rate if rate else 1.0
                rate = after
        return rate * self.edits[i]

    def _note_written(self, groups: Sequence[dict[str, Any]], rates: Sequence[float]) -> None:
        lrs = [group["lr"] for group in groups]
        versions = [lr._version if isinstance(lr, torch.Tensor) else 0 for lr in lrs]  # noqa: SLF001 - as above
        self._written = list(zip(lrs, versions, rates, strict=True))

    def _bury(self) -> None:
        """Keep the factors of the dead, if torch's class would leave its own in the rate."""
        for ref, leaves, factors in self._members:
            if leaves and ref() is None:
                self.edits[:] = [edit * factor for edit, factor in zip(self.edits, factors, strict=True)]
        self._members = [entry for entry in self._members if entry[0]() is not None]

    def _meet(self, groups: Sequence[dict[str, Any]]) -> None:
        """Know the initial rate of every group, and welcome the groups that were added since."""
        for i, group in enumerate(groups):
            if i == len(self._bases):
                self._bases.append(self._base_of(groups, i))
                self._seen.append(group.setdefault("initial_lr", self._bases[i]))
                self.edits.append(1.0)
                for _, _, factors in self._members:
                    factors.append(1.0)
            elif group.get("initial_lr") is not self._seen[i]:
                self._seen[i] = group.setdefault("initial_lr", self._bases[i])
                self._bases[i] = float(self._seen[i])  # pyright: ignore[reportArgumentType] - a number or a tensor

    def _base_of(self, groups: Sequence[dict[str, Any]], i: int) -> float:
        """Return the initial rate of a group that is met for the first time."""
        group = groups[i]
        if "initial_lr" in group:
            return float(group["initial_lr"])
        # A group without a rate of its own holds the very tensor of the defaults, which the others have filled.
        is_shared = isinstance(group["lr"], torch.Tensor)
        twin = next((k for k in range(i) if is_shared and groups[k]["lr"] is group["lr"]), None)
        return float(group["lr"]) if twin is None else self._bases[twin]


_teams: weakref.WeakKeyDictionary[torch.optim.Optimizer, Team] = weakref.WeakKeyDictionary()


def team_of(optimizer: torch.optim.Optimizer) -> Team:
    """Return the team of an optimizer; a wrapper such as accelerate's has that of the one inside."""
    inside = innermost(optimizer)
    team = _teams.get(inside)
    if team is None:
        team = _teams[inside] = Team()
    return team
