"""The three ways to search: forks of the real run, a ladder of whole short runs, a plain grid."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from surefoot.schedules import Schedule
from surefoot.search._belief import (
    DRIFT,
    EDGE_MARGIN,
    FORK_LENGTH,
    LADDER_DRIFT,
    OVERFIT,
    PLAIN,
    WIDEN,
    Belief,
    Evidence,
    believe,
    bracket_evidence,
    vertex_of,
)
from surefoot.search._forks import CENSORED_FORK, HOPELESS, ForkRung, Forks, shift_to_forks
from surefoot.search._lab import Lab
from surefoot.search._parallel import Want
from surefoot.search._race import SNAP, Race, near_trunk
from surefoot.search._steps import LossScale, Point, bracket, divergence_edge, fill, initial_of

LEAST_STEPS = 20  # of a run of the first rung: shorter ones measure their own warm-up
TOLERANCE = 1.1  # the budget is kept to within this factor
FORKS = 4  # at most, where a race follows: it climbs further by itself
RACE_GAP = 1.2  # sd of the belief between the first two racers; of 1.0, 1.2 and 1.5 the best on six design seeds
RACE_MARGIN = 0.7  # octaves that racers keep below the lowest rate that broke a run: another seed breaks earlier
RACE_BEYOND = 0.6  # octaves above the highest fork that they may stand where that has survived within the margin
THREE_FINALISTS = 2.4  # the budget from which the third best goes on too
LEAST_SD = 0.7  # octaves: candidates nearer than this could not be told apart
CONSTANT = (1.4, 0.7)  # the best rate of a run that does not decay lies this much lower, mean and sd


def first_length(total_steps: int) -> int:
    """Return the length of the first rung: a 32nd of the run, at least 20 steps."""
    return min(total_steps, max(LEAST_STEPS, -(-total_steps // 32)))


class Method(ABC):
    """One way to search; what it has learned so far can be read at any time."""

    name: ClassVar[str]

    def __init__(self, lab: Lab, *, budget: float, start: float, low: float, high: float, plan: Schedule) -> None:
        self.lab, self.budget, self.start, self.low, self.high, self.plan = lab, budget, start, low, high, plan
        self.points: list[Point] = []
        self.length = first_length(lab.total_steps)
        self.edge = math.inf

    @classmethod
    @abstractmethod
    def expected(cls, budget: float) -> float:
        """Return the training steps expected in all, in run equivalents; for the progress bar."""

    @classmethod
    def allowed(cls, budget: float) -> float:
        """Return the training steps allowed, in run equivalents."""
        return TOLERANCE * budget

    @abstractmethod
    def run(self) -> None:
        """Search."""

    @abstractmethod
    def belief(self) -> Belief:
        """Return what is believed on what is known so far."""

    @property
    def knows_something(self) -> bool:
        """Whether any trial has a loss."""
        return any(not p.is_diverged for p in self.points)

    @property
    def has_moved(self) -> bool:
        """Whether training changes the loss at all, at any rate."""
        losses = [p.loss for p in self.points if not p.is_diverged]
        if losses and math.isfinite(self.lab.initial_loss):
            losses.append(self.lab.initial_loss)
        return len(losses) > 1 and max(losses) - min(losses) > 1e-9 * max(1.0, abs(min(losses)))

    @property
    def winner(self) -> float | None:
        """X of the winner of a race, if there was one."""
        return None

    def final_points(self) -> list[Point]:
        """Return the points of the last rung that is known."""
        return self.points

    def _bracket(self, longest: int) -> None:
        """Run the first rung into `points`, keeping what is known if it is interrupted."""
        seen = _Watched(self.lab, self.points)
        try:
            found, self.length = bracket(seen, self.start, self.length, self.low, self.high, longest=longest)
            self.points[:] = fill(seen, found, self.length, self.low, self.high)
        finally:  # interrupted or not
            self.edge = divergence_edge(self.points, self.lab.initial_loss)


class ForkMethod(Method):
    """Bracket, fork pair, belief; with more budget a race of the last candidates."""

    name = "forks"

    def __init__(self, lab: Lab, *, budget: float, start: float, low: float, high: float, plan: Schedule) -> None:
        super().__init__(lab, budget=budget, start=start, low=low, high=high, plan=plan)
        self._rung: ForkRung | None = None
        self._winner: float | None = None
        self.racers = 0

    @classmethod
    def expected(cls, budget: float) -> float:
        """Return the steps expected in all: a race trains the winner on, which the budget does not count."""
        return (
            1.0 * min(budget, 1.0)
            if budget < 1.4
            else 1.8
            if budget < 2.0
            else 2.8
            if budget < THREE_FINALISTS
            else 3.1
        )

    @classmethod
    def allowed(cls, budget: float) -> float:
        """Return what bracket and forks may take."""
        return TOLERANCE * (budget if budget < 1.4 else 1.0)

    @property
    def winner(self) -> float | None:
        """X of the winner of the race, if there was one."""
        return self._winner

    @property
    def _races(self) -> bool:
        return self.budget >= 1.4

    @property
    def forks(self) -> Forks | None:
        """The fork rung, as far as it has come."""
        return self._rung.result if self._rung else None

    def final_points(self) -> list[Point]:
        """Return the forks if any has a loss, else the bracket."""
        forks = self.forks
        return list(forks.finished) if forks and forks.finished else self.points

    def run(self) -> None:
        """Search."""
        lab = self.lab
        lab.look_first()
        lab.rung = "bracket"
        self._bracket(longest=lab.total_steps // 8)
        if not self.has_moved:
            return
        lab.rung = "fork"
        epochs = self.lab.job.epochs
        vertex = vertex_of(self.points, lab.initial_loss)
        middle = vertex + shift_to_forks(vertex, self.edge, epochs)
        most = FORKS if self._races else math.inf
        self._rung = ForkRung(lab, middle, self.edge, self.low, self.high, most=most)
        self._rung.run()
        forks = self._rung.result
        if self._races and forks.finished:
            lab.rung = "race"
            self._race(forks)

    def belief(self) -> Belief:
        """Return the belief from bracket and forks, or from the bracket alone."""
        lab, forks = self.lab, self.forks
        rungs = [bracket_evidence(self.points, self.length, lab.total_steps, lab.initial_loss)]
        if not forks or not forks.finished:
            return believe(
                rungs,
                initial_loss=lab.initial_loss,
                edge=self.edge,
                epochs=lab.job.epochs,
                drift=DRIFT,
                plain=(-DRIFT[0] * rungs[0].z, 1.0),
                overfit=None,
                widen=1.6,
            )
        rungs.append(
            Evidence(name="fork", points=_censored(forks, lab.initial_loss), z=FORK_LENGTH, censored=CENSORED_FORK)
        )
        plain, overfit = PLAIN, OVERFIT
        widen = WIDEN
        if decay_left(self.plan, lab.total_steps) > 0.5:
            plain = (plain[0] + CONSTANT[0], math.hypot(plain[1], CONSTANT[1]))
            overfit = (overfit[0] + CONSTANT[0], math.hypot(overfit[1], CONSTANT[1]))
        return believe(
            rungs,
            initial_loss=lab.initial_loss,
            edge=self._real_edge(forks),
            epochs=lab.job.epochs,
            drift=DRIFT,
            plain=plain,
            overfit=overfit,
            widen=widen,
        )

    def snapped(self, x: float, within: float = SNAP) -> float:
        """Return the rate of a trained trunk that is near `x`, or `x`."""
        return near_trunk(self.lab, x, within)

    def _real_edge(self, forks: Forks) -> float:
        """Return the edge as the real runs know it: above the bracket's only where a real run has survived."""
        survived = max(p.x for p in forks.finished)
        edge = max(self.edge, survived + EDGE_MARGIN)
        if forks.broken:
            edge = min(edge, max(min(forks.broken) - 0.25, survived + EDGE_MARGIN))
        return edge

    def _race(self, forks: Forks) -> None:
        """Race real runs around the pick, as far as the budget goes."""
        belief, lab, total = self.belief(), self.lab, self.lab.total_steps
        late = None if self.budget < 2.0 else 3 * total // 4 if self.budget < 3.0 else total
        race = Race(
            lab,
            low=self.low,
            high=min(self.high, self._race_top(forks)),
            late=late,
            allowed=TOLERANCE * self.budget * total,
            overfit=belief.overfit,
            finalists=2 if self.budget < THREE_FINALISTS else 3,
        )
        lab.allowed = math.inf
        self._winner = race.run(belief.pick, RACE_GAP * max(belief.sd, LEAST_SD))
        self.racers = race.racers

    def _race_top(self, forks: Forks) -> float:
        """Return the highest rate to race: clear of what broke a run, short or real.

        Where a real run has survived near what broke short ones, these say little, and the race may go a little higher.
        """
        survived = max(p.x for p in forks.finished)
        short = self.edge - RACE_MARGIN
        real = min(forks.broken, default=math.inf) - RACE_MARGIN
        return max(survived, min(short if short > survived else survived + RACE_BEYOND, real))


