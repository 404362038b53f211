"""A user's own `train` function as a job: any framework or none, as long as it returns a validation loss."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from surefoot import _checks
from surefoot.schedules import Schedule, constant
from surefoot.search._job import TrialFailed

NAMES = ("learning_rate", "steps", "seed")
WANTED = "train(learning_rate, steps, seed) -> validation loss"


@dataclass(slots=True)
class _Run:
    """What the search asked for so far, and the loss that it got."""

    learning_rate: float
    seed: int
    steps: int = 0
    val_loss: float | None = None


class FunctionJob:
    """Search the learning rate of a function that trains from start to end.

    Use it where surefoot has no adapter, or where the training loop cannot be taken apart. A run cannot be copied in
    the middle, so the search uses whole short runs: a `TorchJob` costs less for the same answer.

    Args:
        train: `train(learning_rate, steps, seed)` trains a fresh model for `steps` optimizer steps and returns its
            validation loss (lower is better) as one number. It is called by keyword if its arguments have these
            names, else by position. Whatever it lowers the rate by must reach its end at `steps`: a short run that
            is not annealed says little about a long one. What it raises counts as a failed trial.
        total_steps: the length of the real run in steps.
        schedule: what `train` multiplies the rate by, if you want the answer to name it. The function applies it
            itself, so this changes no training.
        learning_rate: where the search starts.
        name: what to call it; the function's name if not given.
        epochs: passes over the training data in one real run, if known.

    Raises:
        ArgumentError: `total_steps`, `learning_rate` or `epochs` is out of range.
        ArgumentTypeError: `train` cannot be called with (learning_rate, steps, seed).

    >>> job = FunctionJob(lambda learning_rate, steps, seed: abs(learning_rate - 0.01), total_steps=200, name="toy")
    >>> run = job.start(0.03, seed=0)
    >>> job.advance(run, [1.0] * 200)
    ()
    >>> round(job.evaluate(run), 3)
    0.02

    .. versionadded:: 0.1.0
    """

    can_fork = False

    def __init__(
        self,
        train: Callable[..., Any],
        total_steps: int,
        *,
        schedule: Schedule | None = None,
        learning_rate: float = 1e-3,
        name: str | None = None,
        epochs: float | None = None,
    ) -> None:
        where = "FunctionJob"
        self._call = _caller(train)
        self._train = train
        self._own_schedule = schedule is None
        self.total_steps = _checks.integer(where, "total_steps", total_steps, at_least=1)
        if schedule is not None and not isinstance(schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _checks.refuse_type(where, "schedule", schedule, "a schedule, such as cosine_decay(), or None")
        self.schedule = constant() if schedule is None else schedule
        self.default_learning_rate = _checks.number(where, "learning_rate", learning_rate, above=0)
        self.epochs = None if epochs is None else _checks.number(where, "epochs", epochs, above=0)
        self.name = _name_of(train) if name is None else name

    def start(self, learning_rate: float, *, seed: int) -> _Run:
        """Note the rate and the seed; nothing is trained before `evaluate`."""
        return _Run(learning_rate, seed)

    def advance(self, run: _Run, factors: Sequence[float]) -> tuple[float, ...]:
        """Count the steps; the function follows its own schedule, so the factors' values are not used."""
        run.steps += len(factors)
        run.val_loss = None
        return ()

    def evaluate(self, run: _Run) -> float:
        """Train, once, and return the validation loss; NaN where there are no steps to train."""
        if run.val_loss is None:
            run.val_loss = self._loss(run) if run.steps else float("nan")
        return run.val_loss

    def fork(self, run: _Run) -> _Run:
        """Refuse: a function's run cannot be copied in the middle."""
        del run
        raise RuntimeError("A FunctionJob cannot fork (`can_fork` is False): its runs go from start to end.")

    def describe(self) -> dict[str, Any]:
        """Return plain data that tells this job from another."""
        return {
            "kind": "function",
            "name": self.name,
            "train": f"{getattr(self._train, '__module__', '')}.{_name_of(self._train)}",
            "total_steps": self.total_steps,
            "schedule": "own" if self._own_schedule else repr(self.schedule),
            "learning_rate": self.default_learning_rate,
            "epochs": self.epochs,
        }

    def _loss(self, run: _Run) -> float:
        try:
            value = self._call(run.learning_rate, run.steps, run.seed)
        except Exception as error:
            said = f"{type(error).__name__}: {error}".rstrip(": ")
            raise TrialFailed(f"`{self.name}` raised {said}") from error
        return _as_loss(self.name, value)


def _caller(train: Callable[..., Any]) -> Callable[[float, int, int], Any]:
    """Return `train` as a function of three positions, or raise if it cannot take them."""
    cure = f"Write it as `{WANTED}`; give other arguments through functools.partial or a lambda."
    if not callable(train):
        raise _checks.refuse_type("FunctionJob", "train", train, "a function", cure)
    try:
        signature = inspect.signature(train)
    except (TypeError, ValueError):  # some builtins have none: the first call will tell
        return train
    if _binds(signature, (), dict.fromkeys(NAMES, 0)):
        return lambda learning_rate, steps, seed: train(learning_rate=learning_rate, steps=steps, seed=seed)
    if not _binds(signature, NAMES, {}):
        raise _checks.refuse_type("FunctionJob", "train", _Shown(train, signature), f"callable as {WANTED}", cure)
    # By position `train(lr, seed, steps)` would quietly train for `seed` steps.
    for position, name in enumerate(list(signature.parameters)[:3]):
        if name in NAMES and NAMES[position] != name:
            allowed = f"callable as {WANTED}, in this order where the names differ"
            raise _checks.refuse_type("FunctionJob", "train", _Shown(train, signature), allowed, cure)
    return train


def _binds(signature: inspect.Signature, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


@dataclass(slots=True)
class _Shown:
    """A function, shown in an error as its name and signature."""

    train: Callable[..., Any]
    signature: inspect.Signature

    def __repr__(self) -> str:
        return f"{_name_of(self.train)}{self.signature}"


def _name_of(train: object) -> str:
    inner = getattr(train, "func", train)  # functools.partial
    name = getattr(inner, "__name__", None) or type(inner).__name__
    return "train" if name == "<lambda>" else str(name)


def _as_loss(name: str, value: object) -> float:
    """Return a number, or a 0-d array or tensor, as a float; NaN and infinity are results too."""
    try:
        item = getattr(value, "item", None)
        number: Any = item() if callable(item) else value
        if hasattr(number, "__float__") and not isinstance(number, bool):
            return float(number)
    except (TypeError, ValueError, RuntimeError):  # several values
        pass
    shown = reprlib.repr(value)
    raise TrialFailed(
        f"`{name}` returned {shown} ({type(value).__name__}); wanted is one number, the validation loss, "
        "such as `return float(loss)`."
    )
