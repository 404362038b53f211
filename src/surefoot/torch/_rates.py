"""How rates are written to an optimizer's parameter groups, where they are floats and where they are tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import torch


class RateWriter:
    """Fill the tensors that hold rates, in place, so that compiled steps and CUDA graphs see the value.

    A tensor in the host's memory is written through a view in NumPy, 20 times as fast as `fill_`.
    """

    def __init__(self) -> None:
        self._views: dict[int, tuple[torch.Tensor, int, Any]] = {}  # by id: the tensor, its address, the view

    def write(self, group: dict[str, Any], rate: float) -> None:
        """Write the rate of a parameter group."""
        lr = group["lr"]
        found = self._views.get(id(lr))
        if found is not None and found[0] is lr and found[1] == lr.data_ptr():
            found[2][()] = rate
        elif isinstance(lr, torch.Tensor):
            with torch.no_grad():
                lr.fill_(rate)
            self._remember(lr)
        else:
            group["lr"] = rate  # an int, or a number of NumPy

    def _remember(self, lr: torch.Tensor) -> None:
        if lr.device.type == "cpu" and lr.dtype in {torch.float32, torch.float64} and lr.dim() == 0:
            if len(self._views) > 10_000:  # tensors that were replaced at every step
                self._views.clear()
            view: Any = np.asarray(lr.detach().numpy())
            self._views[id(lr)] = (lr, lr.data_ptr(), view)


def writer_of(
    optimizer: torch.optim.Optimizer,
    bases: Sequence[float],
    factors_at: Sequence[Callable[[float], float]],
    controlled: float,
    tensors: RateWriter,
) -> Callable[[float], bool]:
    """Return a function that writes the rates of a step; it says whether the parameter groups are still as many.

    It is called at every step of a run. So all that is the same at each of them is known to it, and it is made anew when
    that changes. It knows no groups and no tensors: `load_state_dict` of an optimizer replaces them.

    Args:
        optimizer: with the parameter groups.
        bases: the base rate of each.
        factors_at: the schedule as a function of the step, one for all groups or one for each.
        controlled: the product of the controllers' factors.
        tensors: what fills rates that are tensors.
    """
    count, write = len(bases), tensors.write

    if len(factors_at) == count > 1:

        def write_each(step: float) -> bool:
            groups = optimizer.param_groups
            if len(groups) != count:
                return False
            for group, base, factor_at in zip(groups, bases, factors_at):  # noqa: B905 - checked
                rate = base * (factor_at(step) * controlled)
                if type(group["lr"]) is float:
                    group["lr"] = rate
                else:
                    write(group, rate)
            return True

        return write_each

    factor_at = factors_at[0]

    if len(set(bases)) == 1:
        one_base = bases[0]

        def write_one(step: float) -> bool:  # twice as fast as below: one number for all
            groups = optimizer.param_groups
            if len(groups) != count:
                return False
            rate = one_base * (factor_at(step) * controlled)
            for group in groups:
                if type(group["lr"]) is float:
                    group["lr"] = rate
                else:
                    write(group, rate)
            return True

        return write_one

    def write_all(step: float) -> bool:
        groups = optimizer.param_groups
        if len(groups) != count:
            return False
        factor = factor_at(step) * controlled
        for group, base in zip(groups, bases):  # noqa: B905 - checked
            if type(group["lr"]) is float:
                group["lr"] = base * factor
            else:
                write(group, base * factor)
        return True

    return write_all
