"""torch's schedulers under torch's own names and arguments, made to work together; change one import.

    from surefoot.torch.lr_scheduler import LinearLR, ReduceLROnPlateau  # instead of torch.optim.lr_scheduler

Each class is a subclass of torch's, with its arguments, defaults and, alone, its rates. What is different:

- The rate of a parameter group is its `initial_lr` times the factors of all schedulers on the optimizer, in whatever
  order they are made, stepped and loaded: warm-up times plateau, cosine times steps.
- A change of `group["lr"]` by hand is one more factor, and stays.
- Parameter groups may be added at any time; they are given their own initial rate times the same factors.
- `state_dict()` is plain data, `load_state_dict()` writes the rate, before or after the optimizer's own.
- A rate in a tensor is filled in place, and `get_last_lr()` returns floats.
- `ReduceLROnPlateau` is right for negative metrics, and may be part of `SequentialLR` and `ChainedScheduler`.
- `CosineAnnealingLR` and `OneCycleLR` keep their last rate after their end, and say so once.

A scheduler counts as long as you keep it. If it is dropped, its last factor stays where torch's class would leave it in
the rate; `LambdaLR`, `CosineAnnealingWarmRestarts`, `CyclicLR` and `OneCycleLR` leave nothing. One that is made with
`last_epoch` of 0 or more goes on for the one of its class before it. For new code there is `surefoot.torch.drive`, which
also counts the updates that really happened.
"""

# torch's schedulers are typed in part, and what is overridden here returns less than theirs: never a tensor.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch.optim import lr_scheduler as theirs
from torch.optim.lr_scheduler import EPOCH_DEPRECATION_WARNING, LRScheduler

from surefoot._checks import integer, number, refuse
from surefoot._errors import SurefootWarning
from surefoot.torch._composed import ChainedScheduler, SequentialLR
from surefoot.torch._factor import Absolute, Factor, Lambdas
from surefoot.torch._momentum_cycles import CyclicLR, OneCycleLR
from surefoot.torch._plateau import ReduceLROnPlateau
from surefoot.torch._team import team_of

