"""Distance over gradients: rules that find their own learning rate, from norms over the whole model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from surefoot._checks import number
from surefoot.rules._math import dot, maximum, norm, sqrt
from surefoot.rules._rule import Rule, Slots


def stuck(t: Any, what: str, estimate: Any, name: str, start: float) -> str:
    """Return in words that an estimate is where it began, if it is.

    >>> stuck(100, "the estimate", 1e-6, "d0", 1e-6)
    'the estimate is at its start, d0=1e-06, after 100 steps: raise d0'
    >>> stuck(100, "the estimate", 2e-6, "d0", 1e-6)
    ''
    """
    has_moved = estimate > start * (1.0 + 1e-6)  # a slot in float32 is its start but for rounding
    return "" if has_moved else f"{what} is at its start, {name}={start:g}, after {t:.0f} steps: raise {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoG(Rule):
    """Gradient descent whose rate is the distance travelled over the root of all squared gradient norms: lr is 1.

    Use it where no rate is known; average the weights (its authors do), and expect it to be slower than a tuned rate.

        r = max(r, ||x - x0||)        (start * (1 + ||x0||) at first)
        s = s + ||g||^2
        dx = -lr * r / sqrt(s + eps) * g

    Args:
        start: above what rounding swallows, far below the distance to a solution; the authors advise 1e-4 with batch
            normalization.
        is_start_absolute: `start` is the first r itself.
        eps: at least 0.

    References:
        Ivgi, Hinder, Carmon, "DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule", 2023,
        arXiv:2302.12022.
    """

    start: float = 1e-6
    is_start_absolute: bool = False
    eps: float = 1e-8

    scalar_slots: ClassVar[tuple[str, ...]] = ("r", "s")
    is_global: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._check(start="[0, inf)", eps="[0, inf)")

    def init(self, x: Any) -> Slots:
        """Return a copy of the start, the largest distance from it, and the sum of squared gradient norms."""
        r = self.start if self.is_start_absolute else self.start * (1.0 + norm(x))
        return {"x0": x + 0.0, "r": r, "s": 0.0}  # a copy: drivers change x in place

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        r = maximum(slots["r"], norm(x - slots["x0"]))
        s = slots["s"] + dot(g, g)
        return -self.effective_lr(lr, t, r=r, s=s) * g, {"x0": slots["x0"], "r": r, "s": s}

    def effective_lr(self, lr: Any, t: Any, **slots: Any) -> Any:
        """Return the rate that was found, times `lr`."""
        del t
        return lr * slots["r"] / sqrt(slots["s"] + self.eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoWG(Rule):
    """Gradient descent whose rate is the squared distance travelled over the root of weighted gradient norms: lr is 1.

    Use it in place of `DoG` where its rates are too cautious: late gradients, further from the start, weigh more, so
    that the rate recovers from large gradients at the beginning. Its guarantee too is for an average of the weights. Do
    not use it on transformers, where plain gradient descent is weak, or where a good rate is known.

        r = max(r, ||x - x0||)        (start at first)
        s = s + r^2 ||g||^2
        dx = -lr * r^2 / (sqrt(s) + eps) * g

    Args:
        start: the first r; far below the distance to a solution, above what rounding swallows. Above 0.
        eps: at least 0.

    References:
        Khaled, Mishchenko, Jin, "DoWG Unleashed: An Efficient Universal Parameter-Free Gradient Descent Method", 2023,
        arXiv:2305.16284. The defaults are those of the authors' code, where r starts at the root of eps.

    >>> rule, x = DoWG(), 1.0
    >>> slots = rule.init(x)
    >>> for t in range(1, 26):
    ...     dx, slots = rule.step(x, 2.0 * x, t, 1.0, **slots)
    ...     x = x + dx
    >>> print(round(x, 3), round(rule.effective_lr(1.0, t, **slots), 3))
    0.002 0.782
    """

    start: float = 1e-2
    eps: float = 1e-4

    scalar_slots: ClassVar[tuple[str, ...]] = ("r", "s")
    is_global: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._check(eps="[0, inf)")
        number("DoWG", "start", self.start, above=0.0)

    def init(self, x: Any) -> Slots:
        """Return a copy of the start, the largest distance from it, and the weighted sum of squared gradient norms."""
        return {"x0": x + 0.0, "r": self.start, "s": 0.0}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        r = maximum(slots["r"], norm(x - slots["x0"]))
        s = slots["s"] + r * r * dot(g, g)
        return -self.effective_lr(lr, t, r=r, s=s) * g, {"x0": slots["x0"], "r": r, "s": s}

    def effective_lr(self, lr: Any, t: Any, **slots: Any) -> Any:
        """Return the rate that was found, times `lr`."""
        del t
        return lr * slots["r"] * slots["r"] / (sqrt(slots["s"]) + self.eps)

    def doubt(self, t: Any, **slots: Any) -> str:
        """Say that the distance has not left its start."""
        return stuck(t, "the distance", slots["r"], "start", self.start)
