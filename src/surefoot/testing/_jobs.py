"""The contract of a job, as one function that raises an AssertionError with a sentence."""

from __future__ import annotations

import json
import math
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from surefoot.schedules import Schedule
from surefoot.search import CanSave, Job

SEED = 7


def check_job(make_job: Callable[[], Job], *, steps: int = 10, uses_seed: bool = True) -> None:
    """Check that a job keeps the contract of jobs.

    Its facts are of the right kinds and `describe()` is plain JSON, the same for two jobs that are made alike. The same
    seed gives the same losses, in another job too, and another seed gives others. Advancing by no factors changes
    nothing, nor does evaluating, however often. A fork has the future of its parent and leaves it untouched, whatever
    is done to it. A saved run has the same future when it is loaded, by another job too. The global generators of
    Python, NumPy and torch, if those are imported, are left as they were. Of a job whose `can_fork` is False, only what
    a whole run can show is checked, and that `fork` refuses.

    Args:
        make_job: returns a new job at each call, every time of the same kind.
        steps: training steps of a run; choose more than an epoch, so that a run is copied and saved in the middle of one.
        uses_seed: False for a job without chance in it, which may give the same losses for every seed.

    Raises:
        AssertionError: if the contract is broken; the message says where.

    Examples:
        >>> from surefoot import FunctionJob
        >>> def train(learning_rate, steps, seed):
        ...     return 1.0 / steps + (learning_rate - 0.1) ** 2 + seed / 1000
        >>> check_job(lambda: FunctionJob(train, total_steps=100))

    .. versionadded:: 0.1.0
    """
    before = _generators()
    job, twin = make_job(), make_job()
    _check_facts(job, twin)
    rate = float(job.default_learning_rate)
    curve = _curve(job, rate, SEED, steps)
    _check(len(curve) in (1, steps + 1), f"advance() of {steps} factors returned {len(curve) - 1} losses")
    _check(_same(_curve(job, rate, SEED, steps), curve), "the same seed gives other losses the second time")
    _check(_same(_curve(twin, rate, SEED, steps), curve), "the same seed gives other losses in another job")
    if uses_seed:
        _check(not _same(_curve(job, rate, SEED + 1, steps), curve), "another seed gives the same losses")
    if job.can_fork:
        _check_idle_calls(job, rate, curve, steps)
        _check_fork(job, rate, curve, steps)
        if isinstance(job, CanSave) and isinstance(twin, CanSave):
            _check_save(job, twin, rate, curve, steps)
    else:
        _check_refuses_to_fork(job, rate)
    _check(json.dumps(job.describe()) == json.dumps(twin.describe()), "describe() changes with training")
    for name, state in _generators().items():
        _check(state == before.get(name, state), f"the global generator of {name} was changed")


