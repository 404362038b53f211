"""What the search needs of a training run: start it, advance it, evaluate it, fork it. Nothing else.

The search never imports a framework. Whatever can do these four things can be searched: a torch model, a Keras model,
a JAX function, somebody's own `train` function, a command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from surefoot.schedules import Schedule


@runtime_checkable
class Job(Protocol):
    """A training run that the search can start, advance, evaluate and fork.

    A *run* is whatever the job uses to hold one training run: the search only hands it back. Its learning rate at its
    next step is `learning_rate * factor`, with the factors given by the search, so a job knows nothing of schedules.

    Attributes:
        name: what people call it; part of the run directory's name.
        total_steps: optimizer steps of the real run.
        schedule: the schedule that the real run will use.
        default_learning_rate: where the search starts.
        can_fork: whether a run can be copied in the middle. If False, `advance` is called once per run, with all of
            its factors, before `evaluate`; the search then uses whole short runs instead of forks.
        epochs: passes over the training data in one real run, if known; it says whether over-fitting is possible.
    """

    @property
    def name(self) -> str: ...
    @property
    def total_steps(self) -> int: ...
    @property
    def schedule(self) -> Schedule: ...
    @property
    def default_learning_rate(self) -> float: ...
    @property
    def can_fork(self) -> bool: ...
    @property
    def epochs(self) -> float | None: ...

    def start(self, learning_rate: float, *, seed: int) -> Any:
        """Return a new run at step 0. The same seed gives the same initial model, data order and noise."""
        ...

    def advance(self, run: Any, factors: Sequence[float]) -> Sequence[float]:
        """Train `len(factors)` more steps at `learning_rate * factor`; return one training loss per step, or none."""
        ...

    def evaluate(self, run: Any) -> float:
        """Return the validation loss (lower is better) of the run as it stands; NaN if there is none."""
        ...

    def fork(self, run: Any) -> Any:
        """Return an independent copy of the run: advancing one leaves the other untouched."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return plain data (JSON) that tells this job from another: sizes, names, hyper-parameters."""
        ...


@runtime_checkable
class CanSave(Protocol):
    """A job whose runs can be written to a file and read back, so that a killed search keeps its trunks."""

    def save(self, run: Any, path: Path) -> None:
        """Write the run to `path`."""
        ...

    def load(self, path: Path) -> Any:
        """Return the run that `save` wrote to `path`."""
        ...


@runtime_checkable
class Delivers(Protocol):
    """A job whose trained model is more than an attribute `model` of its run: it is taken out at the end."""

    def deliver(self, run: Any) -> Any:
        """Return the trained model of a run that is not trained on."""
        ...


@runtime_checkable
class TakesOptimizer(Protocol):
    """A job that can be told another optimizer, so that `find(job, methods=...)` can compare them.

    A job whose optimizer finds its own rate says so by an attribute `is_learning_rate_free`; its
    `default_learning_rate` is then the factor that it is usually given, and is not searched for.
    """

    def with_optimizer(self, optimizer: str) -> Job:
        """Return the same job with another optimizer, at its usual rate; refuse a name that is not known."""
        ...


class TrialFailed(Exception):  # noqa: N818 - an outcome that a job reports, not an error of the search
    """Raised by a job whose trial failed by itself (a script crashed, timed out, printed no metric)."""
