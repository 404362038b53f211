"""Where trials are run: counts their cost, watches for divergence, logs every piece, and answers repeats from the log.

A *piece* is the smallest unit of finished work: a whole short run, a stretch of a real run (a *trunk*), or the annealed
end of a fork. Pieces are logged as they finish; a search that is started again on the same run directory asks for the
same pieces in the same order, and those in the log are answered without training.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from surefoot._errors import JobError
from surefoot.run import RunDirectory
from surefoot.schedules import Schedule
from surefoot.search._found import Outcome, Trial
from surefoot.search._job import CanSave, Job, TrialFailed
from surefoot.search._parallel import Shelf, Task, Team, Want
from surefoot.search._steps import Point

log = logging.getLogger("surefoot")

CHUNK = 5  # steps between two looks at the training loss
BLOWN = 2.0  # a run has blown up when the mean training loss of five steps is above this many times the initial one
SAME_FAILURES = 3  # trials that fail one after another, before the search gives up


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a search stands.

    Attributes:
        phase: "bracket", "forks", "race", "ladder" or "grid".
        spent: training steps so far, in run equivalents.
        expected: training steps expected in all, in run equivalents.
        trials: trials begun so far.
    """

    phase: str
    spent: float
    expected: float
    trials: int


@dataclass(slots=True)
class _Trunk:
    """A real run, as far as it has been trained; `run`, if there is one, stands at `run_step`.

    That is not `step` where the run is only known from the log, or was interrupted between two pieces.
    """

    learning_rate: float
    run: Any = None
    run_step: int | None = None
    step: int = 0
    recent: list[float] = field(default_factory=list[float])
    first_loss: float = math.nan
    readings: dict[int, Point] = field(default_factory=dict[int, Point])


@dataclass(slots=True)
class BestFork:
    """The annealed fork with the lowest validation loss; `run` is None where it is only known from the log."""

    learning_rate: float
    step: int
    anneal: int
    loss: float
    run: Any = None