def _check(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _check_facts(job: Any, twin: Any) -> None:
    _check(isinstance(job, Job), f"{type(job).__name__} lacks a verb or an attribute of a job")
    name = job.name
    _check(isinstance(name, str) and name, f"name is {name!r}, not a word")
    total = job.total_steps
    _check(isinstance(total, int) and total >= 1, f"total_steps is {total!r}, not a whole number of at least 1")
    schedule = job.schedule
    _check(isinstance(schedule, Schedule), f"schedule is {schedule!r}, not a schedule")
    job.schedule.resolve(job.total_steps, getattr(job, "steps_per_epoch", None))
    rate = job.default_learning_rate
    _check(math.isfinite(rate) and rate > 0, f"default_learning_rate is {rate!r}, not a number above 0")
    can_fork = job.can_fork
    _check(isinstance(can_fork, bool), f"can_fork is {can_fork!r}, neither True nor False")
    _check(job.epochs is None or job.epochs > 0, f"epochs is {job.epochs!r}, neither None nor above 0")
    try:
        texts = [json.dumps(one.describe()) for one in (job, twin)]
    except (TypeError, ValueError) as error:
        raise AssertionError(f"describe() is not plain JSON: {error}") from error
    _check(texts[0] == texts[1], f"two jobs made alike describe themselves differently: {texts[0]} and {texts[1]}")


def _check_idle_calls(job: Job, rate: float, curve: list[float], steps: int) -> None:
    run = job.start(rate, seed=SEED)
    losses = list(job.advance(run, []))
    _check(not losses, f"advance() of no factors returned {len(losses)} losses")
    at_start = job.evaluate(run)
    _check(_same([job.evaluate(run)], [at_start]), "evaluating twice gives two values")
    fresh = job.evaluate(job.start(rate, seed=SEED))
    _check(_same([fresh], [at_start]), "advancing by no factors changes the validation loss")
    for _ in range(steps):
        losses += job.advance(run, [1.0])
        job.evaluate(run)
        job.advance(run, [])
    _check(_same([*losses, job.evaluate(run)], curve), "evaluating, or advancing by no factors, changes the run")


def _check_fork(job: Job, rate: float, curve: list[float], steps: int) -> None:
    half = steps // 2
    run = job.start(rate, seed=SEED)
    losses = list(job.advance(run, [1.0] * half))
    here = job.evaluate(run)
    fork, wild = job.fork(run), job.fork(run)
    _check(_same([job.evaluate(fork)], [here]), "a fork has another validation loss than its parent")
    job.advance(wild, [3.0] * steps)
    _check(_same([job.evaluate(run)], [here]), "advancing a fork changes its parent")
    of_fork = [*losses, *job.advance(fork, [1.0] * (steps - half)), job.evaluate(fork)]
    _check(_same(of_fork, curve), "a fork has another future than its parent")
    of_run = [*losses, *job.advance(run, [1.0] * (steps - half)), job.evaluate(run)]
    _check(_same(of_run, curve), "a run that was forked has another future than one that was not")


def _check_save(job: Any, twin: Any, rate: float, curve: list[float], steps: int) -> None:
    half = steps // 2
    run = job.start(rate, seed=SEED)
    losses = list(job.advance(run, [1.0] * half))
    here = job.evaluate(run)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.state"
        job.save(run, path)
        job.advance(run, [3.0] * steps)
        for other, words in ((job, "it"), (twin, "another job")):
            loaded = other.load(path)
            _check(_same([other.evaluate(loaded)], [here]), f"a run that {words} loaded has another validation loss")
            whole = [*losses, *other.advance(loaded, [1.0] * (steps - half)), other.evaluate(loaded)]
            _check(_same(whole, curve), f"a run that {words} loaded has another future than the one that was saved")


def _check_refuses_to_fork(job: Job, rate: float) -> None:
    try:
        job.fork(job.start(rate, seed=SEED))
    except RuntimeError:
        return
    raise AssertionError("fork() does not raise a RuntimeError, though can_fork is False")


def _curve(job: Job, rate: float, seed: int, steps: int) -> list[float]:
    """Return the training losses of a run and its validation loss."""
    run = job.start(rate, seed=seed)
    losses = [float(loss) for loss in job.advance(run, [1.0] * steps)]
    value: object = job.evaluate(run)
    _check(isinstance(value, float), f"evaluate() returned {value!r}, not a float")
    assert isinstance(value, float)
    return [*losses, value]


def _same(one: Sequence[float], two: Sequence[float]) -> bool:
    """Whether two lists are equal bit for bit, NaN included."""
    return [float(v).hex() for v in one] == [float(v).hex() for v in two]


def _generators() -> dict[str, str]:
    """Return the states of the global generators that are there, as text."""
    states = {"Python": repr(random.getstate())}
    if "numpy" in sys.modules:
        np: Any = sys.modules["numpy"]
        kind, keys, *rest = np.random.get_state(legacy=True)
        states["NumPy"] = repr((kind, keys.tolist(), rest))
    if "torch" in sys.modules:
        torch: Any = sys.modules["torch"]
        states["torch"] = repr(torch.get_rng_state().tolist())
    return states
