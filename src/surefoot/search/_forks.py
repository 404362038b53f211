"""The fork rung: pieces of the real run at a few rates, annealed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from surefoot.search._parallel import Want
from surefoot.search._steps import Bench, LossScale, Point

BELOW_EDGE = math.log2(1.19)  # the first forks keep this far below the edge of the bracket
BEYOND_EDGE = (
    1.0  # octaves above that edge that a later fork may try: a compressed warm-up breaks earlier than the real one
)
NEAR_EDGE = 1.0  # a bracket whose vertex is this near its edge is limited by stability: no drift to expect
MANY_EPOCHS = 6.0  # passes over the data from which over-fitting, and so a drift to lower rates, is likely
SHIFT, SHIFT_MANY, SHIFT_EDGE = 0.25, -1.4, -0.3  # from the bracket's vertex to the first forks, octaves
SPREAD = 0.8  # octaves from the middle of the first two forks to each
STRIDE = 1.2  # octaves from the best fork to the next one outside
CENSORED_FORK = 0.8  # log loss above the best that a fork that blew up counts as
SAME = 0.1  # octaves: a rate this near to another is not tried
HOPELESS = 0.5  # a trunk below the best one whose log loss is this much above that one's is not forked


@dataclass(frozen=True, slots=True, kw_only=True)
class Forks:
    """The fork rung: its points (diverged and abandoned ones included) and which of them were only abandoned."""

    points: tuple[Point, ...]
    abandoned: frozenset[float]

    @property
    def finished(self) -> tuple[Point, ...]:
        """The forks with a loss."""
        return tuple(p for p in self.points if not p.is_diverged)

    @property
    def broken(self) -> tuple[float, ...]:
        """X of the forks that blew up."""
        return tuple(p.x for p in self.points if p.is_diverged and p.x not in self.abandoned)


def shift_to_forks(vertex: float, edge: float, epochs: float | None) -> float:
    """Return where the forks begin, relative to the vertex of the bracket, in octaves.

    A bracket that ends at a cliff is limited by stability, at any length. A job that sees its data many times wants a
    lower rate when it is trained longer.
    """
    if edge - vertex < NEAR_EDGE:
        return SHIFT_EDGE
    return SHIFT_MANY if epochs is not None and epochs >= MANY_EPOCHS else SHIFT


class ForkRung:
    """Runs the forks one after another; what it has so far can be read at any time."""

    def __init__(self, bench: Bench, middle: float, edge: float, low: float, high: float, *, most: float) -> None:
        self._bench, self._middle, self._low, self._high, self._most = bench, middle, low, high, most
        self._calm, self._bold = edge - BELOW_EDGE, edge + BEYOND_EDGE
        self._points: dict[float, Point] = {}
        self._raw: dict[float, float] = {}
        self._abandoned: set[float] = set()

    @property
    def result(self) -> Forks:
        """What is known so far."""
        return Forks(
            points=tuple(sorted(self._points.values(), key=lambda p: p.x)), abandoned=frozenset(self._abandoned)
        )

    def run(self) -> Forks:
        """Fork twice around the middle, then outward from the best while it lies at an end.

        The upper one goes first: where it is far better, the lower one need not be annealed. One more fork on the way up
        costs little, since the real run can go on from it or from its neighbor, and so may exceed the budget by that.
        """
        total = self._bench.total_steps
        pair = (self._middle + SPREAD, self._middle - SPREAD)
        if self._bench.affords(total / 2):
            self._prefetch_pair(pair)
        for x in pair:
            if self._bench.affords(total / 4):
                self._fork(x, self._calm)
        while 0 < len(self._points) < self._most:
            x, is_up = self._next()
            if (
                x is None
                or not self._bench.affords(total / 4 - (3 * total / 16 if is_up else 0))
                or not self._fork(x, self._bold)
            ):
                break
        return self.result

    def _prefetch_pair(self, pair: tuple[float, float]) -> None:
        """Let the first two be trained at once, as far as both will be asked for."""
        first, then, anneal = self._lengths
        upper, lower = (self._within(x, self._calm) for x in pair)
        if abs(upper - lower) >= SAME:
            self._bench.prefetch([Want(x=x, to_step=first) for x in (upper, lower)])
            early = [self._bench.trunk(x, first) for x in (upper, lower)]
            on = [e for e in early if not e.is_diverged]
            if len(on) == 2 and not self._is_hopeless(early[1], {early[0].x: early[0].loss}):
                self._bench.prefetch([Want(x=e.x, to_step=then, anneal=anneal) for e in early])

    @property
    def _lengths(self) -> tuple[int, int, int]:
        """Where a fork is looked at, where it leaves the real run, and how long it is annealed."""
        total = self._bench.total_steps
        return max(1, total // 8), max(1, 3 * total // 16), max(1, total // 16)

    def _within(self, x: float, top: float) -> float:
        return min(max(x, self._low), top, self._high)

    def _is_hopeless(self, early: Point, others: Mapping[float, float]) -> bool:
        """Whether a rate has lost by an eighth: one above looks worse then than it will be annealed, and never has."""
        scale = LossScale.of([*others.values(), early.loss], self._bench.initial_loss)
        best, best_x = min(((scale(v), y) for y, v in others.items()), default=(math.inf, math.inf))
        return early.x < best_x and scale(early.loss) > best + HOPELESS

    def _next(self) -> tuple[float | None, bool]:
        """Return where to fork next, if anywhere, and whether that is above the best."""
        points = sorted(self._points.values(), key=lambda p: p.x)
        scale = LossScale.of([p.loss for p in points], self._bench.initial_loss)
        best = min(points, key=lambda p: scale(p.loss))
        at = points.index(best)
        after = points[at + 1] if at + 1 < len(points) else None
        if best.is_diverged:
            return points[0].x - STRIDE, False
        if after is None and best.x + 0.3 < self._bold:
            return min(best.x + STRIDE, self._bold), True
        if (
            at > 0 and after is not None and after.x in self.result.broken and after.x - best.x > 0.9
        ):  # a cliff: look closer
            return (best.x + after.x) / 2, True
        return (best.x - STRIDE, False) if at == 0 else (None, False)

    def _fork(self, x: float, top: float) -> bool:
        """Try one more rate; False if it is one that was tried."""
        x = self._within(x, top)
        if any(abs(x - known) < SAME for known in self._points):
            return False
        first, then, anneal = self._lengths
        early = self._bench.trunk(x, first)
        x = early.x
        is_hopeless = self._is_hopeless(early, self._raw)
        scale = LossScale.of([*self._raw.values(), early.loss], self._bench.initial_loss)
        best = min(map(scale, self._raw.values()), default=math.inf)
        self._raw[x] = early.loss
        if early.is_diverged:
            self._points[x] = early
        elif is_hopeless:
            self._bench.abandon(
                x, f"not annealed: already {100 * math.expm1(scale(early.loss) - best):.0f} % worse at step {first}"
            )
            self._points[x] = Point(x=x, loss=math.inf)
            self._abandoned.add(x)
        else:
            middle = self._bench.trunk(x, then)
            self._points[x] = middle if middle.is_diverged else self._bench.fork(x, anneal)
        return True
