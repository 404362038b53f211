"""Later relatives of Adam: another second moment, momentum or length, and a mask that any rule can wear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from surefoot._checks import refuse, refuse_type
from surefoot.rules._math import leaf_sum, maximum, minimum, namespace_of, sign, sqrt, unbias, where, zeros_like
from surefoot.rules._rule import Rule, Slots


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaBelief(Rule):
    """Adam that divides by how far gradients are from their mean: long steps where they are as expected.

    Use it in place of Adam where SGD generalizes better than Adam does. Its `eps` matters more than Adam's: where
    gradients do not change, eps alone limits the step.

        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * (g - m)^2 + eps_root
        dx = -lr * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

    Args:
        b1: in [0, 1).
        b2: in [0, 1).
        eps: at least 0.
        eps_root: added to v at every step, and so kept; at least 0.

    Raises:
        ArgumentError: a number is out of its range.

    References:
        Zhuang et al., "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients", 2020,
        arXiv:2010.07468.

    >>> rule = AdaBelief(b1=0.5, b2=0.0)
    >>> dx, slots = rule.step(0.0, 2.0, t=1, lr=0.1, **rule.init(0.0))
    >>> print(round(dx, 6), slots["m"])
    -0.2 1.0
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-16
    eps_root: float = 1e-16

    def __post_init__(self) -> None:
        self._check(b1="[0, 1)", b2="[0, 1)", eps="[0, inf)", eps_root="[0, inf)")

    def init(self, x: Any) -> Slots:
        """Return the mean and the mean square around it."""
        return {"m": zeros_like(x), "v": zeros_like(x)}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        del x
        m = self.b1 * slots["m"] + (1.0 - self.b1) * g
        off = g - m
        v = self.b2 * slots["v"] + (1.0 - self.b2) * (off * off) + self.eps_root
        root = sqrt(v) * (1.0 / sqrt(unbias(self.b2, t)))
        return -(lr / unbias(self.b1, t)) * (m / (root + self.eps)), {"m": m, "v": v}


