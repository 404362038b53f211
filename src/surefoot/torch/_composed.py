"""torch's schedulers that are made of schedulers: one after the other, or all at once."""

# torch's schedulers are typed in part, and what is overridden here returns less than theirs: never a tensor.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, SupportsFloat

from torch.optim import lr_scheduler as theirs

import torch
from surefoot._checks import refuse, refuse_type
from surefoot._errors import StateError
from surefoot.torch._factor import Factor, plain
from surefoot.torch._plateau import ReduceLROnPlateau
from surefoot.torch._team import team_of


class _Composed(Factor):
    """A scheduler of schedulers."""

    _schedulers: list[Any]

    def _take(self, optimizer: torch.optim.Optimizer, schedulers: Sequence[Any], last_epoch: int) -> None:
        """Make the schedulers parts of this one, at the step after `last_epoch`."""
        where = type(self).__name__
        if len(schedulers) < 1:
            raise refuse(where, "schedulers", schedulers, "at least one scheduler")
        for part in schedulers:
            if not isinstance(part, Factor):
                cure = "For others there is torch's own class."
                raise refuse_type(where, "schedulers", part, "schedulers of surefoot.torch.lr_scheduler", cure)
            if part.optimizer is not optimizer:
                raise refuse(where, "schedulers", part, "of the same optimizer")
        self.optimizer = optimizer
        self._schedulers = list(schedulers)
        team = team_of(optimizer)
        for part in schedulers:
            team.put_aside(part)
        if last_epoch >= 0:
            team.supersede(self)
        self.last_epoch = last_epoch
        self._step_count = 1
        self.go(last_epoch + 1)
        self.write()

    def active(self) -> Iterator[Any]:
        """Yield the parts whose factors count now."""
        yield from self._schedulers

    def applied(self, rate: float, base: float, group: int) -> float:
        """Let the parts that count have theirs, one after the other."""
        for part in self.active():
            rate = part.applied(rate, base, group)
        return rate

    def step(self, metrics: SupportsFloat | None = None) -> None:
        """Go to the next step and write the rate of every parameter group.

        Args:
            metrics: the reading for a ReduceLROnPlateau among the schedulers, which needs one whenever it counts.
        """
        team_of(self.optimizer).note_edits(self.optimizer.param_groups)
        self._step_count += 1
        self.go(self.last_epoch + 1)
        self.write()
        if self.read(metrics):
            self.write()

    def read(self, metrics: SupportsFloat | None) -> bool:
        """Give the reading to those that want one; return whether any did."""
        does_read = False
        for part in self.active():
            if isinstance(part, ReduceLROnPlateau):
                if metrics is None:
                    cure = "As in `scheduler.step(val_loss)`."
                    raise refuse_type("step", "metrics", metrics, "a number while ReduceLROnPlateau counts", cure)
                part.read(metrics)
                does_read = True
            elif isinstance(part, _Composed):
                does_read |= part.read(metrics)
        return does_read

    def write_momentum(self) -> None:
        """Let the parts that count write it."""
        for part in self.active():
            part.write_momentum()

    def welcome(self) -> None:
        """Let all parts know of groups that were added since."""
        for part in self._schedulers:
            part.welcome()

    def state(self) -> dict[str, Any]:
        """Return the state, with those of the parts."""
        own = {name: plain(value) for name, value in vars(self).items() if name not in {"optimizer", "_schedulers"}}
        return {**own, "_schedulers": [part.state() for part in self._schedulers]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state, and give the parts theirs."""
        own, given = self._schedulers, state.get("_schedulers", ())
        if len(given) != len(own):
            raise StateError(
                f"`load_state_dict`: the state has {len(given)} schedulers, this {type(self).__name__} {len(own)}. "
                "Make it of the same schedulers as the saved one."
            )
        super().load(state)
        self._schedulers = own
        for part, its in zip(own, given, strict=True):
            part.load(its)

    def __setstate__(self, state: dict[str, Any]) -> None:
        for part in state["_schedulers"]:
            team_of(state["optimizer"]).put_aside(part)
        super().__setstate__(state)


class SequentialLR(_Composed, theirs.SequentialLR):
    """Let schedulers act one after the other, each from its own step 0 at its milestone.

    A ReduceLROnPlateau may be one of them; from its milestone on `step(metrics)` wants a reading.

    Args:
        optimizer: the optimizer.
        schedulers: those of this module, made before on the same optimizer.
        milestones: the step at which the second, the third, ... begins; one less than schedulers, none before another.
        last_epoch: the step before the one to begin at; -1 begins at 0.

    Examples:
        >>> from surefoot.torch.lr_scheduler import LinearLR, ReduceLROnPlateau
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        >>> warmup = LinearLR(optimizer, start_factor=0.5, total_iters=1)
        >>> plateau = ReduceLROnPlateau(optimizer, patience=0)
        >>> scheduler = SequentialLR(optimizer, [warmup, plateau], milestones=[1])
        >>> for loss in (1.0, 1.0):
        ...     optimizer.step(); scheduler.step(loss)
        >>> optimizer.param_groups[0]["lr"]
        0.05
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, schedulers: list[Any], milestones: list[int], last_epoch: int = -1
    ) -> None:
        if len(milestones) != len(schedulers) - 1 or sorted(milestones) != list(milestones):
            cure = "A milestone is the step at which the next scheduler begins."
            raise refuse("SequentialLR", "milestones", milestones, "ascending, and one less than schedulers", cure)
        self._milestones = list(milestones)
        self._take(optimizer, schedulers, last_epoch)

    def active(self) -> Iterator[Any]:
        """Yield the one whose turn it is."""
        yield self._schedulers[bisect_right(self._milestones, self.last_epoch)]

    def go(self, step: int) -> None:
        """Be at a step: the one whose turn it is counts from its milestone."""
        self.last_epoch = step
        turn = bisect_right(self._milestones, step)
        self._schedulers[turn].go(step - (self._milestones[turn - 1] if turn else 0))


class ChainedScheduler(_Composed, theirs.ChainedScheduler):
    """Multiply schedulers; two on one optimizer multiply without it, too.

    Args:
        schedulers: those of this module, made before on the same optimizer.
        optimizer: the optimizer; None takes that of the first.
    """

    def __init__(self, schedulers: Sequence[Any], optimizer: torch.optim.Optimizer | None = None) -> None:
        first = getattr(schedulers[0], "optimizer", None) if schedulers else None
        self._take(optimizer or first, schedulers, -1)  # pyright: ignore[reportArgumentType] - refused there

    def go(self, step: int) -> None:
        """Be at a step, all of them."""
        self.last_epoch = step
        for part in self._schedulers:
            part.go(step)

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state; torch's has no step of its own."""
        first = next(iter(state.get("_schedulers", ())), {})
        super().load({"last_epoch": first.get("last_epoch", 0), **state})
