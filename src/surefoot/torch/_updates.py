"""How many updates an optimizer has really made: accumulated batches and steps that AMP skipped are none."""

from __future__ import annotations

import weakref
from typing import Any

import torch


class Updates:
    """Count an optimizer's updates by its own hooks, and skip one on demand.

    Hooks also run around compiled steps. `GradScaler` either does not call `step` after an overflow, or leaves the
    decision to a fused step, which is told by `found_inf`.

    Args:
        optimizer: it is not kept alive.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.count = 0  # since it was last taken
        self.is_next_skipped = False
        optimizer = innermost(optimizer)
        known, mine = weakref.ref(optimizer), weakref.ref(self)

        def before(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
            del args, kwargs
            this = mine()
            if this is not None and this.is_next_skipped and known() is optimizer:
                for group in optimizer.param_groups:
                    for parameter in group["params"]:
                        parameter.grad = None  # a parameter without gradient is left alone, state and all

        def after(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
            del args, kwargs
            this = mine()
            if this is None or known() is not optimizer:  # a deep copy has the same hooks
                return
            overflow = getattr(optimizer, "found_inf", None)
            is_made = not this.is_next_skipped and (overflow is None or not float(overflow))
            this.count += is_made
            this.is_next_skipped = False

        self._handles = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]

    def take(self) -> int:
        """Return the number of updates since this was last asked."""
        count, self.count = self.count, 0
        return count

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()


def innermost(optimizer: Any) -> torch.optim.Optimizer:
    """Return the optimizer inside of wrappers such as accelerate's: its hooks run, theirs do not."""
    inner = getattr(optimizer, "optimizer", None)
    return innermost(inner) if isinstance(inner, torch.optim.Optimizer) else optimizer
