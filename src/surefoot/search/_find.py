"""find: the front door of the search. Checks the arguments, runs the moves in order, and writes the answer."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from surefoot._checks import integer, number, one_of, refuse, refuse_type
from surefoot._errors import JobError
from surefoot.run import RunDirectory
from surefoot.schedules import Schedule
from surefoot.search._answer import Answer, write_answer
from surefoot.search._found import Finish, Found
from surefoot.search._job import Job
from surefoot.search._lab import Lab, Progress
from surefoot.search._methods import ForkMethod, GridMethod, LadderMethod, Method, first_length
from surefoot.search._parallel import Executor, check_executor, scratch
from surefoot.search._train import LATE_RATE, Keep, Trained, Training

if TYPE_CHECKING:
    from surefoot.search._compared import Compared

OVERFITS = 0.5  # the belief from which on a higher rate in the second half does not pay
WIDEST = 30.0  # octaves either side of the start that are searched when no bounds are given


@overload
def find(
    job: Job,
    *,
    budget: float = 1.0,
    seed: int = 0,
    learning_rate: float | None = None,
    bounds: tuple[float, float] | None = None,
    methods: None = None,
    run_dir: str | Path | None = None,
    executor: str | Executor = "serial",
    on_progress: Callable[[Progress], None] | None = None,
) -> Found: ...


@overload
def find(
    job: Job,
    *,
    budget: float = 1.0,
    seed: int = 0,
    methods: Sequence[str],
    run_dir: str | Path | None = None,
    executor: str | Executor = "serial",
    on_progress: Callable[[Progress], None] | None = None,
) -> Compared: ...


def find(
    job: Job,
    *,
    budget: float = 1.0,
    seed: int = 0,
    learning_rate: float | None = None,
    bounds: tuple[float, float] | None = None,
    methods: Sequence[str] | None = None,
    run_dir: str | Path | None = None,
    executor: str | Executor = "serial",
    on_progress: Callable[[Progress], None] | None = None,
) -> Found | Compared:
    """Find the peak learning rate of a training run, for about the price of one run.

    Short compressed runs bracket the rate; then pieces of the *real* run, with the real schedule, are forked and
    quickly annealed; a belief that knows how the best rate drifts with the length of training gives the answer and its
    interval. With a budget of 1.4 or more the last candidates race as real runs. A job that cannot be forked (a
    function, a command) is searched with whole short runs of growing length instead.

    Use it before a run that matters. Do not use it for a run of fewer than about 235 steps (at a budget of 1.0): there it
    falls back to a plain grid and says so.

    With `methods` it compares optimizers instead. Each that needs a rate gets a search of its own; one that finds its own
    rate needs none and is run as it is. Then all have the same real run, with the same seed: initial weights, batches,
    schedule. After 3/16 and after half of it a copy of each is annealed, and who is far behind is stopped. Each method
    brings its search and one real run into the common budget; what methods without a search and stopped ones have left
    there buys the two best up to two further seeds, where these are close. Do not take a difference of a few percent on
    one seed for more than it is.

    Args:
        job: what to train: a `surefoot.torch.TorchJob`, `surefoot.keras.KerasJob` or `surefoot.optax.JaxJob`, a
            `FunctionJob`, a `CommandJob`, or anything with the four verbs.
        budget: training steps to spend on top of the real run, in run equivalents (1.0 = the steps of one real run). It
            is kept to within 10 %. 1.0 is the standard; 1.4 adds a race of two or three, which 2.0 trains further.
        seed: decides initial weights and data order of every trial; the same seed gives the same answer.
        learning_rate: where to start; default the job's usual one. It may be wrong by a factor of 1000.
        bounds: (low, high): rates outside are never tried.
        methods: names of optimizers to compare, for a job whose optimizer can be exchanged (`TorchJob`, `JaxJob`, `KerasJob`). Each
            has its usual rate to start from, so that `learning_rate` and `bounds` are left out. `budget` is what each
            search may cost; in all, each method may cost `budget + 1`, kept to within 12 %.
        run_dir: a folder for the log and checkpoints; a search that is started again on it goes on where it stopped.
            A complete search leaves one checkpoint there at most, that of the real run at the answer's rate.
        executor: where trials are trained that do not wait for each other: "serial", one after another in this process;
            "processes", or `sf.Processes(workers=2, threads=1)`, in others; `sf.Ray(address="auto")`, on a cluster.
            The answer is the same.
        on_progress: called with a `Progress` every few steps.

    Returns:
        The answer; its `train()` goes on with the real run. With `methods` a `Compared`: a table, and a recommendation.
        If Ctrl-C interrupts the search, the best answer so far, with `is_complete` False.

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
    check_job(job)
    if methods is not None:
        from surefoot.search._compare import compare  # noqa: PLC0415 - it stands above this

        for name, value in (("learning_rate", learning_rate), ("bounds", bounds)):
            if value is not None:
                cure = "Each optimizer has its own usual rate, and its own range."
                raise refuse("find", name, value, "left out where methods are compared", cure)
        if check_executor("find", executor) is not None:
            raise refuse("find", "executor", executor, '"serial" where methods are compared', "")
        return compare(job, methods, budget=budget, seed=seed, run_dir=run_dir, on_progress=on_progress)
    with ExitStack() as stack:
        found, _ = searched(
            stack,
            job,
            budget=budget,
            seed=seed,
            learning_rate=learning_rate,
            bounds=bounds,
            run_dir=run_dir,
            executor=check_executor("find", executor),
            on_progress=on_progress,
        )
        return found


