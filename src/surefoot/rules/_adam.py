"""Adam and its family: momentum over a running root mean square, both corrected for their start at zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from surefoot.rules._math import absolute, maximum, sign, sqrt, unbias, where, zeros_like
from surefoot.rules._rule import Rule, Slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Adam(Rule):
    """Adaptive moments: the default of the field.

    Use it when in doubt, with decoupled weight decay (AdamW) for anything large.

        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g^2
        dx = -lr * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

    Args:
        b1: in [0, 1).
        b2: in [0, 1).
        eps: at least 0.
        amsgrad: divide by the largest v so far.
        amsgrad_corrected: take the largest of the *corrected* v (optax); else of v itself (torch, Keras).
        eps_hat: eps is added before the correction, as in Keras ("epsilon hat" of the paper).
        eps_root: added to the corrected v, inside the root (optax); at least 0.
        nesterov: b1 * m / (1 - b1^(t+1)) + (1 - b1) * g / (1 - b1^t) takes the place of m / (1 - b1^t): NAdam without
            its growing momentum (optax).

    References:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014, arXiv:1412.6980; Reddi et al., 2018
        (AMSGrad); Dozat, "Incorporating Nesterov Momentum into Adam", 2016 (nesterov).
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    amsgrad: bool = False
    amsgrad_corrected: bool = False
    eps_hat: bool = False
    eps_root: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        self._check(b1="[0, 1)", b2="[0, 1)", eps="[0, inf)", eps_root="[0, inf)")

    def init(self, x: Any) -> Slots:
        """Return the two moments, and the largest second one with amsgrad."""
        slots = {"m": zeros_like(x), "v": zeros_like(x)}
        if self.amsgrad:
            slots["v_max"] = zeros_like(x)
        return slots

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        del x
        m = self.b1 * slots["m"] + (1.0 - self.b1) * g
        v = self.b2 * slots["v"] + (1.0 - self.b2) * (g * g)
        new = {"m": m, "v": v}
        c1, c2 = unbias(self.b1, t), unbias(self.b2, t)
        if self.amsgrad and self.amsgrad_corrected:
            v, c2 = v / c2, 1.0
        if self.amsgrad:
            new["v_max"] = v = maximum(slots["v_max"], v)
        if self.nesterov:
            m, c1 = _look_ahead(self.b1, t, m, g), 1.0
        if self.eps_root:
            v = v + self.eps_root * c2
        root = sqrt(c2)
        if self.eps_hat:
            return -(lr * root / c1) * (m / (sqrt(v) + self.eps)), new
        return -(lr / c1) * (m / (sqrt(v) * (1.0 / root) + self.eps)), new


def _look_ahead(b1: Any, t: Any, m: Any, g: Any) -> Any:
    """Return the momentum as the next step will see it, corrected for its start at zero."""
    return (b1 / unbias(b1, t + 1.0)) * m + ((1.0 - b1) / unbias(b1, t)) * g