class Lab:
    """Runs the trials of one search. Rates are asked for as x = log2(rate) and rounded to three digits."""

    def __init__(
        self,
        job: Job,
        plan: Schedule,
        *,
        seed: int,
        allowed: float,
        expected: float,
        directory: RunDirectory | Shelf | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        team: Team | None = None,
    ) -> None:
        self.job, self.plan, self.seed = job, plan, seed
        self.total_steps = job.total_steps
        self.allowed, self.expected = allowed * job.total_steps, expected
        self.rung, self.steps = "bracket", 0
        self.initial_loss = math.nan
        self._directory, self._on_progress, self._team = directory, on_progress, team
        self._running = 0  # steps of the piece that is being trained
        self._known = _believed(directory.pieces) if directory else {}
        self._pieces: dict[str, list[dict[str, Any]]] = {}
        self._trunks: dict[float, _Trunk] = {}
        self._failures: list[str] = []
        self.best_fork: BestFork | None = None
        self._answers: dict[str, Point] = {}

    # ---- what the moves of the search ask for ----------------------------------------------------------------------

    def look_first(self) -> float:
        """Measure the loss before any training, and refuse a job that has none."""
        piece = self._known.get("initial")
        if piece is None:
            run = self.job.start(self.job.default_learning_rate, seed=self.seed)
            piece = {"key": "initial", "val_loss": float(self.job.evaluate(run))}
            self._remember(piece)
        self.initial_loss = float(piece["val_loss"])
        if not math.isfinite(self.initial_loss):
            raise JobError(
                f"the validation loss of {self.job.name!r} is {self.initial_loss} before any training. Check the model's "
                "initial weights, the loss function and the validation data for NaN and infinity."
            )
        return self.initial_loss

    def prefetch(self, wants: Sequence[Want]) -> None:
        """Hear which pieces will be asked for in any case: where there is a team, it trains them at once."""
        team, directory = self._team, self._directory
        if team is None or directory is None:
            return
        tasks = [self._task(want) for want in wants if not self._knows(want)]
        if len(tasks) < 2:
            return  # one alone is trained here
        self._tell()
        for i, pieces in team.run(tasks):  # logged as they come: a kill loses nothing that is finished
            for piece in [self._lost(tasks[i].want, pieces)] if isinstance(pieces, str) else pieces:
                self._remember(piece)

    def _knows(self, want: Want) -> bool:
        rate = three_digits(want.x)
        if want.short is not None:
            return f"{self.rung} {rate!r} short {want.short}" in self._known
        if want.anneal is not None:
            return f"trunk {rate!r} fork {want.to_step} anneal {want.anneal}" in self._known
        return f"trunk {rate!r} to {want.to_step}" in self._known

    def _task(self, want: Want) -> Task:
        assert self._directory is not None
        start = f"trunk {three_digits(want.x)!r} to "
        known = tuple(piece for key, piece in self._known.items() if key.startswith(start))
        return Task(
            want=want,
            rung=self.rung,
            plan=self.plan,
            seed=self.seed,
            initial_loss=self.initial_loss,
            known=known,
            checkpoints=self._directory.checkpoints,
        )

    def _lost(self, want: Want, note: str) -> dict[str, Any]:
        """Return the record of a piece that could not be trained: a failed trial, of no steps."""
        rate = three_digits(want.x)
        short = want.short is not None
        start = 0 if short else self.trunk_steps(want.x)
        return {
            "key": f"{self.rung} {rate!r} short {want.short}" if short else f"trunk {rate!r} to {want.to_step}",
            "rung": self.rung,
            "learning_rate": rate,
            "from_step": start,
            "to_step": start,
            "outcome": "failed",
            "val_loss": math.inf,
            "train_loss": math.nan,
            "first_loss": math.nan,
            "recent": [],
            "losses": [],
            "note": note,
        }

    def short(self, x: float, steps: int) -> Point:
        """Train a new run of `steps` steps with the real schedule compressed to them."""
        rate = three_digits(x)
        key = f"{self.rung} {rate!r} short {steps}"
        if key not in self._answers:
            piece = self._known.get(key) or self._train_short(key, rate, steps)
            self._answers[key] = self._accept(piece)
        return self._answers[key]

    def trunk(self, x: float, to_step: int) -> Point:
        """Train (on) the real run of this rate to `to_step`, not annealed."""
        rate = three_digits(x)
        trunk = self._trunks.setdefault(rate, _Trunk(rate))
        diverged = next((p for p in trunk.readings.values() if p.is_diverged), None)
        if diverged is not None:
            return diverged
        if to_step not in trunk.readings:
            key = f"trunk {rate!r} to {to_step}"
            piece = self._known.get(key) or self._train_trunk(key, trunk, to_step)
            trunk.step, trunk.first_loss, trunk.recent = to_step, float(piece["first_loss"]), list(piece["recent"])
            trunk.readings[to_step] = Point(
                x=math.log2(rate), loss=float(piece["val_loss"]), train_loss=float(piece["train_loss"])
            )
            self._accept(piece)
            if piece["outcome"] != "finished":
                trunk.run = trunk.run_step = None  # nothing goes on from it
        return trunk.readings[to_step]

    def fork(self, x: float, steps: int) -> Point:
        """Copy the real run of this rate where it stands and let the rate fall to 0 within `steps`."""
        rate = three_digits(x)
        trunk = self._trunks[rate]
        key = f"trunk {rate!r} fork {trunk.step} anneal {steps}"
        if key not in self._answers:
            run: list[Any] = []
            piece = self._known.get(key) or self._train_fork(key, trunk, steps, run)
            self._answers[key] = point = self._accept(piece)
            if not point.is_diverged and (self.best_fork is None or point.loss < self.best_fork.loss):
                self.best_fork = BestFork(rate, trunk.step, steps, point.loss, run[0] if run else None)
        return self._answers[key]

    def abandon(self, x: float, note: str) -> None:
        """Say of a trial of this rung why it was not carried on."""
        pieces = self._pieces.get(f"{self.rung} {three_digits(x)!r}")
        if pieces and pieces[-1]["outcome"] == "finished":
            pieces[-1] = {**pieces[-1], "abandoned": True, "note": note}

    def affords(self, steps: float) -> bool:
        """Whether `steps` more training steps keep within the budget."""
        return self.steps + steps <= self.allowed + 1e-9

    # ---- what the answer needs --------------------------------------------------------------------------------------

    @property
    def trained(self) -> int:
        """All training steps so far, those of an interrupted piece included."""
        return self.steps + self._running

    @property
    def spent(self) -> float:
        """The same in run equivalents."""
        return self.trained / self.total_steps

    def trunk_steps(self, x: float) -> int:
        """Return how far the real run of this rate has been trained."""
        trunk = self._trunks.get(three_digits(x))
        return trunk.step if trunk and not any(p.is_diverged for p in trunk.readings.values()) else 0

    def trunks(self, at_least: int) -> list[float]:
        """Return x of the real runs that have reached `at_least` steps."""
        return sorted(math.log2(rate) for rate in self._trunks if self.trunk_steps(math.log2(rate)) >= at_least)

    def trials(self) -> tuple[Trial, ...]:
        """Return all trials so far, in the order in which they were begun."""
        return tuple(_as_trial(pieces, self.seed) for pieces in self._pieces.values())

    # ---- after the search -------------------------------------------------------------------------------------------

    def tidy(self, x: float | None, *, files: bool = True) -> None:
        """Let go of every training run but the real one of this rate, if any, in memory and in the run directory."""
        rate = None if x is None else three_digits(x)
        for trunk in self._trunks.values():
            if trunk.learning_rate != rate:
                trunk.run = trunk.run_step = None
        step = 0 if x is None else self.trunk_steps(x)
        if self._directory and files:
            self._directory.forget_all_but(_file(rate, step) if rate is not None and step else None)

    def hold(self, x: float) -> None:
        """Take the real run of this rate, as far as it has been trained, into memory: its checkpoint goes."""
        trunk = self._trunks.get(three_digits(x))
        if trunk is not None and self.trunk_steps(x):
            self._run_of(trunk)

    def resumed(self, x: float) -> tuple[Any, int]:
        """Return the real run of this rate, a copy of it as far as it has been trained, and its step."""
        step = self.trunk_steps(x)
        if step:
            return self.job.fork(self._run_of(self._trunks[three_digits(x)])), step
        return self.job.start(three_digits(x), seed=self.seed), 0

    def forked_anew(self, rate: float, step: int, anneal: int) -> Any:
        """Train a fork again from its start, and return its run."""
        run = self.job.start(rate, seed=self.seed)
        self.job.advance(run, [float(self.plan(s)) for s in range(step)])
        self.job.advance(run, self._annealed(step, anneal))
        return run

    # ---- training ---------------------------------------------------------------------------------------------------

    def _train_short(self, key: str, rate: float, steps: int) -> dict[str, Any]:
        factors = compressed(self.plan, self.total_steps, steps)
        piece = self._train(key, _Trunk(rate), factors, start=0, begin=lambda: self.job.start(rate, seed=self.seed))
        self._remember(piece)
        return piece

    def _train_trunk(self, key: str, trunk: _Trunk, to_step: int) -> dict[str, Any]:
        factors = [float(self.plan(s)) for s in range(trunk.step, to_step)]

        def begin() -> Any:
            run = self._run_of(trunk)
            trunk.run_step = None  # unknown if it is interrupted
            return run

        piece = self._train(key, trunk, factors, start=trunk.step, begin=begin)
        trunk.run_step = to_step
        # The checkpoint goes before its piece, the one it replaces after: a kill in between loses neither.
        directory, job = self._directory, self.job
        if directory is None or piece["outcome"] != "finished" or not isinstance(job, CanSave):
            self._remember(piece)
            return piece
        run = trunk.run
        is_kept = directory.keep(_file(trunk.learning_rate, to_step), lambda path: job.save(run, path))
        self._remember(piece)
        if is_kept and trunk.step:
            directory.forget(_file(trunk.learning_rate, trunk.step))
        return piece

    def _train_fork(self, key: str, trunk: _Trunk, steps: int, made: list[Any]) -> dict[str, Any]:
        """Train a fork and return its record; its run goes into `made`."""

        def begin() -> Any:
            made.append(self.job.fork(self._run_of(trunk)))
            return made[0]

        branch = _Trunk(trunk.learning_rate, step=trunk.step, recent=list(trunk.recent), first_loss=trunk.first_loss)
        piece = self._train(key, branch, self._annealed(trunk.step, steps), start=trunk.step, begin=begin)
        self._remember(piece)
        return piece

    def _annealed(self, step: int, steps: int) -> list[float]:
        """Return the factors of a fork: from where the schedule stands down to 0."""
        top = float(self.plan(step))
        return [top * (1.0 - i / steps) for i in range(steps)]

    def _run_of(self, trunk: _Trunk) -> Any:
        """Return the training run of a trunk, from memory, from its checkpoint, or, if that is lost, trained again."""
        if trunk.run_step == trunk.step:
            return trunk.run
        run = self._loaded(trunk) if trunk.step > 0 else None
        if run is None:
            run = self.job.start(trunk.learning_rate, seed=self.seed)
            if trunk.step > 0:
                log.info("the first %d steps of the run at %g are trained again", trunk.step, trunk.learning_rate)
                self.job.advance(run, [float(self.plan(s)) for s in range(trunk.step)])
        trunk.run, trunk.run_step = run, trunk.step
        return run

    def _loaded(self, trunk: _Trunk) -> Any:
        """Return the run from its checkpoint, or None if there is none that can be read."""
        path = self._directory.kept(_file(trunk.learning_rate, trunk.step)) if self._directory else None
        if path is None or not isinstance(self.job, CanSave):
            return None
        try:
            return self.job.load(path)
        except Exception as error:  # noqa: BLE001 - whatever a job's load raises, the steps can be trained again
            log.warning("the checkpoint %s cannot be read (%s): its steps are trained again", path, error)
            return None

    def _train(
        self, key: str, trunk: _Trunk, factors: Sequence[float], *, start: int, begin: Callable[[], Any]
    ) -> dict[str, Any]:
        """Train one piece and return its record; a blow-up or a failure of the trial is an outcome, not an error."""
        self._tell()
        losses: list[float] = []
        outcome: Outcome = "finished"
        note, val_loss = "", math.inf
        recent, first = trunk.recent, trunk.first_loss
        self._running = 0
        try:
            run = begin()
            chunk = CHUNK if self.job.can_fork else len(factors)
            for at in range(0, len(factors), chunk):
                part = factors[at : at + chunk]
                self._running += len(part)
                new = self._advanced(run, part)
                losses += new
                if new and math.isnan(first):
                    first = new[0]
                if _has_blown_up(recent + new, first, self.initial_loss):
                    outcome = "diverged"
                    break
                recent = (recent + new)[-4:]
                self._tell()
            if outcome == "finished":
                val_loss = float(self.job.evaluate(run))
                if not math.isfinite(val_loss):
                    outcome, val_loss = "diverged", math.inf
        except TrialFailed as failure:
            outcome, note = "failed", str(failure)
        done = self._running
        tail = max(6, min(40, (start + done) // 6))
        last = losses[-tail:]
        return {
            "key": key,
            "rung": self.rung,
            "learning_rate": trunk.learning_rate,
            "from_step": start,
            "to_step": start + done,
            "outcome": outcome,
            "val_loss": val_loss,
            "train_loss": sum(last) / len(last) if last else math.nan,
            "first_loss": first,
            "recent": recent,
            "losses": _thinned([[start + i, v] for i, v in enumerate(losses)], 100),
            "note": note,
        }

    def _advanced(self, run: Any, factors: Sequence[float]) -> list[float]:
        """Train a few steps and return their training losses, one a step or none."""
        losses = [float(v) for v in self.job.advance(run, factors)]
        if len(losses) not in (0, len(factors)):
            raise JobError(
                f"{self.job.name!r}: advance() was given {len(factors)} factors and returned {len(losses)} losses. "
                "Return one training loss per step, or none at all."
            )
        return losses

    # ---- the books --------------------------------------------------------------------------------------------------

    def _remember(self, piece: dict[str, Any]) -> None:
        self._known[piece["key"]] = piece
        if self._directory:
            self._directory.add(piece)

    def _accept(self, piece: dict[str, Any]) -> Point:
        """Book a piece, trained or remembered, and return its point."""
        self._running = 0
        self.steps += int(piece["to_step"]) - int(piece["from_step"])
        rate = float(piece["learning_rate"])
        self._pieces.setdefault(f"{piece['rung']} {rate!r}", []).append(piece)
        if piece["outcome"] == "failed":
            self._failures.append(str(piece["note"]))
            if len(self._failures) >= SAME_FAILURES and not any(
                p["outcome"] != "failed" for pieces in self._pieces.values() for p in pieces
            ):
                raise JobError(f"every trial failed. The first: {self._failures[0]}")
        self._tell()
        return Point(x=math.log2(rate), loss=float(piece["val_loss"]), train_loss=float(piece["train_loss"]))

    def _tell(self) -> None:
        if self._on_progress:
            expected = max(self.expected, self.spent)
            self._on_progress(Progress(phase=self.rung, spent=self.spent, expected=expected, trials=len(self._pieces)))


def _believed(pieces: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the pieces of a log by key; if every trial failed, its cause may be cured by now: try all of them again."""
    is_hopeless = all(p.get("outcome") == "failed" for p in pieces if p["key"] != "initial")
    return {str(p["key"]): p for p in pieces if p["key"] == "initial" or not is_hopeless}


def compressed(plan: Schedule, total_steps: int, steps: int) -> list[float]:
    """Return the factors of the whole plan squeezed into `steps`: each is the plan at the middle of what it stands for.

    >>> from surefoot.schedules import linear_decay
    >>> compressed(linear_decay().resolve(100), 100, 4)
    [0.88, 0.63, 0.38, 0.13]
    """
    stretch = total_steps / steps
    return [round(float(plan((s + 0.5) * stretch - 0.5)), 12) for s in range(steps)]


def _has_blown_up(losses: Sequence[float], first: float, initial_loss: float) -> bool:
    """Whether five steps in a row have a mean training loss above twice the initial one, or one is not finite."""
    if any(not math.isfinite(v) for v in losses):
        return True
    at_start = max(first, initial_loss) if math.isfinite(initial_loss) else first
    limit = at_start + (BLOWN - 1.0) * abs(at_start)
    return any(sum(losses[i - 5 : i]) / 5 > limit for i in range(5, len(losses) + 1))


def _as_trial(pieces: Sequence[dict[str, Any]], seed: int) -> Trial:
    first, last = pieces[0], pieces[-1]
    val = [(int(p["to_step"]), float(p["val_loss"])) for p in pieces if math.isfinite(p["val_loss"])]
    losses = _thinned([pair for p in pieces for pair in p["losses"]], 200)
    train = float(last["train_loss"])
    is_abandoned = last["outcome"] == "finished" and bool(last.get("abandoned"))
    return Trial(
        rung=str(first["rung"]),
        learning_rate=float(first["learning_rate"]),
        seed=seed,
        horizon=int(last["to_step"]),
        steps=sum(int(p["to_step"]) - int(p["from_step"]) for p in pieces),
        outcome="abandoned" if is_abandoned else last["outcome"],
        train_loss=train if math.isfinite(train) else None,
        val_loss=val[-1][1] if val and last["outcome"] == "finished" else None,
        best_val_loss=min((v for _, v in val), default=None),
        losses=tuple((int(s), float(v)) for s, v in losses),
        val_losses=tuple(val),
        note=str(last["note"]),
    )


def _thinned(pairs: list[Any], most: int) -> list[Any]:
    stride = -(-len(pairs) // most) or 1
    return pairs[::stride]


def three_digits(x: float) -> float:
    """Return the rate of an x = log2(rate), as all trials have it."""
    return float(f"{2.0**x:.3g}")


def _file(rate: float, step: int) -> str:
    return f"run-{rate!r}-{step}.state"