def searched(
    stack: ExitStack,
    job: Job,
    *,
    budget: float,
    seed: int,
    learning_rate: float | None = None,
    bounds: tuple[float, float] | None = None,
    run_dir: str | Path | None = None,
    executor: Executor | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    tidy: bool = True,
) -> tuple[Found, Lab]:
    """Search one job, and return the answer and the lab; the stack holds the run directory."""
    start = job.default_learning_rate if learning_rate is None else learning_rate
    start = number("find", "learning_rate", start, above=0.0)
    low, high = _checked_bounds(bounds, start)
    start = min(max(start, low), high)
    plan = job.schedule.resolve(job.total_steps, getattr(job, "steps_per_epoch", None))
    directory = None
    if run_dir is not None:
        directory = stack.enter_context(
            RunDirectory(run_dir, identity(job, budget=budget, seed=seed, start=start, low=low, high=high))
        )
    team = None
    if executor is not None:
        if run_dir is None and getattr(executor, "needs_run_dir", False):
            raise refuse("find", "run_dir", run_dir, "a folder that all machines share", "Checkpoints go through it.")
        team = stack.enter_context(executor.team(job))
        if directory is None:  # for checkpoints alone
            directory = stack.enter_context(RunDirectory(stack.enter_context(scratch()), identity={"job": job.name}))
    method = _method_for(job, budget)
    lab = Lab(
        job,
        plan,
        seed=seed,
        allowed=method.allowed(budget),
        expected=method.expected(budget),
        directory=directory,
        on_progress=on_progress,
        team=team,
    )
    search = method(lab, budget=budget, start=math.log2(start), low=math.log2(low), high=math.log2(high), plan=plan)
    is_complete = True
    try:
        search.run()
    except KeyboardInterrupt:
        if not search.knows_something:
            raise
        is_complete = False
    found = _found(job, search, budget=budget, seed=seed, start=start, run_dir=run_dir, is_complete=is_complete)
    if is_complete:
        lab.tidy(math.log2(found.learning_rate), files=tidy)
        if run_dir is None and team is not None:
            lab.hold(math.log2(found.learning_rate))
    return found, lab


