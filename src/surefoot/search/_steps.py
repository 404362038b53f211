"""The moves of the search: bracket, fork, race. Each asks the lab for trials and returns what it learned.

Rates are in octaves here: x = log2(learning rate). Losses are log losses (see `LossScale`), so that 0.06 means "6 %".
The lab is anything with the three methods of `Bench`; the numbers are those of the measured prototype.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from surefoot.search._parallel import Want


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measured rate: x = log2(learning rate), the raw validation loss (inf if it diverged) and the training loss."""

    x: float
    loss: float
    train_loss: float = math.nan

    @property
    def is_diverged(self) -> bool:
        """Whether there is no finite loss."""
        return not math.isfinite(self.loss)


class ShortBench(Protocol):
    """Where short runs are run. A rate that was asked for before is answered from memory and costs nothing."""

    @property
    def initial_loss(self) -> float:
        """The loss before any training, or NaN if it is not known."""
        ...

    def short(self, x: float, steps: int) -> Point:
        """Train a new run of `steps` steps with the real schedule compressed to them."""
        ...

    def affords(self, steps: float) -> bool:
        """Whether `steps` more training steps keep within the budget."""
        ...


class Bench(ShortBench, Protocol):
    """Where pieces of the real run are trained, too."""

    @property
    def total_steps(self) -> int:
        """Steps of the real run."""
        ...

    def trunk(self, x: float, to_step: int) -> Point:
        """Train (on) the real run of this rate to `to_step`, not annealed."""
        ...

    def fork(self, x: float, steps: int) -> Point:
        """Copy the real run of this rate where it stands and let the rate fall to 0 within `steps`."""
        ...

    def abandon(self, x: float, note: str) -> None:
        """Say of a trial why it was not carried on."""
        ...

    def prefetch(self, wants: Sequence[Want]) -> None:
        """Hear which pieces will be asked for in any case."""
        ...


@dataclass(frozen=True, slots=True)
class LossScale:
    """Maps raw losses to log losses; shifted where losses are not all positive, so that ratios still mean something."""

    shift: float

    @classmethod
    def of(cls, losses: Sequence[float], initial: float) -> LossScale:
        """Return the plain logarithm for positive losses, else one shifted by the gain over the initial loss."""
        finite = [v for v in losses if math.isfinite(v)]
        if not finite or min(finite) > 0:
            return cls(0.0)
        start = initial if math.isfinite(initial) else max(finite)
        gain = max(abs(start - min(finite)), 1e-12 + 1e-6 * abs(min(finite)))
        return cls(gain - min(finite))

    def __call__(self, loss: float) -> float:
        if not math.isfinite(loss):
            return math.inf
        return math.log(max(loss + self.shift, 1e-300))


def initial_of(points: Sequence[Point], known: float) -> float:
    """Return the loss before training if it is known, else the best guess: the worst loss at a rate below the best one."""
    finite = [p for p in points if not p.is_diverged]
    if math.isfinite(known) or not finite:
        return known
    best = min(finite, key=lambda p: p.loss)
    return max(p.loss for p in finite if p.x <= best.x)


RISEN = 0.06  # a side of the bracket is closed by a loss that is this much above the best
LEARNED = 0.15  # a rate has learned if its log loss fell by this much
MOVED = 0.05  # ... and has done something at all if it fell by this much
WALK = 2.0  # octaves between the points of the walk
MOST_POINTS = 16  # of one bracket


def bracket(
    bench: ShortBench, start: float, steps: int, low: float, high: float, *, longest: int
) -> tuple[list[Point], int]:
    """Walk from `start` in both directions until the loss has risen on both sides; return the points and their length.

    A rate that did not move the loss counts as too low, one that ends above 1.3 times the initial loss as too high, so
    that a start that is off by a factor of 1000 is found out by walking, in growing strides. Where no rate below the
    broken ones moves the loss, the runs are too short to tell: they are made twice as long, up to `longest`.
    """
    points: dict[float, Point] = {}

    def ask(x: float) -> None:
        x = min(max(x, low), high)
        if x not in points:
            points[x] = bench.short(x, steps)

    ask(start)
    stride = WALK
    while len(points) < MOST_POINTS and bench.affords(steps):
        seen = sorted(points.values(), key=lambda p: p.x)
        start_loss = initial_of(seen, bench.initial_loss)
        scale = LossScale.of([p.loss for p in seen], start_loss)
        best = min(seen, key=lambda p: scale(p.loss))
        initial = scale(start_loss) if math.isfinite(start_loss) else math.inf
        before = len(points)
        if scale(best.loss) > initial - LEARNED:
            broken = [p.x for p in seen if scale(p.loss) > initial + math.log(1.3)]
            works = [p.x for p in seen if not broken or p.x < broken[0]]
            has_moved = not scale(best.loss) > initial - MOVED
            gap = broken[0] - works[-1] if broken and works else math.inf
            if not broken:
                ask(works[-1] + stride)
            elif not works:
                ask(broken[0] - stride)
            elif gap > (WALK if has_moved else WALK / 2) + 1e-9:
                ask(broken[0] - gap / 2)
            elif has_moved:
                break
            elif works[-1] - works[0] < 2 * WALK:
                ask(works[0] - stride)
            elif 2 * steps <= longest and bench.affords(8 * steps):
                return bracket(bench, broken[0] - WALK, 2 * steps, low, high, longest=longest)
            else:
                break
            stride = min(stride * 1.5, 2 * WALK) if len(points) > 3 else stride
        else:
            closed = scale(best.loss) + RISEN
            above = [p for p in seen if p.x > best.x]
            below = [p for p in seen if p.x < best.x]
            if len(above) < 2 and not any(scale(p.loss) > closed for p in above):
                ask(seen[-1].x + WALK)
            elif len(below) < 2 and not any(scale(p.loss) > closed for p in below):
                ask(seen[0].x - WALK)
            else:
                break
        if len(points) == before:  # at the bounds
            break
    return sorted(points.values(), key=lambda p: p.x), steps


def fill(bench: ShortBench, points: list[Point], steps: int, low: float, high: float) -> list[Point]:
    """Ask one octave below the best, and one above where the next point above has broken; return all, sorted."""
    start_loss = initial_of(points, bench.initial_loss)
    scale = LossScale.of([p.loss for p in points], start_loss)
    best = min(points, key=lambda p: (scale(p.loss), p.x))
    above = [p for p in points if p.x > best.x]
    is_cliff = bool(above) and (above[0].is_diverged or scale(above[0].loss) > scale(start_loss))
    for x in (best.x - 1.0, *([best.x + 1.0] if is_cliff else [])):
        if low <= x <= high and all(abs(p.x - x) > 0.3 for p in points) and bench.affords(steps):
            points = [*points, bench.short(x, steps)]
    return sorted(points, key=lambda p: p.x)


def divergence_edge(points: Sequence[Point], initial_loss: float) -> float:
    """Return the smallest x that blew up (or ended at 1.15 times the initial loss) while a smaller one learned; or inf."""
    initial_loss = initial_of(points, initial_loss)
    scale = LossScale.of([p.loss for p in points], initial_loss)
    initial = scale(initial_loss) if math.isfinite(initial_loss) else math.inf
    learned = [p.x for p in points if not p.is_diverged and scale(p.loss) < initial - 0.05]
    blown = [p.x for p in points if p.is_diverged or scale(p.loss) >= initial + math.log(1.15)]
    return min((x for x in blown if any(y < x for y in learned)), default=math.inf)
