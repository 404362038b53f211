"""Methods compared on one job: tuned rates, and optimizers that find their own.

Who compares an optimizer at a rate that somebody guessed with one that finds its rate compares the guess. Here each
method that needs a rate gets a search of its own; one that finds its rate is run as it is. Then all have the same real
run: the same initial weights, batches and schedule. At two looks a copy of each is annealed, as the forks of the search
are; who is far behind is stopped there. The rest run to the end. What is left of the common budget, since some methods
needed no search and others were stopped, buys further seeds for the two best, if these are close.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from surefoot._checks import items_of, refuse, refuse_type
from surefoot._errors import JobError
from surefoot.run import RunDirectory
from surefoot.search._compared import Compared, MethodOutcome, MethodResult
from surefoot.search._find import check_job, finisher, identity, schedule_form, searched, versions
from surefoot.search._found import Found
from surefoot.search._job import Job, TakesOptimizer
from surefoot.search._lab import Lab, Progress, three_digits
from surefoot.search._steps import LossScale
from surefoot.search._verdict import CLOSE, verdict

# Log loss above the best at which a method is stopped at the two looks, and the share of the best one's gain that it
# lacks. Slow starters come late: of nine optimizers on the bundled jobs DoG, 0.83 behind at the first look, had learned
# next to nothing there and shared the first place at the end; no method beyond the second bounds ended within 15 %.
EARLY_BEHIND, LATE_BEHIND = (1.0, math.inf), (0.4, 0.2)
MORE_SEEDS = 2  # at most, for the two best; the verdict's table of t has no more
LEAST_LOOKED = 32  # steps of a real run that is looked at on the way
STILL = 0.02  # log loss that a run must have gained by the first look, or its rate is said to be stuck


def compare(
    job: Job,
    methods: Sequence[str],
    *,
    budget: float,
    seed: int,
    run_dir: str | Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Compared:
    """Compare optimizers on one job; see `find`, whose `methods` leads here."""
    jobs = _jobs(job, methods)
    with ExitStack() as stack:
        if run_dir is not None:
            about = {"methods": list(jobs), **identity(job, budget=budget, seed=seed)}
            stack.enter_context(RunDirectory(run_dir, about))
        comparison = _Comparison(stack, jobs, budget=budget, seed=seed, run_dir=run_dir, on_progress=on_progress)
        is_complete = True
        try:
            comparison.run()
        except KeyboardInterrupt:
            if not comparison.knows_something:
                raise
            is_complete = False
        return comparison.answer(job, is_complete=is_complete)


def _jobs(job: Job, methods: object) -> dict[str, Job]:
    """Return the job with each optimizer, or refuse before anything is trained."""
    names = items_of("find", "methods", methods, "a list of optimizers' names")
    for name in names:
        if not isinstance(name, str):
            raise refuse_type(
                "find", "methods", name, "a list of optimizers' names", "For example ['adam', 'prodigy']."
            )
    texts = [str(name) for name in names]
    if len(texts) < 2:
        cure = "For one optimizer, give it to the job and leave `methods` out."
        raise refuse("find", "methods", texts, "at least two optimizers' names", cure)
    twice = next((name for name in texts if texts.count(name) > 1), None)
    if twice is not None:
        raise refuse("find", "methods", texts, "names that differ", f"{twice!r} is there twice.")
    if not isinstance(job, TakesOptimizer):
        cure = (
            "Give a TorchJob, a JaxJob or a KerasJob, or a job of yours a method `with_optimizer(name)`. Else call `find` "
            "once for each optimizer, and compare the losses of the real runs."
        )
        raise refuse_type("find", "job", type(job).__name__, "one whose optimizer can be exchanged", cure)
    jobs = {name: job.with_optimizer(name) for name in texts}
    for one in jobs.values():
        check_job(one)
        if one.total_steps != job.total_steps or one.can_fork != job.can_fork:
            raise JobError(
                f"{job.name!r}: with_optimizer() returned a job of another length or kind: change the optimizer only."
            )
    return jobs


@dataclass(slots=True)
class _Contender:
    """One method, and how far it has come."""

    name: str
    job: Job
    folder: Path | None
    is_tuned: bool
    lab: Lab | None = None
    found: Found | None = None
    x: float = math.nan
    search_steps: int = 0
    outcome: MethodOutcome = "unfinished"
    step: int = 0
    note: str = ""
    looks: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    losses: dict[int, float] = field(default_factory=dict[int, float])  # by seed, at the end of the real run
    more: list[Lab] = field(default_factory=list[Lab])  # of further seeds

    @property
    def is_racing(self) -> bool:
        return self.lab is not None and self.outcome == "unfinished"

    @property
    def steps(self) -> int:
        labs = [self.lab] if self.lab else []
        return sum(lab.trained for lab in [*labs, *self.more])

    @property
    def racer(self) -> Lab:
        assert self.lab is not None
        return self.lab


class _Comparison:
    """One comparison: its contenders, and the moves in their order."""

    def __init__(
        self,
        stack: ExitStack,
        jobs: Mapping[str, Job],
        *,
        budget: float,
        seed: int,
        run_dir: str | Path | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._stack, self._budget, self._seed, self._run_dir = stack, budget, seed, run_dir
        self._on_progress = on_progress
        self._contenders = [
            _Contender(name, job, _folder(run_dir, at, name), not getattr(job, "is_learning_rate_free", False))
            for at, (name, job) in enumerate(jobs.items(), 1)
        ]
        first = next(iter(jobs.values()))
        self._total, self._can_fork = first.total_steps, first.can_fork
        self._allowed = len(jobs) * (budget + 1.0)

    @property
    def knows_something(self) -> bool:
        """Whether any real run has been compared."""
        return any(c.losses or c.looks for c in self._contenders)

    @property
    def _spent(self) -> float:
        return sum(c.steps for c in self._contenders) / self._total

    # ---- the moves --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Compare."""
        for contender in self._contenders:
            self._begin(contender)
        total = self._total
        if self._can_fork and total >= LEAST_LOOKED:
            self._look(3 * total // 16, EARLY_BEHIND)
            self._look(total // 2, LATE_BEHIND)
        for contender in sorted((c for c in self._contenders if c.is_racing), key=_last_look):
            self._finish(contender)
        self._more_seeds()

    def _begin(self, contender: _Contender) -> None:
        """Search the rate of a method that needs one; prepare the runs of one that does not."""
        job, told = contender.job, self._teller(contender)
        if not contender.is_tuned:
            contender.lab = self._lab(contender, self._seed, contender.folder, told)
            contender.x = math.log2(job.default_learning_rate)
            return
        try:
            contender.found, contender.lab = searched(
                self._stack,
                job,
                budget=self._budget,
                seed=self._seed,
                run_dir=contender.folder,
                on_progress=told,
                tidy=False,  # a comparison that goes on needs the checkpoints of later steps
            )
        except JobError as error:
            contender.outcome, contender.note = "failed", str(error)
            return
        contender.search_steps = contender.lab.trained
        if not contender.found.is_complete:
            raise KeyboardInterrupt  # the search has caught it to give an answer
        contender.x = math.log2(contender.found.learning_rate)
        contender.lab.rung = "real"

    def _look(self, step: int, behind: tuple[float, float]) -> None:
        """Compare all that are still running by annealed copies at a step, and stop those that are far behind."""
        anneal = max(1, self._total // 16)
        seen: dict[str, float] = {}
        for contender in [c for c in self._contenders if c.is_racing]:
            lab, x = contender.racer, contender.x
            forks = [t.val_loss for t in lab.trials() if t.rung == "fork" and t.horizon == step + anneal]
            known = [loss for loss in forks if loss is not None]
            if known:
                loss = min(known)  # the search has looked there already
                contender.step = max(contender.step, lab.trunk_steps(x))
            elif lab.trunk_steps(x) > step or not self._advanced(contender, step):  # a race has brought it further
                continue
            else:
                loss = lab.fork(x, anneal).loss
            seen[contender.name] = loss
            contender.looks.append((step + anneal, loss))
            start = lab.initial_loss
            if behind is EARLY_BEHIND and not contender.is_tuned and start > 0 and loss > start * math.exp(-STILL):
                contender.note = (
                    f"Its loss has hardly moved by step {step}: its estimate starts too low for a run this short."
                )
        if not any(math.isfinite(loss) for loss in seen.values()):
            return
        start = next((c.racer.initial_loss for c in self._contenders if c.name in seen), math.nan)
        scale = LossScale.of(list(seen.values()), start)
        best = min(seen, key=lambda name: scale(seen[name]))
        for contender in [c for c in self._contenders if c.name in seen and c.is_racing]:
            gap = scale(seen[contender.name]) - scale(seen[best])
            lacking = (seen[contender.name] - seen[best]) / (start - seen[best]) if start > seen[best] else 0.0
            if gap > behind[0] or lacking > behind[1]:
                told = f"{100 * math.expm1(gap):.0f} %" if gap < 10.0 else "far"
                stopped = (
                    f"Stopped at step {step}: annealed from there, its validation loss is {told} above that of {best}."
                )
                contender.outcome, contender.note = "stopped", f"{stopped} {contender.note}".rstrip()
                contender.racer.tidy(None)

    def _finish(self, contender: _Contender) -> None:
        """Train the real run of a method to its end."""
        lab, total = contender.racer, self._total
        if not self._can_fork:
            loss = lab.short(contender.x, total).loss
            contender.step = total
            self._note_end(contender, lab)
        else:
            stages = [step for step in (3 * total // 4, total) if step > lab.trunk_steps(contender.x)]
            if not all(self._advanced(contender, step) for step in stages):
                return
            loss = lab.trunk(contender.x, total).loss
        if contender.outcome == "unfinished":
            contender.outcome, contender.losses[self._seed] = "finished", loss

    def _advanced(self, contender: _Contender, step: int) -> bool:
        """Train the real run of a method on; return whether it got there."""
        lab = contender.racer
        point = lab.trunk(contender.x, step)
        contender.step = max(contender.step, lab.trunk_steps(contender.x))
        if point.is_diverged:
            self._note_end(contender, lab)
        return not point.is_diverged

    def _note_end(self, contender: _Contender, lab: Lab) -> None:
        """Take over how the last trial of a method's real run ended, if it ended badly."""
        rate = three_digits(contender.x)
        trial = next(t for t in reversed(lab.trials()) if t.learning_rate == rate)
        contender.step = max(contender.step, trial.horizon)
        if trial.outcome == "failed":
            contender.outcome, contender.note = "failed", trial.note
        elif trial.outcome == "diverged":
            contender.outcome = "diverged"
            contender.note = f"Its real run broke down by step {contender.step}."

    def _more_seeds(self) -> None:
        """Spend what is left on further seeds of the two best, the same ones for both."""
        ranked = sorted((c for c in self._contenders if c.outcome == "finished"), key=lambda c: c.losses[self._seed])
        if len(ranked) < 2:
            return
        two = ranked[:2]
        start = two[0].racer.initial_loss
        scale = LossScale.of([c.losses[self._seed] for c in two], start)
        first, second = (scale(c.losses[self._seed]) for c in two)
        for seed in range(self._seed + 1, self._seed + 1 + MORE_SEEDS):
            if second - first > CLOSE or self._spent + 2.0 > self._allowed:
                return
            for contender in two:
                self._again(contender, seed)

    def _again(self, contender: _Contender, seed: int) -> None:
        """Train the real run of a method with another seed."""
        folder = contender.folder / f"seed-{seed}" if contender.folder else None
        lab = self._lab(contender, seed, folder, self._teller(contender))
        contender.more.append(lab)
        if self._can_fork:
            quarters = sorted({max(1, k * self._total // 4) for k in (1, 2, 3, 4)})
            loss = [lab.trunk(contender.x, step).loss for step in quarters][-1]
        else:
            loss = lab.short(contender.x, self._total).loss
        contender.losses[seed] = loss
        lab.tidy(None)

    # ---- what they need ---------------------------------------------------------------------------------------------

    def _lab(
        self, contender: _Contender, seed: int, folder: Path | None, told: Callable[[Progress], None] | None
    ) -> Lab:
        """Return a lab for real runs without a search."""
        job = contender.job
        plan = job.schedule.resolve(job.total_steps, getattr(job, "steps_per_epoch", None))
        about = identity(job, seed=seed, learning_rate=job.default_learning_rate)
        if contender.found is not None:
            about |= {"learning_rate": contender.found.learning_rate}
        place = nullcontext(None) if folder is None else RunDirectory(folder, about)
        directory = self._stack.enter_context(place)
        lab = Lab(job, plan, seed=seed, allowed=math.inf, expected=1.0, directory=directory, on_progress=told)
        lab.rung = "real"
        if self._can_fork:
            lab.look_first()
        return lab

    def _teller(self, contender: _Contender) -> Callable[[Progress], None] | None:
        on_progress = self._on_progress
        if on_progress is None:
            return None
        expected = sum(1.0 + self._budget * c.is_tuned for c in self._contenders)

        def tell(progress: Progress) -> None:
            if contender.lab is None:  # its search is under way
                spent, trials = self._spent + progress.spent, progress.trials
            else:
                spent, trials = self._spent, progress.trials
            shown = Progress(phase=contender.name, spent=spent, expected=max(expected, spent), trials=trials)
            on_progress(shown)

        return tell

    # ---- the answer -------------------------------------------------------------------------------------------------

    def answer(self, job: Job, *, is_complete: bool) -> Compared:
        """Return the table and the recommendation.

        Raises:
            JobError: no method has a loss.
        """
        results = [self._result(c) for c in self._contenders]
        said = verdict(results, seed=self._seed, total_steps=self._total)
        if said is None:
            told = " ".join(f"{r.method}: {r.outcome}. {r.note}" for r in results)
            raise JobError(
                f"no method came to the end of the real run of {job.name!r}, so there is nothing to recommend. {told}"
            )
        best = next(c for c in self._contenders if c.name == said.order[0])
        found = {c.name: c.found for c in self._contenders if c.found is not None}
        cautions = (
            [*said.cautions, *(f"{best.name}: {caution}" for caution in found[best.name].cautions)]
            if best.found
            else said.cautions
        )
        if not is_complete:
            cautions = ["The comparison was interrupted: this is what was known by then.", *cautions]
        else:
            for contender in self._contenders:
                if contender.lab is not None:
                    contender.lab.tidy(contender.x if contender is best else None)
        finish = finisher(best.racer, three_digits(best.x))
        return Compared(
            job=job.name,
            best=best.name,
            table=tuple(next(r for r in results if r.method == name) for name in said.order),
            why=tuple(said.why),
            cautions=tuple(cautions),
            found=found,
            cost=self._spent,
            budget=self._budget,
            allowed=self._allowed,
            seed=self._seed,
            total_steps=self._total,
            schedule=schedule_form(job),
            versions=versions(),
            is_complete=is_complete,
            run_dir=None if self._run_dir is None else str(self._run_dir),
            _finish=lambda: finish("end", (), None),
            details={"job": job.describe(), "schedule_repr": repr(job.schedule)},
        )

    def _result(self, contender: _Contender) -> MethodResult:
        losses = list(contender.losses.values())
        return MethodResult(
            method=contender.name,
            is_tuned=contender.is_tuned,
            learning_rate=math.nan if math.isnan(contender.x) else three_digits(contender.x),
            interval=contender.found.interval if contender.found else None,
            outcome=contender.outcome,
            step=contender.step,
            val_loss=sum(losses) / len(losses) if losses else None,
            val_losses=tuple(contender.losses.items()),
            looks=tuple(contender.looks),
            search_cost=contender.search_steps / self._total,
            cost=contender.steps / self._total,
            note=contender.note,
        )


def _last_look(contender: _Contender) -> float:
    return contender.looks[-1][1] if contender.looks else math.inf


def _folder(run_dir: str | Path | None, at: int, name: str) -> Path | None:
    """Return a method's own folder."""
    return None if run_dir is None else Path(run_dir) / f"{at:02d}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)[:60]}"
