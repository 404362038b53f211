"""The first adaptive rules: a rate per parameter from the history of squared gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from surefoot._checks import refuse
from surefoot.rules._math import sqrt, unbias, zeros_like
from surefoot.rules._rule import Rule, Slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Adagrad(Rule):
    """Divide by the root of the sum of all squared gradients so far: parameters that moved much move less.

    Use it for sparse features and convex problems; in long runs its rate dies away.

        v = v + g^2
        dx = -lr / (1 + (t - 1) * lr_decay) * g / (sqrt(v) + eps)

    Args:
        lr_decay: at least 0.
        start: the first value of v.
        eps: at least 0.
        eps_inside: divide by sqrt(v + eps) instead (optax, Keras).

    References:
        Duchi, Hazan, Singer, "Adaptive Subgradient Methods", 2011.
    """

    lr_decay: float = 0.0
    start: float = 0.0
    eps: float = 1e-10
    eps_inside: bool = False

    def __post_init__(self) -> None:
        self._check(lr_decay="[0, inf)", start="[0, inf)", eps="[0, inf)")

    def init(self, x: Any) -> Slots:
        """Return the sum of squares."""
        return {"v": zeros_like(x) + self.start}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        del x
        v = slots["v"] + g * g
        rate = lr / (1.0 + (t - 1.0) * self.lr_decay)
        return -rate * (g / (sqrt(v + self.eps) if self.eps_inside else sqrt(v) + self.eps)), {"v": v}


@dataclass(frozen=True, slots=True, kw_only=True)
class Adadelta(Rule):
    """Divide by a running root mean square of gradients, multiply by that of past changes: no units, and lr about 1.

    Use it where no rate is known and speed does not matter; it starts slowly.

        v = rho * v + (1 - rho) * g^2
        d = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d^2
        dx = -lr * d

    Args:
        rho: in [0, 1].
        eps: at least 0; it also decides how fast the start is.

    References:
        Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, arXiv:1212.5701.
    """

    rho: float = 0.9
    eps: float = 1e-6

    def __post_init__(self) -> None:
        self._check(rho="[0, 1]", eps="[0, inf)")

    def init(self, x: Any) -> Slots:
        """Return the two running means of squares."""
        return {"v": zeros_like(x), "u": zeros_like(x)}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        del x, t
        rho = self.rho
        v = rho * slots["v"] + (1.0 - rho) * (g * g)
        d = sqrt(slots["u"] + self.eps) / sqrt(v + self.eps) * g
        return -lr * d, {"v": v, "u": rho * slots["u"] + (1.0 - rho) * (d * d)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RMSprop(Rule):
    """Divide by a running root mean square of gradients.

    Use it for recurrent networks and reinforcement learning; Adam is RMSprop with momentum done right.

        v = rho * v + (1 - rho) * g^2
        n = g / (sqrt(v) + eps),        centered: g / (sqrt(v - a^2) + eps) with a = rho * a + (1 - rho) * g
        m = momentum * m + n
        dx = -lr * m

    Args:
        rho: in [0, 1].
        eps: at least 0.
        momentum: 0 for none; in [0, 1].
        centered: subtract the square of the mean. Near-constant gradients cancel there: v - a^2 has then few or no
            right digits and may be negative, which gives NaN, as in torch, optax and Keras.
        eps_inside: divide by sqrt(v + eps) instead (Keras).
        rate_in_buffer: m collects lr * n (Keras, optax).
        start: the first value of v; at least 0.
        unbiased: divide v by 1 - rho^t: Adam without momentum. Not with `centered`: of the first gradients nothing is
            left there.

    References:
        Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012; centered: Graves, 2013.
    """

    rho: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    eps_inside: bool = False
    rate_in_buffer: bool = False
    start: float = 0.0
    unbiased: bool = False

    def __post_init__(self) -> None:
        self._check(rho="[0, 1]", eps="[0, inf)", momentum="[0, 1]", start="[0, inf)")
        if self.centered and self.unbiased:
            raise refuse("RMSprop", "unbiased", value=True, allowed="False where centered=True")

    def init(self, x: Any) -> Slots:
        """Return the running means, and the momentum if there is one."""
        slots = {"v": zeros_like(x) + self.start}
        if self.centered:
            slots["a"] = zeros_like(x)
        if self.momentum:
            slots["m"] = zeros_like(x)
        return slots

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        del x
        rho = self.rho
        v = rho * slots["v"] + (1.0 - rho) * (g * g)
        new = {"v": v}
        if self.centered:
            a = new["a"] = rho * slots["a"] + (1.0 - rho) * g
            v = v - a * a
        if self.unbiased:
            v = v * (1.0 / unbias(rho, t))
        n = g / (sqrt(v + self.eps) if self.eps_inside else sqrt(v) + self.eps)
        if not self.momentum:
            return -lr * n, new
        n = lr * n if self.rate_in_buffer else n
        m = self.momentum * slots["m"] + n
        return (-m if self.rate_in_buffer else -lr * m), {**new, "m": m}