@dataclass(frozen=True, slots=True, kw_only=True)
class Adan(Rule):
    """Adaptive Nesterov momentum: the mean gradient, the mean change of it, and a root mean square of both together.

    Use it for large batches and rates 5 to 10 times Adam's; it keeps four arrays where Adam keeps two. Its authors'
    weight decay divides by 1 + lr * weight_decay; `Complete` subtracts lr * weight_decay * x, which is the same to
    first order.

        d = g - (the gradient before),    0 at t = 1
        m = b1 * m + (1 - b1) * g
        u = b2 * u + (1 - b2) * d
        v = b3 * v + (1 - b3) * (g + b2 * d)^2
        dx = -lr * (m / (1 - b1^t) + b2 * u / (1 - b2^t)) / (sqrt(v / (1 - b3^t) + eps_root) + eps)

    Args:
        b1: of the mean gradient; in [0, 1).
        b2: of its mean change; in [0, 1).
        b3: of the mean square; in [0, 1).
        eps: at least 0.
        eps_root: at least 0; 1e-8 in optax.
        is_complementary: 1 - b2 takes the place of b2 where it is a factor (not in u): optax.

    Raises:
        ArgumentError: a number is out of its range.

    References:
        Xie et al., "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models", 2022,
        arXiv:2208.06677. Its betas are 1 minus these.

    >>> rule = Adan()
    >>> dx, slots = rule.step(0.0, 2.0, t=1, lr=0.1, **rule.init(0.0))
    >>> round(dx, 6)
    -0.1
    """

    b1: float = 0.98
    b2: float = 0.92
    b3: float = 0.99
    eps: float = 1e-8
    eps_root: float = 0.0
    is_complementary: bool = False

    def __post_init__(self) -> None:
        self._check(b1="[0, 1)", b2="[0, 1)", b3="[0, 1)", eps="[0, inf)", eps_root="[0, inf)")

    def init(self, x: Any) -> Slots:
        """Return the three means and the gradient before."""
        return {"m": zeros_like(x), "u": zeros_like(x), "v": zeros_like(x), "before": zeros_like(x)}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        del x
        share = 1.0 - self.b2 if self.is_complementary else self.b2
        d = minimum(t - 1.0, 1.0) * (g - slots["before"])  # there is no gradient before the first
        m = self.b1 * slots["m"] + (1.0 - self.b1) * g
        u = self.b2 * slots["u"] + (1.0 - self.b2) * d
        ahead = g + share * d
        v = self.b3 * slots["v"] + (1.0 - self.b3) * (ahead * ahead)
        step = (lr / unbias(self.b1, t)) * m + (lr * share / unbias(self.b2, t)) * u
        if self.eps_root:
            root = sqrt(v / unbias(self.b3, t) + self.eps_root)
        else:
            root = sqrt(v) * (1.0 / sqrt(unbias(self.b3, t)))
        before = g + zeros_like(g)  # a copy: drivers may write into g
        return -step / (root + self.eps), {"m": m, "u": u, "v": v, "before": before}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdEMAMix(Rule):
    """Adam with a second, slow momentum, which remembers ten thousand steps.

    Use it for long runs (of the order of 1 / (1 - b3) steps and more), with both warm-ups as long as the run: without
    them it may diverge early. In short runs the slow momentum has no time to act; use Adam.

        a(t) = alpha * min(t / alpha_warmup, 1)
        s = min(t / b3_warmup, 1),    b(t) = exp(ln b1 * ln b3 / ((1 - s) * ln b3 + s * ln b1))
        m = b1 * m + (1 - b1) * g
        n = b(t) * n + (1 - b(t)) * g
        v = b2 * v + (1 - b2) * g^2
        dx = -lr * (m / (1 - b1^t) + a(t) * n) / (sqrt(v / (1 - b2^t)) + eps)

    Args:
        b1: of the fast momentum; in [0, 1).
        b2: of the mean square; in [0, 1).
        b3: of the slow momentum; in [0, 1).
        alpha: weight of the slow momentum; at least 0.
        alpha_warmup: steps in which alpha rises from 0; 0 for none.
        b3_warmup: steps in which b3 rises from b1, evenly in half-life; 0 for none.
        eps: at least 0.

    Raises:
        ArgumentError: a number is out of its range, or b3_warmup has nowhere to start since b1 or b3 is 0.

    References:
        Pagliardini, Ablin, Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024, arXiv:2409.03137.

    >>> rule = AdEMAMix(alpha=5.0, alpha_warmup=100, b3_warmup=100)
    >>> dx, slots = rule.step(0.0, 2.0, t=1, lr=0.1, **rule.init(0.0))
    >>> round(dx, 6)
    -0.100045
    """

    b1: float = 0.9
    b2: float = 0.999
    b3: float = 0.9999
    alpha: float = 5.0
    alpha_warmup: float = 0.0
    b3_warmup: float = 0.0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        self._check(b1="[0, 1)", b2="[0, 1)", b3="[0, 1)", alpha="[0, inf)", eps="[0, inf)")
        self._check(alpha_warmup="[0, inf)", b3_warmup="[0, inf)")
        if self.b3_warmup and not (self.b1 and self.b3):
            cure = "The warm-up goes from b1 to b3 by their half-lives, and 0 has none."
            raise refuse("AdEMAMix", "b3_warmup", self.b3_warmup, "0 where b1 or b3 is 0", cure)

    def init(self, x: Any) -> Slots:
        """Return the fast and the slow momentum and the mean square."""
        return {"m": zeros_like(x), "n": zeros_like(x), "v": zeros_like(x)}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        del x
        alpha = self.alpha * minimum(t / self.alpha_warmup, 1.0) if self.alpha_warmup else self.alpha
        new = self._new_share(t) if self.b3_warmup else 1.0 - self.b3
        m = self.b1 * slots["m"] + (1.0 - self.b1) * g
        n = (1.0 - new) * slots["n"] + new * g
        v = self.b2 * slots["v"] + (1.0 - self.b2) * (g * g)
        root = sqrt(v) * (1.0 / sqrt(unbias(self.b2, t))) + self.eps
        return -((lr / unbias(self.b1, t)) * m + (lr * alpha) * n) / root, {"m": m, "n": n, "v": v}

    def _new_share(self, t: Any) -> Any:
        """Return 1 - b(t), accurately: it ends near 1e-4."""
        fast, slow = namespace_of(self.b1).log(self.b1), namespace_of(self.b3).log(self.b3)
        s = minimum(t / self.b3_warmup, 1.0)
        exponent = fast * slow / ((1.0 - s) * slow + s * fast)
        return -namespace_of(exponent).expm1(exponent)