@dataclass(frozen=True, slots=True, kw_only=True)
class NAdam(Rule):
    """Adam with Nesterov's look-ahead and a momentum that grows.

        mu(t) = b1 * (1 - 0.96^(t * momentum_decay) / 2)
        P(t) = mu(1) * ... * mu(t)
        dx = -lr * (g * (1 - mu(t)) / (1 - P(t)) + m * mu(t+1) / (1 - P(t) * mu(t+1))) / (sqrt(v / (1 - b2^t)) + eps)

    Args:
        b1: in [0, 1).
        b2: in [0, 1).
        eps: at least 0.
        momentum_decay: at least 0; 1 in Keras.

    References:
        Dozat, "Incorporating Nesterov Momentum into Adam", 2016.
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    momentum_decay: float = 4e-3

    scalar_slots: ClassVar[tuple[str, ...]] = ("mu_product",)

    def __post_init__(self) -> None:
        self._check(b1="[0, 1)", b2="[0, 1)", eps="[0, inf)", momentum_decay="[0, inf)")

    def init(self, x: Any) -> Slots:
        """Return the two moments and the product of momenta."""
        return {"m": zeros_like(x), "v": zeros_like(x), "mu_product": 1.0}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        del x
        mu = self.b1 * (1.0 - 0.5 * 0.96 ** (t * self.momentum_decay))
        mu_next = self.b1 * (1.0 - 0.5 * 0.96 ** ((t + 1.0) * self.momentum_decay))
        product = slots["mu_product"] * mu
        m = self.b1 * slots["m"] + (1.0 - self.b1) * g
        v = self.b2 * slots["v"] + (1.0 - self.b2) * (g * g)
        root = sqrt(v) * (1.0 / sqrt(unbias(self.b2, t))) + self.eps
        a, b = lr * (1.0 - mu) / (1.0 - product), lr * mu_next / (1.0 - product * mu_next)
        return -(a * g + b * m) / root, {"m": m, "v": v, "mu_product": product}


@dataclass(frozen=True, slots=True, kw_only=True)
class RAdam(Rule):
    """Adam that is plain momentum until its second moment can be trusted: a warm-up of its own.

        r0 = 2 / (1 - b2) - 1,    r = r0 - 2 t b2^t / (1 - b2^t)
        dx = -lr * m^ * sqrt((r-4)(r-2)r0 / ((r0-4)(r0-2)r)) * sqrt(1 - b2^t) / (sqrt(v) + eps),   if r > 5
        dx = -lr * m^,                                                                            else

    Args:
        b1: in [0, 1).
        b2: in [0, 1).
        eps: above 0, or at a gradient of 0 the first steps divide 0 by 0.
        eps_corrected: eps is added after the correction, to sqrt(v / (1 - b2^t)), as in Adam (optax).
        eps_root: added to the corrected v, inside the root (optax); at least 0.
        threshold: the r above which the second moment is trusted; at least 4.
        nesterov: as in Adam (optax).

    References:
        Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2019, arXiv:1908.03265.
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    eps_corrected: bool = False
    eps_root: float = 0.0
    threshold: float = 5.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        self._check(b1="[0, 1)", b2="[0, 1)", eps="[0, inf)", eps_root="[0, inf)", threshold="[4, inf)")

    def init(self, x: Any) -> Slots:
        """Return the two moments."""
        return {"m": zeros_like(x), "v": zeros_like(x)}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        del x
        m = self.b1 * slots["m"] + (1.0 - self.b1) * g
        v = self.b2 * slots["v"] + (1.0 - self.b2) * (g * g)
        new = {"m": m, "v": v}
        c1, c2 = unbias(self.b1, t), unbias(self.b2, t)
        r0 = 2.0 / (1.0 - self.b2) - 1.0
        r = r0 - 2.0 * t * (1.0 - c2) / c2
        is_sure = r > self.threshold
        r, r0 = where(is_sure, r, 6.0), where(is_sure, r0, 6.0, like=r)  # any values without a root of less than 0
        rectified = sqrt((r - 4.0) * (r - 2.0) * r0 / ((r0 - 4.0) * (r0 - 2.0) * r))
        root = sqrt(c2)
        adaptive, plain = where(is_sure, rectified * root, 0.0), where(is_sure, 0.0, 1.0, like=r)
        eps = self.eps * root if self.eps_corrected else self.eps
        if self.nesterov:
            m, c1 = _look_ahead(self.b1, t, m, g), 1.0
        if self.eps_root:
            v = v + self.eps_root * c2
        return -(lr / c1) * (m * (adaptive / (sqrt(v) + eps) + plain)), new


@dataclass(frozen=True, slots=True, kw_only=True)
class Adamax(Rule):
    """Adam with the largest recent gradient in place of the root mean square.

        u = max(b2 * u, |g| + eps)
        dx = -lr / (1 - b1^t) * m / u

    Args:
        b1: in [0, 1).
        b2: in [0, 1).
        eps: at least 0.
        eps_outside: u = max(b2 * u, |g|), and divide by u + eps (Keras).

    References:
        Kingma and Ba, 2014, section 7.1.
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    eps_outside: bool = False

    def __post_init__(self) -> None:
        self._check(b1="[0, 1)", b2="[0, 1)", eps="[0, inf)")

    def init(self, x: Any) -> Slots:
        """Return the momentum and the largest recent gradient."""
        return {"m": zeros_like(x), "u": zeros_like(x)}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        del x
        m = self.b1 * slots["m"] + (1.0 - self.b1) * g
        size = absolute(g) if self.eps_outside else absolute(g) + self.eps
        u = maximum(self.b2 * slots["u"], size)
        return -(lr / unbias(self.b1, t)) * (m / (u + self.eps if self.eps_outside else u)), {"m": m, "u": u}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lion(Rule):
    """Step by the sign of an interpolation between momentum and gradient: every parameter moves by lr.

    Use it with a rate 3 to 10 times smaller than Adam's, and a larger weight decay.

        dx = -lr * sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g

    Args:
        b1: of the interpolation; in [0, 1].
        b2: of the momentum; in [0, 1).

    References:
        Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, arXiv:2302.06675.
    """

    b1: float = 0.9
    b2: float = 0.99

    def __post_init__(self) -> None:
        self._check(b1="[0, 1]", b2="[0, 1)")

    def init(self, x: Any) -> Slots:
        """Return the momentum."""
        return {"m": zeros_like(x)}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        del x, t
        m = slots["m"]
        return -lr * sign(self.b1 * m + (1.0 - self.b1) * g), {"m": self.b2 * m + (1.0 - self.b2) * g}
