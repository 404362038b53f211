"""Distance over gradients: a rule that finds its own learning rate, from norms over the whole model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from surefoot.rules._math import dot, maximum, norm, sqrt
from surefoot.rules._rule import Rule, Slots


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
        del t
        r = maximum(slots["r"], norm(x - slots["x0"]))
        s = slots["s"] + dot(g, g)
        return -(lr * r / sqrt(s + self.eps)) * g, {"x0": slots["x0"], "r": r, "s": s}