def find_and_train(
    job: Job,
    *,
    budget: float = 1.0,
    seed: int = 0,
    keep: Literal["best", "last"] = "best",
    learning_rate: float | None = None,
    bounds: tuple[float, float] | None = None,
    run_dir: str | Path | None = None,
    executor: str | Executor = "serial",
    on_progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Find the learning rate, train with it, and return the best model that came up on the way.

    Use it where the model is wanted and not the number. The real run is trained to its end, from where the search has
    left it. Where the job shows no sign of over-fitting, so does a sibling whose rate is 2.8 times as high from 5/8 of the run on: on
    jobs that are limited by the speed of training, that beats the schedule as it is. The search's
    annealed forks compete too. A run that has not improved over a third of its length is stopped.

    The winner has been chosen by the validation data: measure it on others before you report it.

    Args:
        job: as for `find`; one that can fork.
        budget: of the search alone; the real run (1.0) and its sibling (0.375) come on top. `cost` tells the sum.
        seed: as for `find`.
        keep: "best", the model of the lowest validation loss at any of 16 looks a run, or "last": only models whose rate
            has come down to its end compete.
        learning_rate: as for `find`.
        bounds: as for `find`.
        run_dir: as for `find`; the training after the search is not kept there.
        executor: as for `find`; the training after the search is in this process.
        on_progress: as for `find`; its phase is then "train".

    Raises:
        ArgumentError: a value is not allowed.
        JobError: as for `find`.
        KeyboardInterrupt: on Ctrl-C; with a `run_dir` the search goes on from there the next time.

    Example:
        >>> import torch, surefoot as sf
        >>> from surefoot.torch import TorchJob
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> def loss(model, batch):
        ...     return torch.nn.functional.mse_loss(model(batch[0]), batch[1])
        >>> job = TorchJob(model=lambda: torch.nn.Linear(1, 1), loss=loss, train=(x, 2 * x), val=(x, 2 * x),
        ...                batch_size=16, optimizer="sgd", total_steps=300)
        >>> trained = sf.find_and_train(job)
        >>> round(trained.model.weight.item(), 2), 1.5 < trained.cost < 2.8
        (2.0, True)
    """
    one_of("find_and_train", "keep", keep, ("best", "last"))
    check_job(job)
    if not job.can_fork:
        cure = "Call `find`, and train with the rate that it finds."
        raise refuse("find_and_train", "job", job.name, "a job that can be forked", cure)
    found = find(
        job,
        budget=budget,
        seed=seed,
        learning_rate=learning_rate,
        bounds=bounds,
        run_dir=run_dir,
        executor=executor,
        on_progress=on_progress,
    )
    if not found.is_complete:
        raise KeyboardInterrupt  # `find` has caught it to give an answer; what was asked for here is a model
    overfits = found.details["overfit_probability"] >= OVERFITS
    return found.train(keep=keep, late_rates=() if overfits else (LATE_RATE,), on_progress=on_progress)


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
        cost=(search.lab.trained - answer.credit) / total,
        spent=search.lab.spent,
        budget=budget,
        method=search.name,
        trials=search.lab.trials(),
        schedule=schedule_form(job),
        total_steps=total,
        seed=seed,
        versions=versions(),
        default_learning_rate=start,
        optimizer=getattr(job, "optimizer_name", None),
        curves=answer.curves,
        is_complete=is_complete,
        run_dir=None if run_dir is None else str(run_dir),
        _finish=finisher(search.lab, answer.learning_rate),
        details={
            "schedule_repr": repr(job.schedule),
            "factors": [[s, float(search.plan(s))] for s in range(0, total + 1, stretch)],
            "job": job.describe(),
            **answer.details,
        },
    )


def finisher(lab: Lab, learning_rate: float) -> Finish:
    """Return what `Found.train` calls."""

    def finish(keep: Keep, late_rates: Sequence[float], on_progress: Callable[[Progress], None] | None) -> Trained:
        if not lab.job.can_fork:
            raise JobError(
                f"{lab.job.name!r} cannot be forked, so the search holds no run of it to go on from. Start the real run "
                f"yourself, with a learning rate of {learning_rate:g}."
            )
        return Training(lab, math.log2(learning_rate), keep=keep, on_progress=on_progress).run(late_rates)

    return finish


def schedule_form(job: Job) -> dict[str, Any]:
    """Return the JSON form; a schedule made from an anonymous function has none and is only named."""
    try:
        return job.schedule.to_dict()
    except ValueError:
        return {"kind": "from_function", "repr": repr(job.schedule)}


def check_job(job: object) -> None:
    """Refuse what is not a job, before anything is trained."""
    verbs = ("start", "advance", "evaluate", "fork", "describe")
    facts = ("name", "total_steps", "schedule", "default_learning_rate", "can_fork", "epochs")
    missing = [name for name in (*facts, *verbs) if not hasattr(job, name)]
    if missing or isinstance(job, type):
        why = f"a job; this has no {', '.join(missing)}" if missing else "a job, not its class"
        cure = (
            "Use TorchJob of surefoot.torch, KerasJob of surefoot.keras, JaxJob of surefoot.optax, "
            "surefoot.FunctionJob or surefoot.CommandJob."
        )
        raise refuse_type("find", "job", job, why, cure)
    one = cast("Job", job)
    integer("find", "job.total_steps", one.total_steps, at_least=1)
    number("find", "job.default_learning_rate", one.default_learning_rate, above=0.0)
    if not isinstance(one.schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance] - users have no type checker
        raise refuse_type("find", "job.schedule", one.schedule, "a schedule", "For example `sf.cosine_decay()`.")
    try:
        json.dumps(one.describe())
    except (TypeError, ValueError) as error:
        raise refuse_type(
            "find", "job.describe()", one.describe(), f"plain data that JSON can hold ({error})"
        ) from error


def _checked_bounds(bounds: object, start: float) -> tuple[float, float]:
    if bounds is None:
        return max(start * 2.0**-WIDEST, 1e-300), min(start * 2.0**WIDEST, 1e300)
    pair = cast("Sequence[object]", bounds if isinstance(bounds, tuple | list) else ())
    if len(pair) != 2:
        raise refuse_type(
            "find", "bounds", cast("object", bounds), "a pair (low, high)", "For example bounds=(1e-6, 1.0)."
        )
    low = number("find", "bounds[0]", pair[0], above=0.0)
    high = number("find", "bounds[1]", pair[1], above=0.0)
    if low >= high:
        cure = "Swap them." if low > high else "Leave `find` something to choose from."
        raise refuse("find", "bounds", pair, "(low, high) with low below high", cure)
    return low, high


def identity(job: Job, **settings: Any) -> dict[str, Any]:
    return {
        "job": job.name,
        "total_steps": job.total_steps,
        "schedule": schedule_form(job),
        **settings,
        "describe": job.describe(),
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("surefoot", "torch", "keras", "jax", "optax", "numpy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


__all__ = ["JobError", "Progress", "find", "find_and_train"]
