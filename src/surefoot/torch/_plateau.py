"""torch's ReduceLROnPlateau, as a factor beside those of other schedulers."""

# torch's schedulers are typed in part, and what is overridden here returns less than theirs: never a tensor.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, SupportsFloat

from torch.optim import lr_scheduler as theirs

import torch
from surefoot._checks import integer, number
from surefoot.torch._factor import Factor, GroupsError
from surefoot.torch._team import team_of


class ReduceLROnPlateau(Factor, theirs.ReduceLROnPlateau):
    """Multiply the rate with `factor` when a metric has not improved for more than `patience` readings.

    Step it once a reading, beside any other scheduler of the optimizer: the cuts multiply with a warm-up or a cosine.

    A reading improves if it is below `best - threshold * |best|` (`threshold_mode="abs"`: `best - threshold`; with
    `mode="max"` above, with plus). torch's own is wrong for negative metrics. NaN and infinity never improve, never
    become the best, and are said once.

    Args:
        optimizer: the optimizer.
        mode: "min" or "max".
        factor: at least 0, below 1.
        patience: the readings without gain that are borne; one more cuts the rate.
        threshold: the least gain that counts.
        threshold_mode: "rel" for a share of the best, "abs" for the metric's own unit.
        cooldown: the readings after a cut that are not counted.
        min_lr: the rate is not cut below it; a list gives one for each parameter group.
        eps: a cut by no more than this is not made, which is said once. A small rate needs a smaller one.

    Examples:
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        >>> scheduler = ReduceLROnPlateau(optimizer, patience=0)
        >>> for loss in (-1.0, -1.0):
        ...     scheduler.step(loss)
        >>> optimizer.param_groups[0]["lr"]
        0.05
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0,
        eps: float = 1e-8,
    ) -> None:
        where = "ReduceLROnPlateau"
        number(where, "factor", factor, at_least=0, below=1, cure="0.5 halves the rate.")
        integer(where, "patience", patience, at_least=0)
        number(where, "threshold", threshold, at_least=0)
        integer(where, "cooldown", cooldown, at_least=0)
        number(where, "eps", eps, at_least=0)
        super().__init__(
            optimizer,
            mode=mode,
            factor=factor,
            patience=patience,
            threshold=threshold,
            threshold_mode=threshold_mode,
            cooldown=cooldown,
            min_lr=min_lr,
            eps=eps,
        )
        self.cuts = [1.0] * len(optimizer.param_groups)

    def factor_of(self, group: int) -> float:
        """Return what all cuts so far make."""
        return self.cuts[group] if group < len(self.cuts) else 1.0

    def go(self, step: Any) -> None:
        """Do nothing: time passes here with each reading."""

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:
        """Take a reading, and cut the rate if it is time.

        Args:
            metrics: the metric, a number or a tensor of one.
            epoch: the number of this reading; torch has deprecated it.
        """
        if epoch is not None:
            warnings.warn(theirs.EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        team_of(self.optimizer).join(self)
        team_of(self.optimizer).note_edits(self.optimizer.param_groups)
        self.read(metrics, epoch)
        self.write()

    def read(self, metrics: SupportsFloat, epoch: int | None = None) -> None:
        """Take a reading; the new rate is not yet written."""
        value = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if not math.isfinite(value):
            self.warn_once(f"ReduceLROnPlateau was given {value}: it counts as a reading without gain.", 4)
        if self.is_gain(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._cut()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def is_gain(self, value: float) -> bool:
        """Whether a value would become the best."""
        if not math.isfinite(value):
            return False
        if not math.isfinite(self.best):
            return True
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1.0)
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    def write(self) -> None:
        """Write the rates; a group that was added since has no cuts."""
        self.cuts += [1.0] * (len(self.optimizer.param_groups) - len(self.cuts))
        super().write()

    def _cut(self) -> None:
        rates = self.get_last_lr()
        self.cuts += [1.0] * (len(rates) - len(self.cuts))
        if len(self.min_lrs) != len(rates):
            if self.default_min_lr is None:
                raise GroupsError(
                    f"The number of param groups in the `optimizer` is {len(rates)}, and there are {len(self.min_lrs)} "
                    "`min_lr`. Append one to `scheduler.min_lrs` for each group that was added."
                )
            self.min_lrs = [self.default_min_lr] * len(rates)
        for i, (rate, floor) in enumerate(zip(rates, self.min_lrs, strict=True)):
            lower = max(rate * self.factor, floor)
            if rate - lower > self.eps:
                self.cuts[i] *= lower / rate
            elif rate > lower:
                self.warn_once(
                    f"ReduceLROnPlateau leaves the rate {rate:g} of parameter group {i}: the cut is not above eps="
                    f"{self.eps:g}. Give a smaller `eps`.",
                    stacklevel=5,
                )