class LadderMethod(Method):
    """Whole annealed runs of growing length: for jobs that cannot be forked."""

    name = "ladder"

    def __init__(self, lab: Lab, *, budget: float, start: float, low: float, high: float, plan: Schedule) -> None:
        super().__init__(lab, budget=budget, start=start, low=low, high=high, plan=plan)
        self.rungs: list[tuple[int, list[Point]]] = []

    @classmethod
    def expected(cls, budget: float) -> float:
        """Return the steps expected in all."""
        return budget

    def run(self) -> None:
        """Search."""
        lab, total = self.lab, self.lab.total_steps
        lab.rung = "bracket"
        self._bracket(longest=total // 8)
        if not self.has_moved:
            return
        lab.rung = "ladder"
        for share, spread in ((8, 1.0), (4, 0.5), (2, 0.5), (1, 0.5)):
            steps = total // share
            if steps <= self.length or not lab.affords(2 * steps):
                continue
            points: list[Point] = []
            self.rungs.append((steps, points))
            middle = self._middle(steps)
            pair = [self._within(x) for x in (middle - spread, middle + spread)]
            lab.prefetch([Want(x=x, short=steps) for x in pair])
            points.extend(lab.short(x, steps) for x in pair)
            best, other = sorted(points, key=lambda p: p.loss)
            scale = LossScale.of([p.loss for p in points], lab.initial_loss)
            if lab.affords(steps) and scale(other.loss) - scale(best.loss) > 0.12:
                points.append(lab.short(self._within(best.x + math.copysign(1.0, best.x - other.x)), steps))
            self.edge = min(self.edge, divergence_edge([*self.points, *points], lab.initial_loss))

    def belief(self) -> Belief:
        """Return the belief from all rungs; it is that of an annealed run of full length."""
        lab = self.lab
        rungs = [bracket_evidence(self.points, self.length, lab.total_steps, lab.initial_loss)]
        rungs += [
            bracket_evidence(points, steps, lab.total_steps, lab.initial_loss)
            for steps, points in self.rungs
            if any(not p.is_diverged for p in points)
        ]
        return believe(
            rungs,
            initial_loss=initial_of(self.points, lab.initial_loss),
            edge=self.edge,
            epochs=None,
            drift=LADDER_DRIFT,
            plain=(0.0, 0.3),
            overfit=None,
            widen=1.5,
            target=0.0,
        )

    def final_points(self) -> list[Point]:
        """Return the points of the longest rung with a loss."""
        return next((p for _, p in reversed(self.rungs) if any(not q.is_diverged for q in p)), self.points)

    def _middle(self, steps: int) -> float:
        """Return where the next rung's vertex is expected."""
        belief = self.belief()
        _, _, vertex = belief.rungs[-1]
        return vertex - belief.drift * (math.log2(steps / self.lab.total_steps) - belief.z_last)

    def _within(self, x: float) -> float:
        return min(max(x, self.low), self.high, self.edge - EDGE_MARGIN)


class GridMethod(Method):
    """A plain grid of short runs: for jobs that are too short for anything else. Says so."""

    name = "grid"

    def __init__(self, lab: Lab, *, budget: float, start: float, low: float, high: float, plan: Schedule) -> None:
        super().__init__(lab, budget=budget, start=start, low=low, high=high, plan=plan)
        self.length = max(1, min(lab.total_steps, int(TOLERANCE * budget * lab.total_steps / 8)))

    @classmethod
    def expected(cls, budget: float) -> float:
        """Return the steps expected in all."""
        return budget

    def run(self) -> None:
        """Search."""
        self.lab.rung = "grid"
        if self.lab.job.can_fork:
            self.lab.look_first()
        self._bracket(longest=self.length)

    def belief(self) -> Belief:
        """Return the belief from the grid, with the drift to the full length that is usual, and a wide interval."""
        lab = self.lab
        rung = bracket_evidence(self.points, self.length, lab.total_steps, lab.initial_loss)
        return believe(
            [rung],
            initial_loss=lab.initial_loss,
            edge=self.edge,
            epochs=lab.job.epochs,
            drift=LADDER_DRIFT,
            plain=(-LADDER_DRIFT[0] * rung.z, max(0.3, -0.5 * rung.z)),
            overfit=None,
            widen=1.6,
        )


class _Watched:
    """The lab's short runs, each noted as it finishes, so that an interruption loses none."""

    def __init__(self, lab: Lab, notes: list[Point]) -> None:
        self._lab, self._notes = lab, notes
        self._length = 0

    @property
    def initial_loss(self) -> float:
        """The loss before training."""
        return self._lab.initial_loss

    def short(self, x: float, steps: int) -> Point:
        """Train a short run and note its point."""
        if steps != self._length:  # longer runs start over: do not mix lengths
            self._notes.clear()
            self._length = steps
        point = self._lab.short(x, steps)
        self._notes.append(point)
        return point

    def affords(self, steps: float) -> bool:
        """Whether that keeps within the budget."""
        return self._lab.affords(steps)


def decay_left(plan: Schedule, total_steps: int) -> float:
    """Return the last factor of the plan relative to its largest: 0 for a full decay, 1 for none."""
    stretch = max(1, total_steps // 200)
    peak = max(float(plan(s)) for s in range(0, total_steps, stretch))
    return float(plan(total_steps - 1)) / peak if peak > 0 else 0.0


def _censored(forks: Forks, initial_loss: float) -> list[Point]:
    """Return the forks as evidence: an abandoned one counts as clearly worse than the best, a broken one as far worse."""
    scale = LossScale.of([p.loss for p in forks.finished], initial_loss)
    worse = math.exp(min(scale(p.loss) for p in forks.finished) + HOPELESS) - scale.shift
    return [Point(x=p.x, loss=worse) if p.x in forks.abandoned else p for p in forks.points]
