"""Prodigy: Adam that finds its own learning rate, by a lower bound of the distance to the solution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from surefoot._checks import number
from surefoot.rules._dog import stuck
from surefoot.rules._math import dot, maximum, minimum, norm1, sqrt, unbias, where, zeros_like
from surefoot.rules._rule import Rule, Slots

TINY = 1e-37  # a float32: before the first gradient a bound is 0 / TINY, not 0 / 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prodigy(Rule):
    """Adam whose rate is an estimate d of the distance to the solution, which only grows: lr is 1.

    Use it where no rate is known, with a schedule that ends at 0 as `lr`. Do not use it in place of a rate that is tuned
    already: it comes close to tuned Adam, and seldom beats it. Where d stays at d0 raise d0; where it grows too far, as
    over many epochs on few data, lower d_coef; with a warm-up take `safeguard_warmup`. It keeps two arrays beside Adam's.

        d = largest bound so far, or growth d if that is less        (d0 at first)
        c = sqrt(1 - b2^t) / (1 - b1^t)  if use_bias_correction, else 1
        n = b3 n + d / d0 * d lr c <g, x0 - x>
        s = b3 s + d / d0 * d lr c g      (without lr c if safeguard_warmup)
        m = b1 m + (1 - b1) d g
        v = b2 v + (1 - b2) d^2 g^2
        bound = d_coef * n / ||s||_1
        dx = -d lr c * m / (sqrt(v) + d_next eps)

    As in the authors' package all of a step goes with the d that was known before, but for the term of eps, which has
    that of the next step. Decoupled weight decay (`Complete`) goes with the step's own rate, d lr c, as there.

    Args:
        b1: of the momentum; in [0, 1).
        b2: of the mean square; in [0, 1).
        b3: of the estimate; None is sqrt(b2).
        eps: at least 0.
        d0: the first estimate: far below the distance to a solution. Above 0.
        d_coef: what the bound is multiplied with: the knob to turn first. Above 0.
        growth: d grows by no more than this factor a step, once it has left d0; at least 1, None or inf for any.
        use_bias_correction: Adam's: the authors' package leaves it out, optax has it in.
        safeguard_warmup: leave the rate out of s, so that a warm-up does not inflate the bound.

    References:
        Mishchenko, Defazio, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", 2023, arXiv:2306.06101,
        and the package prodigyopt 1.1.2.

    >>> rule, x = Prodigy(), 1.0
    >>> slots = rule.init(x)
    >>> for t in range(1, 101):
    ...     dx, slots = rule.step(x, 2.0 * x, t, 1.0, **slots)
    ...     x = x + dx
    >>> print(round(x, 3), round(rule.effective_lr(1.0, t, **slots), 3))
    -0.001 0.42
    """

    b1: float = 0.9
    b2: float = 0.999
    b3: float | None = None
    eps: float = 1e-8
    d0: float = 1e-6
    d_coef: float = 1.0
    growth: float | None = None
    use_bias_correction: bool = False
    safeguard_warmup: bool = False

    scalar_slots: ClassVar[tuple[str, ...]] = ("d", "d_max", "n")
    is_global: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._check(b1="[0, 1)", b2="[0, 1)", eps="[0, inf)")
        check_estimate(self)
        number("Prodigy", "d_coef", self.d_coef, above=0.0)
        if self.b3 is not None:
            self._check(b3="[0, 1)")

    def init(self, x: Any) -> Slots:
        """Return a copy of the start, the weighted gradients, the moments; the estimate, its bound and the numerator."""
        arrays = {"x0": x + 0.0, "s": zeros_like(x), "m": zeros_like(x), "v": zeros_like(x)}
        return {**arrays, "d": self.d0, "d_max": self.d0, "n": 0.0}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        b3 = sqrt(self.b2) if self.b3 is None else self.b3
        d = self._estimate(slots["d"], slots["d_max"])
        dlr = self.effective_lr(lr, t, d=d)
        n = b3 * slots["n"] + d / self.d0 * dot(dlr * g, slots["x0"] - x)  # a rate by layer belongs inside the sum
        s = b3 * slots["s"] + d / self.d0 * (d if self.safeguard_warmup else dlr) * g
        dg = d * g
        m = self.b1 * slots["m"] + (1.0 - self.b1) * dg
        v = self.b2 * slots["v"] + (1.0 - self.b2) * (dg * dg)
        d_max = maximum(slots["d_max"], self.d_coef * n / maximum(norm1(s), TINY))
        dx = -dlr * m / (sqrt(v) + self._estimate(d, d_max) * self.eps)
        return dx, {"x0": slots["x0"], "s": s, "m": m, "v": v, "d": d, "d_max": d_max, "n": n}

    def effective_lr(self, lr: Any, t: Any, **slots: Any) -> Any:
        """Return d lr c, with the d that the step was taken with."""
        return slots["d"] * lr * adam_correction(self, t)

    def doubt(self, t: Any, **slots: Any) -> str:
        """Say that the estimate has not left its start."""
        return stuck(t, "the estimate d", slots["d_max"], "d0", self.d0)

    def _estimate(self, d: Any, d_max: Any) -> Any:
        """Return the estimate that follows `d`: the largest bound, as far as the growth is allowed."""
        if self.growth is not None:
            # From d0 it may jump to any bound; a slot in float32 is d0 but for rounding.
            d = where(d > self.d0 * (1.0 + 1e-6), d, d_max)
        return grown(d, d_max, self.growth)


def grown(d: Any, bound: Any, growth: Any) -> Any:
    """Return an estimate raised to a bound, but by no more than the factor `growth`."""
    return maximum(d, bound if growth is None else minimum(bound, d * growth))


def adam_correction(rule: Any, t: Any) -> Any:
    """Return what corrects the step for moments that start at 0; 1 where the rule leaves that out."""
    return sqrt(unbias(rule.b2, t)) / unbias(rule.b1, t) if rule.use_bias_correction else 1.0


def check_estimate(rule: Any) -> None:
    """Check the settings of an estimate of the distance; a growth of inf becomes None, which configurations can hold."""
    where = type(rule).__name__
    number(where, "d0", rule.d0, above=0.0)
    if rule.growth == math.inf:
        object.__setattr__(rule, "growth", None)
    elif rule.growth is not None:
        number(where, "growth", rule.growth, at_least=1.0)
