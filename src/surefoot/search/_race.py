"""The race: real runs at a few rates are trained on to three eighths, and the best of them to three quarters.

Where the best of a few rates lies at an end, the next one outside may be better still. When three candidates were set
in advance, none of the three was a good one in half of the bad answers. So only the first two are set, around the pick;
each next one stands where the best so far points to, as far as the budget goes.

Racers are compared as forks, with the rate down to 0: what a high rate adds in noise is gone then. Measured on 140 races:
forks at three quarters choose as well as the real runs' ends, and forks at three eighths no worse than raw losses in the
middle, for less training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from surefoot.search._lab import Lab, three_digits
from surefoot.search._parallel import Want
from surefoot.search._steps import LossScale

SNAP = 0.33  # octaves within which a trained trunk's rate is taken instead of the one asked for
SNAPS = (SNAP, 0.5, 0.65, 0.8)  # the same for the first two racers; further only where the budget is short
NEAR = 0.2  # octaves between two racers, at least
ROOM = 0.8  # octaves between two racers from which a third may stand between them
# Where a run over-fits, a high rate looks better at three eighths than it will be: log loss per octave. Where it does
# not, and at three quarters, nothing of the kind can be measured.
LOOKS_BETTER = 0.04
CLOSE = 0.09  # log loss behind the best at three eighths: from there one in ten was better by five seeds, below, one in three


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
        self, lab: Lab, *, low: float, high: float, late: int | None, allowed: float, overfit: float, finalists: int = 2
    ) -> None:
        """Prepare a race; nothing is trained yet.

        Args:
            lab: where the racers are trained.
            low: the lowest x allowed.
            high: the highest.
            late: the step to which the finalists are trained on; None if the first comparison decides.
            allowed: the steps that the whole search may cost.
            overfit: how likely the run over-fits.
            finalists: how many are trained on, at most.
        """
        self._lab, self._low, self._high, self._allowed = lab, low, high, allowed
        self._first, self._late = max(1, 3 * lab.total_steps // 8), late
        self._finalists = 0 if late is None else finalists
        self._anneal = max(1, lab.total_steps // 16)
        self._slope = overfit * LOOKS_BETTER
        self._losses: dict[float, float] = {}

    @property
    def racers(self) -> int:
        """How many rates have raced."""
        return len(self._losses)

    def run(self, middle: float, gap: float) -> float | None:
        """Race, from two rates around the middle; return the winner, or None if the budget is too small or none survived."""
        waiting = self._pair(middle, gap)
        if not waiting:
            return None
        while waiting:
            self._prefetch(waiting, self._first)
            for x in waiting:
                self._losses[math.log2(three_digits(x))] = self._loss(x, self._first)
            waiting = self._next(gap)
        ranked = self._ranked(self._losses, self._slope)
        finalists = self._close()
        step = self._first
        if len(finalists) > 1 and self._late is not None and self._pays([], finalists=len(finalists)):
            self._abandon([x for x in ranked if x not in finalists], step)
            step = self._late
            self._prefetch(finalists, step)
            last = {x: self._loss(x, step) for x in finalists}
            ranked = self._ranked(last, 0.0)
            self._losses.update(last)
        self._abandon(ranked[1:], step)
        return ranked[0] if math.isfinite(self._losses[ranked[0]]) else None

    def _close(self) -> list[float]:
        """Return the best racers so far, as many as may go on, that are close to the first of them."""
        judged = self._judged(self._losses, self._slope)
        ranked = sorted(judged, key=lambda x: (judged[x], x))[: self._finalists]
        return [x for x in ranked if judged[x] <= judged[ranked[0]] + CLOSE]

    def _prefetch(self, xs: Iterable[float], step: int) -> None:
        """Let several be trained at once."""
        anneal = None if step == self._lab.total_steps else self._anneal
        self._lab.prefetch([Want(x=x, to_step=step, anneal=anneal) for x in xs])

    def _loss(self, x: float, step: int) -> float:
        """Return the annealed loss at a step of the real run, or the loss at its end."""
        point = self._lab.trunk(x, step)
        at_end = step == self._lab.total_steps
        return point.loss if point.is_diverged or at_end else self._lab.fork(x, self._anneal).loss

    def _pair(self, middle: float, gap: float) -> list[float]:
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
        x = next_racer(self._judged(self._losses, self._slope), gap, self._low, high)
        if x is None:
            return []
        near = near_trunk(self._lab, x)
        if all(abs(near - other) > ROOM / 2 for other in self._losses):
            x = near
        # The third racer goes before a final, which goes before a fourth.
        return [x] if self._pays([x], finalists=0 if len(self._losses) < 3 else len(self._close())) else []

    def _pays(self, xs: Iterable[float], finalists: int = 0) -> bool:
        """Whether the budget allows these racers, and then so many finalists; the winner's real run is free."""
        lab, first, late = self._lab, self._first, self._late
        steps = lab.steps + sum(first - min(lab.trunk_steps(x), first) + self._anneal for x in xs)
        if late is None or finalists < 2:
            return steps - first <= self._allowed
        steps += finalists * (late - first + (self._anneal if late < lab.total_steps else 0))
        return steps - late <= self._allowed

    def _judged(self, losses: Mapping[float, float], slope: float) -> dict[float, float]:
        """Return the log losses as they are compared: with `slope` per octave added."""
        scale = LossScale.of(list(losses.values()), self._lab.initial_loss)
        return {x: scale(loss) + slope * x for x, loss in losses.items()}

    def _ranked(self, losses: Mapping[float, float], slope: float) -> list[float]:
        judged = self._judged(losses, slope)
        return sorted(judged, key=lambda x: (judged[x], x))

    def _abandon(self, xs: Iterable[float], step: int) -> None:
        for x in xs:
            self._lab.abandon(x, f"stopped at step {step}: others promised a lower validation loss")


def near_trunk(lab: Lab, x: float, within: float = SNAP) -> float:
    """Return the x of a trained trunk that is near, or `x`."""
    near = [t for t in lab.trunks(3 * lab.total_steps // 16) if abs(t - x) <= within]
    return min(near, key=lambda t: (abs(t - x), t), default=x)