@dataclass(frozen=True, slots=True, kw_only=True)
class LAMB(Rule):
    """Adam whose step of each parameter tensor is as long as `lr` times the tensor itself.

    Use it for batches of thousands, at rates around 1e-3 to 1e-2, with a warm-up; for small batches Adam is as good and
    simpler. What starts at 0 (a bias) takes Adam's step until it has moved. It costs one pass over memory more.

        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g^2
        u = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay * x
        dx = -lr * ||x|| / ||u|| * u,    norms over one parameter tensor; the ratio is 1 where one of them is 0

    Args:
        b1: in [0, 1).
        b2: in [0, 1).
        eps: at least 0.
        decay: weight decay, part of u; at least 0. `Complete` would let the weights decay outside of the ratio.

    Raises:
        ArgumentError: a number is out of its range.

    References:
        You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", 2019, arXiv:1904.00962.

    >>> rule = LAMB()
    >>> dx, slots = rule.step(2.0, 5.0, t=1, lr=0.1, **rule.init(2.0))
    >>> round(dx, 6)
    -0.2
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-6
    decay: float = 0.0

    def __post_init__(self) -> None:
        self._check(b1="[0, 1)", b2="[0, 1)", eps="[0, inf)", decay="[0, inf)")

    def init(self, x: Any) -> Slots:
        """Return the momentum and the mean square."""
        return {"m": zeros_like(x), "v": zeros_like(x)}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        m = self.b1 * slots["m"] + (1.0 - self.b1) * g
        v = self.b2 * slots["v"] + (1.0 - self.b2) * (g * g)
        root = sqrt(v) * (1.0 / sqrt(unbias(self.b2, t))) + self.eps
        u = (1.0 / unbias(self.b1, t)) * m / root
        if self.decay:
            u = u + self.decay * x
        size, length = sqrt(leaf_sum(x * x)), sqrt(leaf_sum(u * u))
        ratio = where(size * length > 0.0, size / where(length > 0.0, length, 1.0), 1.0)
        return -lr * (ratio * u), {"m": m, "v": v}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cautious(Rule):
    """A rule whose step is left out where its sign is not the gradient's.

    Use it around a rule with momentum, at that rule's own rate; around one without (SGD, RMSprop) it changes nothing
    but what is exactly 0. It costs one pass over memory more, for the share that is kept. Weight decay and clipping
    belong around it, in `Complete`: the mask is of the rule's step alone, against the gradient that the rule was given.
    A NaN in a gradient spreads over its parameter.

        dx = rule.step(x, g, …)
        k = 1 where -dx * g > 0, else 0
        dx = dx * k / max(mean(k), floor),    the mean over one parameter tensor

    Args:
        rule: the rule inside.
        floor: the least share by which the rest is divided: no step grows more than 1 / floor times; above 0, at most 1.

    Raises:
        ArgumentError: `floor` is out of its range.
        ArgumentTypeError: `rule` is no rule.

    References:
        Liang et al., "Cautious Optimizers: Improving Training with One Line of Code", 2024, arXiv:2411.16085; the
        division by the mean is that of the authors' code.

    >>> from surefoot.rules import SGD
    >>> rule = Cautious(rule=SGD(momentum=0.9))
    >>> rule.step(0.0, 1.0, t=2, lr=0.5, m=2.0)[0], rule.step(0.0, -1.0, t=2, lr=0.5, m=2.0)[0]
    (-1.4, -0.0)
    """

    rule: Rule
    floor: float = 1e-3

    def __post_init__(self) -> None:
        if not isinstance(self.rule, Rule):  # pyright: ignore[reportUnnecessaryIsInstance] - users' values
            raise refuse_type("Cautious", "rule", self.rule, "a surefoot.rules.Rule", "For example rules.Adam().")
        self._check(floor="[0, 1]")
        if not self.floor:
            raise refuse("Cautious", "floor", self.floor, "above 0", "The authors take 1e-3.")

    @property
    def scalar_slots(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Names of slots that are numbers: those of the rule inside."""
        return self.rule.scalar_slots

    @property
    def is_global(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the rule inside needs the whole model at once."""
        return self.rule.is_global

    def init(self, x: Any) -> Slots:
        """Return the slots of the rule inside."""
        return self.rule.init(x)

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        dx, new = self.rule.step(x, g, t, lr, **slots)
        kept = maximum(-sign(dx) * sign(g), 0.0)  # of signs: the product itself may underflow to 0
        size = leaf_sum(0.0 * kept + 1.0)
        return size / maximum(leaf_sum(kept), self.floor * size) * (kept * dx), new
