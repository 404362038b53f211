"""The race: real runs at a few rates are trained on to the middle, and the best of them further.

Where the best of a few rates lies at an end, the next one outside may be better still. When three candidates were set
in advance, none of the three was a good one in half of the bad answers. So only the first two are set, around the pick;
each next one stands where the best so far points to, as far as the budget goes.

At three quarters the finalists are compared as forks, with the rate down to 0: what a high rate adds in noise is gone
then. Measured on 140 races: that order is the order at the end of the real runs, which the raw losses are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from surefoot.search._lab import Lab
from surefoot.search._steps import LossScale

SNAP = 0.33  # octaves within which a trained trunk's rate is taken instead of the one asked for
SNAPS = (SNAP, 0.5, 0.65, 0.8)  # the same for the first two racers; further only where the budget is short
NEAR = 0.2  # octaves between two racers, at least
ROOM = 0.8  # octaves between two racers from which a third may stand between them
# In the middle of the run rates are still high. There a high one looks worse than it will be after the decay, except
# where the run over-fits, where it looks better: log loss per octave. At three quarters nothing of that can be measured.
LOOKS_WORSE, LOOKS_BETTER = 0.05, 0.03


def next_racer(judged: Mapping[float, float], gap: float, low: float, high: float) -> float | None:
    """Return the x to race next: beyond the best where that lies at an end, else halfway to its better neighbor.

    Args:
        judged: log loss by x, inf where training broke down; at least two.
        gap: octaves from the best to the next one outside.
        low: the lowest x allowed.
        high: the highest.

    Returns:
        The next x, or None where there is no room for one.

    >>> next_racer({-8.0: 0.2, -7.0: 0.1}, 1.0, -20.0, 0.0)
    -6.0
    >>> next_racer({-8.0: 0.2, -7.0: 0.1, -6.0: 0.4}, 1.0, -20.0, 0.0)
    -7.5
    """
    xs = sorted(judged)
    best = min(xs, key=lambda x: (judged[x], x))
    at = xs.index(best)
    above = [min(best + gap, high)] if best == xs[-1] else []
    below = [max(best - gap, low)] if best == xs[0] else []
    beside = sorted(xs[max(at - 1, 0) : at + 2], key=lambda x: (judged[x], x))
    between = [(best + x) / 2 for x in beside if abs(x - best) > ROOM]
    wanted = [x for x in (*above, *below, *between) if low <= x <= high]
    return next((x for x in wanted if all(abs(x - y) > NEAR for y in xs)), None)


class Race:
    """One race. Its winner's steps are a piece of the real run, so that only the others' count against the budget."""

    def __init__(
        self, lab: Lab, *, low: float, high: float, late: int, allowed: float, overfit: float, finalists: int = 2
    ) -> None:
        """Prepare a race; nothing is trained yet.

        Args:
            lab: where the racers are trained.
            low: the lowest x allowed.
            high: the highest.
            late: the step to which the finalists are trained on; half of the run if there are none.
            allowed: the steps that the whole search may cost.
            overfit: how likely the run over-fits.
            finalists: how many go on from the middle, at most.
        """
        self._lab, self._low, self._high, self._allowed = lab, low, high, allowed
        self._half, self._late, self._finalists = lab.total_steps // 2, late, finalists
        self._anneal = max(1, lab.total_steps // 16) if self._half < late < lab.total_steps else 0
        self._slope = overfit * LOOKS_BETTER - (1.0 - overfit) * LOOKS_WORSE
        self._losses: dict[float, float] = {}

    @property
    def racers(self) -> int:
        """How many rates have raced."""
        return len(self._losses)

    def run(self, middle: float, gap: float) -> float | None:
        """Race, from two rates around the middle; return the winner, or None if the budget is too small or none survived."""
        lab, half, late = self._lab, self._half, self._late
        waiting = self._first(middle, gap)
        if not waiting:
            return None
        while waiting:
            for x in waiting:
                point = lab.trunk(x, half)
                self._losses[point.x] = point.loss
            waiting = self._next(gap)
        ranked = self._ranked(self._losses, half)
        if late > half:
            self._abandon(ranked[self._finalists :], half)
            last = {x: self._late_loss(x) for x in ranked[: self._finalists]}
            ranked = self._ranked(last, late)
            self._losses.update(last)
        self._abandon(ranked[1:], late)
        return ranked[0] if math.isfinite(self._losses[ranked[0]]) else None

    def _first(self, middle: float, gap: float) -> list[float]:
        """Return the first two racers, at the rates of trained trunks where these are near; or none."""
        top = max(min(middle + gap / 2, self._high), self._low)
        for within in SNAPS:
            wanted = (max(top - gap, self._low), top)
            xs = list(dict.fromkeys(near_trunk(self._lab, x, within) for x in wanted))
            if len(xs) == 2 and self._pays(xs):
                return xs
        return []

    def _next(self, gap: float) -> list[float]:
        """Return the next racer, if there is one that the budget allows."""
        broken = [x for x, loss in self._losses.items() if math.isinf(loss)]
        high = min([self._high, *(x - ROOM / 2 for x in broken)])
        x = next_racer(self._judged(self._losses, self._half), gap, self._low, high)
        if x is None:
            return []
        near = near_trunk(self._lab, x)
        if all(abs(near - other) > ROOM / 2 for other in self._losses):
            x = near
        return [x] if self._pays([x]) else []

    def _late_loss(self, x: float) -> float:
        """Return the loss of a finalist: annealed, unless it has been trained to its end."""
        point = self._lab.trunk(x, self._late)
        return point.loss if point.is_diverged or not self._anneal else self._lab.fork(x, self._anneal).loss

    def _pays(self, xs: Iterable[float]) -> bool:
        """Whether the budget allows these racers, and the finalists of all to go on."""
        lab, half, late = self._lab, self._half, self._late
        finalists = min(self._finalists, max(2, len({*self._losses, *xs})))
        steps = lab.steps + sum(half - min(lab.trunk_steps(x), half) for x in xs)
        steps += finalists * (late - half + self._anneal)
        return steps - late <= self._allowed

    def _judged(self, losses: Mapping[float, float], step: int) -> dict[float, float]:
        """Return the log losses as they are compared at a step: corrected by octave in the middle, not later."""
        slope = self._slope if step == self._half else 0.0
        scale = LossScale.of(list(losses.values()), self._lab.initial_loss)
        return {x: scale(loss) + slope * x for x, loss in losses.items()}

    def _ranked(self, losses: Mapping[float, float], step: int) -> list[float]:
        judged = self._judged(losses, step)
        return sorted(judged, key=lambda x: (judged[x], x))

    def _abandon(self, xs: Iterable[float], step: int) -> None:
        for x in xs:
            self._lab.abandon(x, f"stopped at step {step}: others promised a lower validation loss")


def near_trunk(lab: Lab, x: float, within: float = SNAP) -> float:
    """Return the x of a trained trunk that is near, or `x`."""
    near = [t for t in lab.trunks(3 * lab.total_steps // 16) if abs(t - x) <= within]
    return min(near, key=lambda t: (abs(t - x), t), default=x)
