"""find: the front door of the search. Checks the arguments, runs the moves in order, and writes the answer."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from surefoot._checks import integer, number, refuse, refuse_type
from surefoot._errors import JobError
from surefoot.run import RunDirectory
from surefoot.search._answer import Answer, write_answer
from surefoot.search._found import Found
from surefoot.search._job import Job
from surefoot.search._lab import Lab, Progress
from surefoot.search._methods import ForkMethod, GridMethod, LadderMethod, Method, first_length

WIDEST = 30.0  # octaves either side of the start that are searched when no bounds are given


def find(
    job: Job,
    *,
    budget: float = 1.0,
    seed: int = 0,
    learning_rate: float | None = None,
    bounds: tuple[float, float] | None = None,
    run_dir: str | Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Found:
    """Find the peak learning rate of a training run, for about the price of one run.

    Short compressed runs bracket the rate; then pieces of the *real* run, with the real schedule, are forked and
    quickly annealed; a belief that knows how the best rate drifts with the length of training gives the answer and its
    interval. With a budget of 1.4 or more the last candidates race as real runs. A job that cannot be forked (a
    function, a command) is searched with whole short runs of growing length instead.

    Use it before a run that matters. Do not use it to choose between optimizers (compare their found runs), nor for a
    run of fewer than about 250 steps: there it falls back to a plain grid and says so.

    Args:
        job: what to train: a `surefoot.torch.TorchJob`, a `FunctionJob`, a `CommandJob`, or anything with the four verbs.
        budget: training steps to spend on top of the real run, in run equivalents (1.0 = the steps of one real run). It
            is kept to within 10 %. 1.0 is the standard; 1.4 adds a race of two, 2.0 a race of three.
        seed: decides initial weights and data order of every trial; the same seed gives the same answer.
        learning_rate: where to start; default the job's usual one. It may be wrong by a factor of 1000.
        bounds: (low, high): rates outside are never tried.
        run_dir: a folder for the log and checkpoints; a search that is started again on it goes on where it stopped.
        on_progress: called with a `Progress` every few steps.

    Returns:
        The answer. If Ctrl-C interrupts the search, the best answer so far, with `is_complete` False.

    Raises:
        ArgumentError: a value is not allowed.
        JobError: the job breaks before it learns, or learns nothing at any rate.
        RunDirectoryError: the run directory cannot be used.
        KeyboardInterrupt: if nothing at all is known yet.

    Example:
        >>> import surefoot as sf
        >>> def train(learning_rate, steps, seed):  # a valley whose floor lies at 0.01
        ...     import math
        ...     return 0.1 + math.log10(learning_rate / 0.01) ** 2 / (1 + steps / 100) + 10 / (10 + steps)
        >>> found = sf.find(sf.FunctionJob(train, total_steps=1000), budget=1.0, seed=0)
        >>> 0.003 < found.learning_rate < 0.03, found.cost <= 1.1
        (True, True)
    """
    budget = number("find", "budget", budget, above=0.0, cure="Use 1.0 for the cost of one run.")
    seed = integer("find", "seed", seed, at_least=0)
    _check_job(job)
    start = job.default_learning_rate if learning_rate is None else learning_rate
    start = number("find", "learning_rate", start, above=0.0)
    low, high = _checked_bounds(bounds, start)
    start = min(max(start, low), high)
    plan = job.schedule.resolve(job.total_steps, getattr(job, "steps_per_epoch", None))
    with ExitStack() as stack:
        directory = None
        if run_dir is not None:
            directory = stack.enter_context(
                RunDirectory(run_dir, _identity(job, budget=budget, seed=seed, start=start, low=low, high=high))
            )
        method = _method_for(job, budget)
        lab = Lab(
            job,
            plan,
            seed=seed,
            allowed=method.allowed(budget),
            expected=method.expected(budget),
            directory=directory,
            on_progress=on_progress,
        )
        search = method(lab, budget=budget, start=math.log2(start), low=math.log2(low), high=math.log2(high), plan=plan)
        is_complete = True
        try:
            search.run()
        except KeyboardInterrupt:
            if not search.knows_something:
                raise
            is_complete = False
        return _found(job, search, budget=budget, seed=seed, start=start, run_dir=run_dir, is_complete=is_complete)


def _method_for(job: Job, budget: float) -> type[Method]:
    """Return the method that the job and the budget allow."""
    total = job.total_steps
    bracket = 7 * first_length(total) / total
    if bracket + (0.5 if job.can_fork else 0.25) > 1.1 * budget:
        return GridMethod
    return ForkMethod if job.can_fork else LadderMethod


def _found(
    job: Job, search: Method, *, budget: float, seed: int, start: float, run_dir: str | Path | None, is_complete: bool
) -> Found:
    answer: Answer = write_answer(search, is_complete=is_complete)
    total = job.total_steps
    stretch = max(1, total // 200)
    return Found(
        job=job.name,
        learning_rate=answer.learning_rate,
        interval=answer.interval,
        confidence=answer.confidence,
        why=answer.why,
        cautions=answer.cautions,
        cost=(search.lab.steps - answer.credit) / total,
        spent=search.lab.spent,
        budget=budget,
        method=search.name,
        trials=search.lab.trials(),
        schedule=_schedule_form(job),
        total_steps=total,
        seed=seed,
        versions=_versions(),
        default_learning_rate=start,
        optimizer=getattr(job, "optimizer_name", None),
        curves=answer.curves,
        is_complete=is_complete,
        run_dir=None if run_dir is None else str(run_dir),
        details={
            "schedule_repr": repr(job.schedule),
            "factors": [[s, float(search.plan(s))] for s in range(0, total + 1, stretch)],
            "job": job.describe(),
            **answer.details,
        },
    )


def _schedule_form(job: Job) -> dict[str, Any]:
    """Return the JSON form; a schedule made from an anonymous function has none and is only named."""
    try:
        return job.schedule.to_dict()
    except ValueError:
        return {"kind": "from_function", "repr": repr(job.schedule)}


def _check_job(job: object) -> None:
    wanted = (
        "name",
        "total_steps",
        "schedule",
        "default_learning_rate",
        "can_fork",
        "start",
        "advance",
        "evaluate",
        "fork",
    )
    missing = [verb for verb in wanted if not hasattr(job, verb)]
    if missing:
        raise refuse_type(
            "find",
            "job",
            job,
            f"a job; this has no {', '.join(missing)}",
            "Use surefoot.torch.TorchJob, surefoot.FunctionJob or surefoot.CommandJob.",
        )


def _checked_bounds(bounds: object, start: float) -> tuple[float, float]:
    if bounds is None:
        return start * 2.0**-WIDEST, start * 2.0**WIDEST
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:  # pyright: ignore[reportUnknownArgumentType]
        raise refuse_type("find", "bounds", bounds, "a pair (low, high)", "For example bounds=(1e-6, 1.0).")
    low = number("find", "bounds[0]", bounds[0], above=0.0)
    high = number("find", "bounds[1]", bounds[1], above=0.0)
    if low >= high:
        raise refuse("find", "bounds", bounds, "(low, high) with low below high", "Swap them.")
    return low, high


def _identity(job: Job, **settings: Any) -> dict[str, Any]:
    return {
        "job": job.name,
        "total_steps": job.total_steps,
        "schedule": _schedule_form(job),
        **settings,
        "describe": job.describe(),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("surefoot", "torch", "keras", "jax", "optax", "numpy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


__all__ = ["JobError", "Progress", "find"]
