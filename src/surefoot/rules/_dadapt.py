"""D-Adaptation: SGD and Adam that find their own learning rate, by a lower bound of the distance to the solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from surefoot.rules._dog import stuck
from surefoot.rules._math import dot, maximum, norm, norm1, sqrt, where, zeros_like
from surefoot.rules._prodigy import TINY, adam_correction, check_estimate, grown
from surefoot.rules._rule import Rule, Slots


@dataclass(frozen=True, slots=True, kw_only=True)
class DAdaptSGD(Rule):
    """Gradient descent whose rate is an estimate d of the distance to the solution, which only grows: lr is 1.

    Use it where no rate is known and SGD is the method, with a schedule that ends at 0 as `lr`. Do not use it where a
    tuned rate is at hand; it tends to underestimate. The scale is the norm of the first gradient: one that is far from
    typical (a bad start, a tiny batch) stays in the rate for the whole run.

        d = max(d, min(2 n / ||s||, growth d))        (of the last step; d0 at first)
        G = ||g||  of the first gradient that is not 0
        n = n + d lr / G <g, s>
        s = s + d lr / G g
        dx = (1 - momentum) (x0 - s - x)

    As in the authors' package a step goes with the d that was known before its gradient. Weight decay belongs into the
    gradient (`Complete(is_decoupled=False)`): x follows x0 - s, which a decay beside the rule does not move.

    Args:
        momentum: in [0, 1).
        d0: the first estimate: far below the distance to a solution. Above 0.
        growth: d grows by no more than this factor a step; at least 1, None or inf for any.

    References:
        Defazio, Mishchenko, "Learning-Rate-Free Learning by D-Adaptation", 2023, arXiv:2301.07733, and the package
        dadaptation 3.2.

    >>> rule, x = DAdaptSGD(), 1.0
    >>> slots = rule.init(x)
    >>> for t in range(1, 31):
    ...     dx, slots = rule.step(x, 2.0 * x, t, 1.0, **slots)
    ...     x = x + dx
    >>> print(round(x, 3), round(rule.effective_lr(1.0, t, **slots), 3))
    0.003 0.423
    """

    momentum: float = 0.0
    d0: float = 1e-6
    growth: float | None = None

    scalar_slots: ClassVar[tuple[str, ...]] = ("d", "d_hat", "n", "first_norm")
    is_global: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._check(momentum="[0, 1)")
        check_estimate(self)

    def init(self, x: Any) -> Slots:
        """Return a copy of the start and the scaled gradients; the estimate, its bound, the numerator, the first norm."""
        return {"x0": x + 0.0, "s": zeros_like(x), "d": self.d0, "d_hat": self.d0, "n": 0.0, "first_norm": 0.0}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        d = grown(slots["d"], slots["d_hat"], self.growth)
        first_norm = where(slots["first_norm"] > 0.0, slots["first_norm"], norm(g))
        dlr = self.effective_lr(lr, t, d=d, first_norm=first_norm)
        n = slots["n"] + dot(dlr * g, slots["s"])
        s = slots["s"] + dlr * g
        d_hat = 2.0 * n / maximum(norm(s), TINY)
        dx = (1.0 - self.momentum) * (slots["x0"] - s - x)
        return dx, {"x0": slots["x0"], "s": s, "d": d, "d_hat": d_hat, "n": n, "first_norm": first_norm}

    def effective_lr(self, lr: Any, t: Any, **slots: Any) -> Any:
        """Return d lr / G, with the d that the step was taken with."""
        del t
        return slots["d"] * lr / maximum(slots["first_norm"], TINY)

    def doubt(self, t: Any, **slots: Any) -> str:
        """Say that the estimate has not left its start."""
        return stuck(t, "the estimate d", max(slots["d"], slots["d_hat"]), "d0", self.d0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DAdaptAdam(Rule):
    """Adam whose rate is an estimate d of the distance to the solution, which only grows: lr is 1.

    Use it where no rate is known, with a schedule that ends at 0 as `lr`; `Prodigy` finds the rate faster, and its
    authors (the same) recommend it first. Do not use it without a schedule, or where a tuned rate is at hand. It keeps
    one array beside Adam's, and wants a weight decay two to four times Adam's.

        b = sqrt(b2),    c = sqrt(1 - b2^t) / (1 - b1^t)  if use_bias_correction, else 1
        d = max(d, min(n / ((1 - b) ||s||_1), growth d))        (of the last step; d0 at first)
        n = b n + (1 - b) d lr c <g, s / (sqrt(v) + eps)>
        m = b1 m + (1 - b1) d lr c g
        v = b2 v + (1 - b2) g^2
        s = b s + (1 - b) d lr c g
        dx = -m / (sqrt(v) + eps)

    As in the authors' package a step goes with the d that was known before its gradient; decoupled weight decay
    (`Complete`) goes with d lr c. The rate is in the momentum: a change of it takes 1 / (1 - b1) steps to arrive.

    Args:
        b1: of the momentum; in [0, 1).
        b2: of the mean square; in [0, 1).
        eps: at least 0.
        d0: the first estimate: far below the distance to a solution. Above 0.
        growth: d grows by no more than this factor a step; at least 1, None or inf for any.
        use_bias_correction: Adam's: the authors' package leaves it out, optax has it in.

    References:
        Defazio, Mishchenko, "Learning-Rate-Free Learning by D-Adaptation", 2023, arXiv:2301.07733, and the package
        dadaptation 3.2.

    >>> rule, x = DAdaptAdam(), 1.0
    >>> slots = rule.init(x)
    >>> for t in range(1, 31):
    ...     dx, slots = rule.step(x, 2.0 * x, t, 1.0, **slots)
    ...     x = x + dx
    >>> print(round(x, 3), round(rule.effective_lr(1.0, t, **slots), 3))
    -0.045 2.863
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    d0: float = 1e-6
    growth: float | None = None
    use_bias_correction: bool = False

    scalar_slots: ClassVar[tuple[str, ...]] = ("d", "d_hat", "n")
    is_global: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._check(b1="[0, 1)", b2="[0, 1)", eps="[0, inf)")
        check_estimate(self)

    def init(self, x: Any) -> Slots:
        """Return the weighted gradients and the moments; the estimate, its bound and the numerator."""
        arrays = {"s": zeros_like(x), "m": zeros_like(x), "v": zeros_like(x)}
        return {**arrays, "d": self.d0, "d_hat": self.d0, "n": 0.0}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        del x
        b, d = sqrt(self.b2), grown(slots["d"], slots["d_hat"], self.growth)
        dlr = self.effective_lr(lr, t, d=d)
        n = b * slots["n"] + (1.0 - b) * dot(dlr * g, slots["s"] / (sqrt(slots["v"]) + self.eps))
        m = self.b1 * slots["m"] + (1.0 - self.b1) * dlr * g
        v = self.b2 * slots["v"] + (1.0 - self.b2) * (g * g)
        s = b * slots["s"] + (1.0 - b) * dlr * g
        d_hat = n / maximum((1.0 - b) * norm1(s), TINY)
        return -m / (sqrt(v) + self.eps), {"s": s, "m": m, "v": v, "d": d, "d_hat": d_hat, "n": n}

    def effective_lr(self, lr: Any, t: Any, **slots: Any) -> Any:
        """Return d lr c, with the d that the step was taken with."""
        return slots["d"] * lr * adam_correction(self, t)

    def doubt(self, t: Any, **slots: Any) -> str:
        """Say that the estimate has not left its start."""
        return stuck(t, "the estimate d", max(slots["d"], slots["d_hat"]), "d0", self.d0)
