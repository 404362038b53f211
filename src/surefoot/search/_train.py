"""From a found rate to a trained model: the real run, a sibling of it, and the search's best fork; the best one wins."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from surefoot.search._job import Delivers
from surefoot.search._lab import CHUNK, Lab, Progress, three_digits

Keep = Literal["end", "last", "best"]

LOOKS = 16  # evaluations along a whole run
PATIENCE = 5  # looks without gain after which a run that has stood still, or got worse, is stopped
LATE = 5 / 8  # where a sibling leaves the real run; from the middle on it was no better on the design jobs, and dearer
LATE_RATE = 2.8  # what its rate is multiplied with from there on; of 1.4, 2 and 2.8 the best


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model that might be kept: where it comes from, and how good it is.

    Attributes:
        origin: in words.
        learning_rate: the peak rate of its run.
        step: optimizer steps from the start of its run.
        val_loss: its validation loss.
        is_annealed: whether its rate has come down to the end of its schedule.
    """

    origin: str
    learning_rate: float
    step: int
    val_loss: float
    is_annealed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained model, and what it took.

    Attributes:
        run: the job's own form of a run; a `TorchJob`'s holds the model and the optimizer.
        model: its trained model, if the run has one.
        val_loss: its validation loss; not finite if the run diverged after all.
        steps: optimizer steps, counted from the start of the run.
        learning_rate: the peak rate of its run.
        origin: which run it is, in words.
        cost: all training steps of the search and of the training, in run equivalents.
        candidates: what it was chosen from, in the order in which they were trained.
    """

    run: Any
    model: Any
    val_loss: float
    steps: int
    learning_rate: float = math.nan
    origin: str = "the real run"
    cost: float = math.nan
    candidates: tuple[Candidate, ...] = ()


class Training:
    """Trains the real run of one rate to its end, with whatever competes with it."""

    def __init__(self, lab: Lab, x: float, *, keep: Keep, on_progress: Callable[[Progress], None] | None) -> None:
        """Prepare; nothing is trained yet.

        Args:
            lab: where the search was run.
            x: log2 of the found rate.
            keep: "end", the real run at its end whatever it is worth; "last", the best of all runs at their ends;
                "best", the best at any look.
            on_progress: called every few steps.
        """
        self._lab, self._x, self._rate, self._keep = lab, x, three_digits(x), keep
        self._tell = on_progress
        self._before, self._steps, self._expected = 0, 0, lab.total_steps
        self._candidates: list[Candidate] = []
        self._best: tuple[Candidate, Any] | None = None

    def run(self, late_rates: Sequence[float] = ()) -> Trained:
        """Train; a late rate is what a sibling's rate is multiplied with from 5/8 of the run on."""
        lab, total = self._lab, self._lab.total_steps
        run, step = lab.resumed(self._x)
        middle = max(step, round(LATE * total)) if late_rates else step
        self._before, self._expected = step, total + len(late_rates) * (total - middle)
        if step == total:  # a race has trained it to its end
            self._look(run, step, "the real run")
        is_alive = self._leg(run, step, middle, 1.0, "the real run")
        siblings = [(multiplier, lab.job.fork(run)) for multiplier in late_rates if is_alive and middle < total]
        if is_alive:
            self._leg(run, middle, total, 1.0, "the real run")
        for multiplier, sibling in siblings:
            self._leg(sibling, middle, total, multiplier, f"the real run, its rate x {multiplier:g} from step {middle}")
        fork = lab.best_fork
        if self._keep != "end" and fork is not None:
            self._offer_fork(fork.learning_rate, fork.step, fork.anneal, fork.loss, fork.run)
        assert self._best is not None
        kept, run = self._best
        return Trained(
            run=run,
            model=lab.job.deliver(run) if isinstance(lab.job, Delivers) else getattr(run, "model", None),
            val_loss=kept.val_loss,
            steps=kept.step,
            learning_rate=kept.learning_rate,
            origin=kept.origin,
            cost=(lab.trained + self._steps) / total,
            candidates=tuple(self._candidates),
        )

    def _leg(self, run: Any, step: int, to: int, multiplier: float, origin: str) -> bool:
        """Train a run on to a step, and look at it on the way; return whether it got there."""
        lab, total = self._lab, self._lab.total_steps
        looks = {total * k // LOOKS for k in range(1, LOOKS + 1)} if self._keep == "best" else {total}
        lowest, stale = math.inf, 0
        while step < to:
            until = min([step + CHUNK, to, *(look for look in looks if look > step)])
            lab.job.advance(run, [multiplier * float(lab.plan(s)) for s in range(step, until)])
            self._steps += until - step
            step = until
            self._report()
            if step in looks:
                loss = self._look(run, step, origin)
                stale = 0 if loss < lowest else stale + 1
                lowest = min(lowest, loss)
                if step < total and (not math.isfinite(loss) or (stale >= PATIENCE and 2 * step > total)):
                    return False
        return True

    def _look(self, run: Any, step: int, origin: str) -> float:
        loss = float(self._lab.job.evaluate(run))
        self._offer(run, Candidate(origin, self._rate, step, loss, is_annealed=step == self._lab.total_steps))
        return loss

    def _report(self) -> None:
        if self._tell:
            spent = (self._before + self._steps) / self._lab.total_steps
            expected = max(spent, self._expected / self._lab.total_steps)
            self._tell(Progress(phase="train", spent=spent, expected=expected, trials=1))

    def _offer(self, run: Any, candidate: Candidate) -> None:
        """Note a candidate, and keep it if it is the best so far: itself where it is at its end, else a copy."""
        self._candidates.append(candidate)
        if self._best is None or _order(candidate) < _order(self._best[0]):
            self._best = candidate, run if candidate.is_annealed else self._lab.job.fork(run)

    def _offer_fork(self, rate: float, step: int, anneal: int, loss: float, run: Any) -> None:
        """Let the search's best fork compete; after a resume it is trained again, if it wins."""
        origin = f"a fork of the search, annealed from step {step}"
        candidate = Candidate(origin, rate, step + anneal, loss)
        if self._best is not None and not _order(candidate) < _order(self._best[0]):
            self._candidates.append(candidate)
            return
        if run is None:
            run = self._lab.forked_anew(rate, step, anneal)
            self._steps += step + anneal
        self._offer(self._lab.job.fork(run), candidate)


def _order(candidate: Candidate) -> float:
    return candidate.val_loss if math.isfinite(candidate.val_loss) else math.inf
