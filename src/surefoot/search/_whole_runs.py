"""The search as a series of whole runs that somebody else trains: which rate is next, and what is known so far.

The moves are those of every search, replayed from the start at each question: a rate that has been trained is answered
from the record, the first that has not is the next one. So nothing needs to be remembered between two questions.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from surefoot.search._belief import EDGE_MARGIN, LADDER_DRIFT, Belief, believe, bracket_evidence
from surefoot.search._fit import quantile
from surefoot.search._race import SNAP, next_racer
from surefoot.search._steps import LossScale, Point, bracket, divergence_edge, fill, initial_of

SAME = 0.25  # octaves within which a run that is there stands for the one asked for
APART = 0.1  # octaves that a new rate keeps from all others
GAP = 1.0  # octaves from the best to the next one outside, once the bracket is closed
NEAR = 4.0  # octaves around the best run that say where the best rate is: far ones are no parabola
FINEST = 0.4  # octaves between the best and its neighbor from which it is worth while to look between


class _WantedError(Exception):
    """The rate that has not been trained yet."""

    def __init__(self, x: float) -> None:
        super().__init__(x)
        self.x = x


class _Record:
    """The runs that are there, as the moves see them."""

    initial_loss = math.nan

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = points

    def short(self, x: float, steps: int) -> Point:
        """Return the run that is nearest to a rate, or raise."""
        del steps
        near = min(self._points, key=lambda p: abs(p.x - x), default=None)
        if near is None or abs(near.x - x) > SAME:
            raise _WantedError(x)
        return near

    def affords(self, steps: float) -> bool:
        """Whoever trains the runs ends the series."""
        del steps
        return True


def next_rate(
    points: Sequence[Point], *, start: float, low: float, high: float, running: Sequence[float] = (), seed: int = 0
) -> float:
    """Return x = log2(rate) of the next whole run.

    Args:
        points: the runs that have ended.
        start: x of the first run.
        low: the lowest x.
        high: the highest.
        running: x of runs that have not ended yet; the next one is another.
        seed: for the draws that follow when the moves have no question left.

    >>> xs = []
    >>> for _ in range(8):
    ...     xs.append(next_rate([Point(x=x, loss=2.0 + (x + 6) ** 2 / 9) for x in xs], start=-10, low=-20, high=0))
    >>> [round(x, 1) for x in xs]
    [-10, -8.0, -6.0, -4.0, -7.0, -6.5, -5.0, -5.5]
    """
    x = _wanted(points, start, low, high)
    if x is None:
        x = _refined(points, low, high)
    taken = [*running, *(p.x for p in points)]
    if x is not None and all(abs(x - other) > APART for other in (running if _is_at_bound(x, low, high) else taken)):
        return x
    return _elsewhere(points, taken, start=start, low=low, high=high, seed=seed)


def belief_of(points: Sequence[Point]) -> Belief:
    """Return the belief from whole runs alone."""
    best = min((p for p in points if not p.is_diverged), key=lambda p: (p.loss, p.x))
    near = [p for p in points if abs(p.x - best.x) <= NEAR]
    return believe(
        [bracket_evidence(near, 1, 1, math.nan)],
        initial_loss=initial_of(points, math.nan),
        edge=divergence_edge(points, math.nan),
        epochs=None,
        drift=LADDER_DRIFT,
        plain=(0.0, 0.3),
        overfit=None,
        widen=1.5,
        target=0.0,
    )


def best_guess(points: Sequence[Point], belief: Belief) -> float:
    """Return x of the answer: what is believed, or the best run where that is near."""
    best = min((p for p in points if not p.is_diverged), key=lambda p: (p.loss, p.x))
    return best.x if abs(best.x - belief.pick) <= SNAP else belief.pick


def _wanted(points: Sequence[Point], start: float, low: float, high: float) -> float | None:
    record = _Record(points)
    try:
        seen, _ = bracket(record, start, 1, low, high, longest=1)
        fill(record, seen, 1, low, high)
    except _WantedError as wanted:
        return min(max(wanted.x, low), high)
    return None


def _refined(points: Sequence[Point], low: float, high: float) -> float | None:
    """Return the rate to look at once the bracket is closed: what is believed, then around the best, ever closer."""
    finite = [p for p in points if not p.is_diverged]
    if not finite:
        return None
    high = min(high, divergence_edge(points, math.nan) - EDGE_MARGIN)
    pick = min(max(belief_of(points).pick, low), high)
    if all(abs(pick - p.x) > SNAP for p in points):
        return pick
    scale = LossScale.of([p.loss for p in finite], math.nan)
    judged = {p.x: scale(p.loss) for p in points}
    if len(judged) > 1:
        racer = next_racer(judged, GAP, low, high)
        if racer is not None:
            return racer
    best = min(judged, key=lambda x: (judged[x], x))
    gaps = [(abs(x - best), (x + best) / 2) for x in _neighbors(judged, best)]
    gap, middle = max(gaps, default=(0.0, best))
    return middle if gap > FINEST else None


def _neighbors(judged: dict[float, float], x: float) -> list[float]:
    below, above = [y for y in judged if y < x], [y for y in judged if y > x]
    return [*([max(below)] if below else []), *([min(above)] if above else [])]


def _elsewhere(
    points: Sequence[Point], taken: Sequence[float], *, start: float, low: float, high: float, seed: int
) -> float:
    """Return a rate where none is wanted, or the wanted one is under way: from the belief, else around the start."""
    random_numbers = random.Random(seed)  # noqa: S311 - not for secrets
    wanted: list[float] = []
    if sum(not p.is_diverged for p in points) > 1:
        belief = belief_of(points)
        wanted += [quantile(belief.grid, belief.density, q) for q in (0.5, 0.25, 0.75, 0.1, 0.9)]
        wanted += [quantile(belief.grid, belief.density, random_numbers.random()) for _ in range(10)]
    else:
        wanted += [start + sign * 2.0 * k for k in range(1, 20) for sign in (1, -1)]
    wanted = [x for x in wanted if low <= x <= high]
    free = [x for x in wanted if all(abs(x - other) > APART for other in taken)]
    last = wanted[-1] if wanted else low + (high - low) * random_numbers.random()
    return free[0] if free else last


def _is_at_bound(x: float, low: float, high: float) -> bool:
    return x <= low or x >= high