__all__ = [
    "EPOCH_DEPRECATION_WARNING",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


class LambdaLR(Lambdas, theirs.LambdaLR):
    """Multiply with a function of the step, one for all parameter groups or a list of one for each.

    `factor = lr_lambda(t)`. The function itself is not saved: give the same one when you resume.

    Examples:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        >>> scheduler = LambdaLR(optimizer, lambda step: 0.5**step)
        >>> optimizer.step(); scheduler.step()
        >>> optimizer.param_groups[0]["lr"]
        0.25
    """

    leaves_its_factor = False

    def factor_of(self, group: int) -> float:
        """Ask the group's function."""
        return float(self.of_group("lr_lambdas", group)(self.last_epoch))

    def state(self) -> dict[str, Any]:
        """Return the state, with what the functions say now."""
        return {**super().state(), "factors": [self.factor_of(i) for i in range(len(self.lr_lambdas))]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state, and say if the functions are not those of the saved run."""
        super().load(state)
        saved = state.get("factors", ())
        if any(not math.isclose(self.factor_of(i), factor, rel_tol=1e-9) for i, factor in enumerate(saved)):
            text = (
                f"The run was saved with a `lr_lambda` that gave {saved} at step {self.last_epoch}; the present one gives "
                f"{[self.factor_of(i) for i in range(len(saved))]}. Functions are not saved: give the same one."
            )
            warnings.warn(text, SurefootWarning, stacklevel=3)


class MultiplicativeLR(Lambdas, theirs.MultiplicativeLR):
    """Multiply the rate at every step with what a function says: `factor = f(1) * f(2) * ... * f(t)`."""

    products: list[float]

    def go(self, step: int) -> None:
        """Multiply once more, or from the start."""
        before, self.last_epoch = self.last_epoch, step
        if step == before + 1 and "products" in vars(self):
            self.products = [p * float(self.of_group("lr_lambdas", i)(step)) for i, p in enumerate(self.products)]
        else:
            self.products = []
        self.welcome()

    def welcome(self) -> None:
        """Multiply for the groups that are new."""
        for i in range(len(self.products), len(self.optimizer.param_groups)):
            self.products.append(
                math.prod(float(self.of_group("lr_lambdas", i)(t)) for t in range(1, self.last_epoch + 1))
            )

    def factor_of(self, group: int) -> float:
        """Return the product so far."""
        return self.products[group]

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state; torch's has no products."""
        super().load(state)
        self.products = list(state.get("products", ()))


class StepLR(Factor, theirs.StepLR):
    """Multiply with `gamma` every `step_size` steps: `factor = gamma ** (t // step_size)`."""

    def check(self) -> None:
        """Refuse what torch would fail with at the first step, or never."""
        integer("StepLR", "step_size", self.step_size, at_least=1)
        number("StepLR", "gamma", self.gamma)

    def factor_of(self, group: int) -> float:
        """Return the power of gamma."""
        del group
        return float(self.gamma ** (self.last_epoch // self.step_size))


class MultiStepLR(Factor, theirs.MultiStepLR):
    """Multiply with `gamma` at each of the `milestones`: `factor = gamma ** (milestones that are not after t)`."""

    def check(self) -> None:
        """Refuse what torch takes silently."""
        number("MultiStepLR", "gamma", self.gamma)

    def factor_of(self, group: int) -> float:
        """Return the power of gamma."""
        del group
        return float(self.gamma ** bisect_right(sorted(self.milestones.elements()), self.last_epoch))

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state; the counts have become a plain dict."""
        super().load(state)
        self.milestones = Counter(self.milestones)


class ConstantLR(Factor, theirs.ConstantLR):
    """Multiply with `factor` until step `total_iters`, then with 1."""

    def check(self) -> None:
        """Refuse what torch takes silently."""
        number("ConstantLR", "factor", self.factor)

    def factor_of(self, group: int) -> float:
        """Return `factor`, or 1."""
        del group
        return float(self.factor) if self.last_epoch < self.total_iters else 1.0


class LinearLR(Factor, theirs.LinearLR):
    """Go in a line from `start_factor` to `end_factor` within `total_iters` steps, and stay there."""

    def check(self) -> None:
        """Refuse what torch takes silently."""
        number("LinearLR", "start_factor", self.start_factor)
        number("LinearLR", "end_factor", self.end_factor)

    def factor_of(self, group: int) -> float:
        """Return the point of the line."""
        del group
        if self.last_epoch >= self.total_iters:
            return float(self.end_factor)
        return self.start_factor + (self.end_factor - self.start_factor) * self.last_epoch / self.total_iters


class ExponentialLR(Factor, theirs.ExponentialLR):
    """Multiply with `gamma` at every step: `factor = gamma ** t`."""

    def check(self) -> None:
        """Refuse what torch takes silently."""
        number("ExponentialLR", "gamma", self.gamma)

    def factor_of(self, group: int) -> float:
        """Return the power of gamma."""
        del group
        return float(self.gamma**self.last_epoch)


class PolynomialLR(Factor, theirs.PolynomialLR):
    """Fall to zero within `total_iters` steps: `factor = (1 - t / total_iters) ** power`."""

    def check(self) -> None:
        """Refuse what torch takes silently."""
        number("PolynomialLR", "power", self.power, at_least=0)

    def factor_of(self, group: int) -> float:
        """Return the power of what is left."""
        del group
        left = 1.0 - self.last_epoch / self.total_iters if self.last_epoch < self.total_iters else 0.0
        return float(left**self.power)


class CosineAnnealingLR(Absolute, theirs.CosineAnnealingLR):
    """Fall along half a cosine from the initial rate to `eta_min` within `T_max` steps, and stay there.

    `lr = eta_min + (initial_lr - eta_min) * (1 + cos(pi * t / T_max)) / 2`. torch's rises again after `T_max`; this one
    says once that it does not. For cycles take `CosineAnnealingWarmRestarts`. Source: SGDR, Loshchilov and Hutter, 2017.
    """

    def check(self) -> None:
        """Refuse what torch would fail with at the first step, or never."""
        integer("CosineAnnealingLR", "T_max", self.T_max, at_least=1)
        number("CosineAnnealingLR", "eta_min", self.eta_min)

    def step(self, epoch: Any = None) -> None:
        """Go to the next step, and say once that the end is behind."""
        super().step(epoch)
        if epoch is None and self.last_epoch > self.T_max:
            self.warn_once(
                f"Step {self.last_epoch} is after T_max={self.T_max}: CosineAnnealingLR stays at eta_min={self.eta_min:g}, "
                "where torch's would rise again. Raise T_max to the length of the run, or use CosineAnnealingWarmRestarts."
            )

    def target(self, base: float, group: int) -> float:
        """Return the cosine's rate."""
        del group
        if self.last_epoch >= self.T_max:
            return float(self.eta_min)
        return self.eta_min + (base - self.eta_min) * (1.0 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2.0


class CosineAnnealingWarmRestarts(Absolute, theirs.CosineAnnealingWarmRestarts):
    """Fall along half a cosine within `T_0` steps, start anew, each time within `T_mult` times as many steps.

    `step(epoch)` may be given fractions, as in `scheduler.step(epoch + batch / batches)`. Source: SGDR, Loshchilov and
    Hutter, 2017.
    """

    leaves_its_factor = False

    def step(self, epoch: Any = None) -> None:
        """Go to the next step, or to any, also between two."""
        if epoch is None:
            super().step()
            return
        if epoch < 0:
            raise refuse("step", "epoch", epoch, "at least 0")
        team_of(self.optimizer).note_edits(self.optimizer.param_groups)
        self._be_at(epoch)
        self.write()

    def go(self, step: int) -> None:
        """Be one step further in this cycle, or at a step as nobody has changed the cycle."""
        if self._step_count > 1 and step == self.last_epoch + 1:
            self.last_epoch = step
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            self._be_at(step)

    def _be_at(self, step: float) -> None:
        start, self.T_i = 0, self.T_0
        if self.T_mult == 1:
            start = step // self.T_0 * self.T_0
        else:
            while step >= start + self.T_i:
                start += self.T_i
                self.T_i *= self.T_mult
        self.T_cur, self.last_epoch = step - start, math.floor(step)

    def target(self, base: float, group: int) -> float:
        """Return the cosine's rate."""
        del group
        return self.eta_min + (base - self.eta_min) * (1.0 + math.cos(math.pi * self.T_cur / self.T_i)) / 2.0
