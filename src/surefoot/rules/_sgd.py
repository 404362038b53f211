"""Stochastic gradient descent: the simplest rule, with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from surefoot.rules._math import where, zeros_like
from surefoot.rules._rule import Rule, Slots


@dataclass(frozen=True, slots=True, kw_only=True)
class SGD(Rule):
    """Step against the gradient, or against a running sum of gradients.

    Use it for convolutional networks and wherever a well-tuned rate is at hand; it needs the most careful rate of all.

        m = momentum * m + (1 - dampening) * g        (m = g at the first step)
        dx = -lr * m,        or with nesterov: dx = -lr * (g + momentum * m)

    Args:
        momentum: 0 for none; in [0, 1].
        dampening: in [0, 1]; torch's, 0 elsewhere.
        nesterov: look ahead along the momentum.
        rate_in_buffer: m collects the steps -lr * g, so that a later rate does not rescale earlier ones (Keras).

    References:
        Polyak, 1964; Nesterov, 1983; Sutskever et al., "On the importance of initialization and momentum", 2013.
    """

    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    rate_in_buffer: bool = False

    def __post_init__(self) -> None:
        self._check(momentum="[0, 1]", dampening="[0, 1]")

    def init(self, x: Any) -> Slots:
        """Return the momentum, if there is one."""
        return {"m": zeros_like(x)} if self.momentum else {}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        del x
        if not self.momentum:
            return -lr * g, {}
        g = -lr * g if self.rate_in_buffer else g
        added = where(t > 1, 1.0 - self.dampening, 1.0, like=lr) * g if self.dampening else g
        m = self.momentum * slots["m"] + added
        step = g + self.momentum * m if self.nesterov else m
        return (step if self.rate_in_buffer else -lr * step), {"m": m}
