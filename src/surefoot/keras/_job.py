"""A training run of a Keras model that the search can start, advance, evaluate and fork."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

import keras
from surefoot._checks import integer, nearest, number, one_of, refuse, refuse_type
from surefoot._errors import SurefootWarning
from surefoot.keras._bench import Bench, rate_of, settings_of
from surefoot.keras._data import as_numpy, data_of
from surefoot.keras._named import LEARNING_RATE_FREE, NAMED, instead_of
from surefoot.keras._random import Randomness, borrowed, seeded
from surefoot.keras._trainer import State
from surefoot.schedules import Schedule, cosine_decay, linear_warmup

ops: Any = keras.ops
_WHERE = "KerasJob"


@dataclass(slots=True)
class KerasRun:
    """One training run: the values of all its variables, its place in the data and its randomness."""

    job: KerasJob = field(repr=False)
    state: State = field(repr=False)
    learning_rate: float
    seed: int
    randomness: Randomness = field(repr=False)
    step: int = 0
    batches: Iterator[Any] | None = field(default=None, repr=False)  # opened at the present step

    @property
    def model(self) -> Any:
        """A new compiled model with the weights of this run; None if the job was given a model (see `write_to`)."""
        return self.job.new_model(self)

    def write_to(self, model: Any) -> None:
        """Write the weights and the optimizer's state of this run into a compiled model of the same make.

        The model that the job was given may be that, too; its learning rate stays what it is.
        """
        self.job.write(self, model)


class KerasJob:
    """A training run of any compiled Keras 3 model, on any backend, for `surefoot.find`.

    Use it when you have a function that builds the model; if you have a compiled model, `surefoot.keras.find` is
    shorter. All trials are trained in one model, whose training step is compiled once. What the model was compiled with
    is used: its loss, its metrics, its optimizer with all its settings but the rate, and a `train_step` of its own.
    The global random states of Python, NumPy, Keras and torch are left as they were.

    A step is an optimizer update: with `gradient_accumulation_steps=4` it takes four batches. Batches are those of
    `fit`: shuffled in each pass, the last one smaller. What a callback does, or `class_weight`, is not seen here.

    Args:
        model: a function that returns a new compiled model at each call, called under the trial's seed; it may take the
            learning rate as its only argument. Or a compiled model: then all trials start from its present weights,
            with a new optimizer, and it is left as it was.
        x: inputs: an array, a list or dict of arrays; or a `keras.utils.PyDataset` or a `tf.data.Dataset` of batches.
            Of a PyDataset the order of batches is shuffled, and `on_epoch_end` is not called; noise that it draws from
            NumPy, Python or torch is tied to the seed. A tf.data.Dataset must give the same batches in every pass.
        y: targets; left out if `x` is a dataset.
        validation_data: (x_val, y_val), or with sample weights as a third, or a dataset.
        validation_split: instead, the share of the samples at the end of `x` and `y` that is held out.
        sample_weight: a weight for each sample.
        total_steps: optimizer steps of the real run.
        epochs: instead, passes over the training data.
        schedule: the schedule of the real run; default `linear_warmup("5%") >> cosine_decay()`.
        batch_size: samples per batch; ignored for a dataset.
        metric: the name of a compiled metric to judge by instead of the loss.
        goal: "min", or "max" for a metric between 0 and 1, of which 1 - metric is then minimised; default what Keras
            knows of the metric.
        learning_rate: where the search starts; default the optimizer's own.
        val_batch_size: default four times `batch_size`.
        name: for people; default the model's name.

    Raises:
        ArgumentError: a value is not allowed (a model that is not compiled, empty data, an unknown metric …).
        ArgumentTypeError: a type is not allowed.

    Example:
        >>> import keras, numpy as np, surefoot as sf
        >>> from surefoot.keras import KerasJob
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> def build():
        ...     model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        ...     model.compile(optimizer="sgd", loss="mse")
        ...     return model
        >>> job = KerasJob(build, x, 2 * x, validation_data=(x, 2 * x), batch_size=16, total_steps=40)
        >>> run = job.start(0.1, seed=0)
        >>> len(job.advance(run, [1.0] * 10)), job.evaluate(run) < job.evaluate(job.start(0.1, seed=0))
        (10, True)

    .. versionadded:: 0.1.0
    """

    can_fork = True

    def __init__(
        self,
        model: Callable[..., Any],
        x: Any,
        y: Any = None,
        *,
        validation_data: Any = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        total_steps: int | None = None,
        epochs: int | None = None,
        schedule: Schedule | None = None,
        batch_size: int = 32,
        metric: str | None = None,
        goal: Literal["min", "max"] | None = None,
        learning_rate: float | None = None,
        val_batch_size: int | None = None,
        name: str | None = None,
    ) -> None:
        if not callable(model):
            allowed = "a function that returns a new compiled model, or a compiled model"
            raise refuse_type(_WHERE, "model", model, allowed)
        self.batch_size = integer(_WHERE, "batch_size", batch_size, at_least=1)
        size = 4 * self.batch_size if val_batch_size is None else val_batch_size
        size = integer(_WHERE, "val_batch_size", size, at_least=1)
        split = number(_WHERE, "validation_split", validation_split, at_least=0.0, below=1.0)
        if schedule is not None and not isinstance(schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance] - users have no type checker
            cure = "Wrap a function in `sf.from_function`."
            raise refuse_type(_WHERE, "schedule", schedule, "a surefoot schedule", cure)
        if metric is not None and not isinstance(metric, str):  # pyright: ignore[reportUnnecessaryIsInstance] - as above
            cure = "Compile the model with it, and pass its name."
            raise refuse_type(_WHERE, "metric", metric, "the name of a metric that the model was compiled with", cure)
        if goal is not None:
            one_of(_WHERE, "goal", goal, ("min", "max"))
        if learning_rate is not None:
            learning_rate = number(_WHERE, "learning_rate", learning_rate, above=0.0)
        if (total_steps is None) == (epochs is None):
            given = "neither" if epochs is None else "both"
            cure = "Give the length of the real run in optimizer steps, or `epochs` instead."
            raise refuse(_WHERE, "total_steps", total_steps, f"given, or `epochs`; {given} is", cure)
        if total_steps is not None:
            integer(_WHERE, "total_steps", total_steps, at_least=1)
        if epochs is not None:
            integer(_WHERE, "epochs", epochs, at_least=1)
        self._train, self._val = data_of(
            x, y, sample_weight, batch_size=self.batch_size, validation_data=validation_data,
            validation_split=split, val_batch=size,
        )  # fmt: skip
        self.schedule = schedule if schedule is not None else linear_warmup("5%") >> cosine_decay()
        self._own_schedule = schedule is not None
        self._source: Any = model
        self._is_given = isinstance(model, keras.Model)
        self._rate = 1e-3 if learning_rate is None else learning_rate  # for a function that takes one
        self._takes_rate = not self._is_given and _takes_rate(model)
        self._initial: tuple[int, State] | None = None
        self._other: str | None = None  # the optimizer in place of the model's own
        self._bench = self._first_bench()
        self.default_learning_rate = _usual_rate(self._bench.optimizer) if learning_rate is None else learning_rate
        inner: Any = getattr(self._bench.optimizer, "inner_optimizer", self._bench.optimizer)
        self._accumulates = int(inner.gradient_accumulation_steps or 1)
        self.total_steps = self._length(total_steps, epochs)
        self.name = name or _name_of(self._bench.model)
        self._metric = metric or "loss"
        self.goal = self._checked_goal(goal)
        self.optimizer_name = _optimizer_name(inner)

    @property
    def is_learning_rate_free(self) -> bool:
        """Whether the optimizer finds its own rate, so that the one it is given is only a factor."""
        name = self._other or type(self._bench.optimizer).__name__.lower()
        return name in LEARNING_RATE_FREE or name in {"dadaptsgd", "dadaptadam"}

    def with_optimizer(self, optimizer: str) -> KerasJob:
        """Return the same job with another optimizer, at its usual rate; for its own, the job as it is.

        Weight decay, clipping, averaging and accumulation go along, where they were set.

        Args:
            optimizer: a name: "adam", "sgd_momentum", "prodigy" ..., as `TorchJob` has them.

        Raises:
            ArgumentError: there is no optimizer of this name.
        """
        one_of("KerasJob.with_optimizer", "optimizer", optimizer, NAMED)
        if optimizer == self.optimizer_name:
            return self
        other = copy.copy(self)  # the data is the same, and remembers no run
        other._other, other._initial = optimizer, None  # noqa: SLF001 - one of us
        other._bench = other._first_bench()  # noqa: SLF001
        vars(other).update(optimizer_name=optimizer, default_learning_rate=NAMED[optimizer][2])
        return other

    @property
    def epochs(self) -> float | None:
        """Passes over the training data in one real run; None for a stream of unknown length."""
        per_epoch = self._train.per_epoch
        return self.total_steps * self._accumulates / per_epoch if per_epoch else None

    @property
    def steps_per_epoch(self) -> int | None:
        """Optimizer steps in one pass over the training data; None for a stream of unknown length."""
        per_epoch = self._train.per_epoch
        return max(1, per_epoch // self._accumulates) if per_epoch else None

    def start(self, learning_rate: float, *, seed: int) -> KerasRun:
        """Return a new run at step 0; the seed decides data order and dropout, and the weights of a built model."""
        with self.lent():
            state = self._initial_state(seed)
            seeded(seed)
            return KerasRun(self, state, learning_rate, seed, Randomness.take())

    def advance(self, run: KerasRun, factors: Sequence[float]) -> list[float]:
        """Train one step per factor, at `factor` times the rate; return the training losses."""
        if not len(factors):
            return []
        each = self._accumulates
        if run.batches is None:
            run.batches = self._train.stream(run.seed, run.step * each)
        batches = run.batches
        with self.lent():
            run.randomness.give()
            feed = ((run.learning_rate * float(f), next(batches)) for f in factors for _ in range(each))
            run.batches = None  # where it stands is unknown if a step fails
            run.state, losses = self._bench.train(run.state, feed)
            run.randomness = Randomness.take()
        run.step += len(factors)
        run.batches = batches
        return [sum(losses[i : i + each]) / each for i in range(0, len(losses), each)] if each > 1 else losses

    def evaluate(self, run: KerasRun) -> float:
        """Return the loss, or the metric, over all validation samples; of averaged weights, if the optimizer keeps them."""
        with self.lent():
            seeded(run.seed)
            value = _number(self._metric, self._bench.test(run.state, self._val.once()))
        if self.goal == "min":
            return value
        if not (math.isnan(value) or 0.0 <= value <= 1.0):  # NaN passes: the search knows what it means
            allowed = f"'min' for a metric that is not between 0 and 1 ({self._metric} was {value:g})"
            raise refuse(_WHERE, "goal", self.goal, allowed, "Judge by a metric that falls as the model improves.")
        return 1.0 - value

    def fork(self, run: KerasRun) -> KerasRun:
        """Return an independent copy of the run, with the same future batches and the same future noise."""
        return KerasRun(self, run.state, run.learning_rate, run.seed, run.randomness, step=run.step)

    def save(self, run: KerasRun, path: Path) -> None:
        """Write all values, the randomness and the place in the data as one NumPy archive without pickles."""
        about = {
            "learning_rate": run.learning_rate,
            "seed": run.seed,
            "step": run.step,
            "randomness": run.randomness.to_plain(),
        }
        with path.open("wb") as file:
            np.savez(file, *[_plain(value) for value in run.state], about=np.array(json.dumps(about)))

    def load(self, path: Path) -> KerasRun:
        """Return the run that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            about: dict[str, Any] = json.loads(str(file["about"]))
            values = [file[f"arr_{i}"] for i in range(len(self._bench.variables))]
        state = [ops.convert_to_tensor(a, dtype=v.dtype) for a, v in zip(values, self._bench.variables, strict=True)]
        randomness = Randomness.from_plain(about["randomness"])
        return KerasRun(self, state, about["learning_rate"], about["seed"], randomness, step=int(about["step"]))

    def describe(self) -> dict[str, Any]:
        """Return plain data that tells this job from another."""
        bench = self._bench
        plain = (bool, int, float, str, type(None))
        settings = settings_of(bench.optimizer)
        settings = {k: v for k, v in settings.items() if k not in {"learning_rate", "name"} and isinstance(v, plain)}
        loss: Any = getattr(bench.model, "loss", None)
        return {
            "kind": "KerasJob",
            "backend": keras.backend.backend(),
            "optimizer": self.optimizer_name,
            "optimizer_settings": settings,
            "gradient_accumulation_steps": self._accumulates,
            "batch_size": self.batch_size,
            "batches_per_epoch": self._train.per_epoch,
            "parameters": int(sum(math.prod(v.shape) for v in bench.model.trainable_variables)),
            "model": self._fingerprint,
            "loss": loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__),
            "judged_by": f"{self.goal} {self._metric}",
            "train": self._train.describe(),
            "validation": self._val.describe(),
        }

    # ---- beyond the protocol ----------------------------------------------------------------------------------------

    def lent(self) -> AbstractContextManager[None]:
        """Hold the model for several calls, so that a given model is put back once instead of after each."""
        return self._bench.lent()

    def new_model(self, run: KerasRun) -> Any:
        """Return a new compiled model with the weights of this run; None if the job was given a model."""
        if self._is_given:
            return None
        with borrowed():
            model = self._built(run.seed).model
        self.write(run, model)
        return model

    def write(self, run: KerasRun, model: Any) -> None:
        """Write the weights and the optimizer's state of a run into a compiled model of the same make."""
        if not isinstance(model, keras.Model):
            raise refuse_type("write_to", "model", model, "a compiled keras.Model")
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        self._bench.write(run.state, model)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _first_bench(self) -> Bench:
        """Return the model that all runs are trained in, after a look at two of them if they are built by a function."""
        if self._is_given:
            model = self._source
            if not all(layer.built for layer in model._flatten_layers()):  # noqa: SLF001
                model(self._first_batch()[0])  # built as `fit` would do it, from the user's own randomness
            bench = Bench(
                model, self._first_batch(), given=True, own_schedule=self._own_schedule, instead=self._instead
            )
            self._fingerprint = fingerprint(bench, bench.initial)
            return bench
        with borrowed():
            first, second = self._built(0), self._built(0)
        mine = {id(v) for v in first.model.trainable_variables}
        if any(id(v) in mine for v in second.model.trainable_variables):
            raise refuse(_WHERE, "model", self._source, _ANEW, _CURE)
        self._fingerprint = fingerprint(first, first.initial)
        if self._fingerprint != fingerprint(second, second.initial):
            warnings.warn(
                "`KerasJob(model=...)` built two models with different weights under the same seed, so no two searches "
                "will be the same. Draw initial weights from Keras', NumPy's or Python's global generators.",
                SurefootWarning,
                stacklevel=3,
            )
        self._initial = (0, second.initial)
        return first

    @property
    def _instead(self) -> Callable[[Any], Any] | None:
        name = self._other
        return None if name is None else lambda optimizer: instead_of(optimizer, name)

    def _first_batch(self) -> Any:
        return next(self._train.stream(0, 0))

    def _built(self, seed: int) -> Bench:
        """Return a new model with its initial state; the caller has borrowed the global generators."""
        seeded(seed)
        model = self._source(self._rate) if self._takes_rate else self._source()
        if not isinstance(model, keras.Model):
            raise refuse_type(_WHERE, "model", model, "a function that returns a compiled keras.Model", _CURE)
        return Bench(model, self._first_batch(), given=False, own_schedule=self._own_schedule, instead=self._instead)

    def _initial_state(self, seed: int) -> State:
        """Return the values that a run with this seed starts from; the last ones are kept."""
        if self._is_given:
            return self._bench.initial
        if self._initial is None or self._initial[0] != seed:
            with borrowed():
                built = self._built(seed)
            if built.model is self._bench.model:
                raise refuse(_WHERE, "model", self._source, _ANEW, _CURE)
            self._initial = (seed, built.initial)
        return self._initial[1]

    def _length(self, total_steps: int | None, epochs: int | None) -> int:
        if total_steps is not None:
            return total_steps
        assert epochs is not None
        if self._train.per_epoch is None:
            cure = "Give `total_steps` instead."
            raise refuse(_WHERE, "epochs", epochs, "left out for a dataset of unknown length", cure)
        return max(1, epochs * self._train.per_epoch // self._accumulates)

    def _checked_goal(self, goal: Literal["min", "max"] | None) -> str:
        """Test on one batch, so that what does not fit together is said now, and return the direction of the metric."""
        with self.lent():
            seeded(0)
            logs = self._bench.test(self._bench.initial, [next(iter(self._val.once()))])
            metrics = {m.name: getattr(m, "_direction", None) for m in _flat(self._bench.model.metrics)}
        if self._metric not in logs:
            names = sorted(logs)
            allowed = "one of " + ", ".join(names) + ", which the model was compiled with"
            raise refuse(_WHERE, "metric", self._metric, allowed, nearest(self._metric.removeprefix("val_"), names))
        _number(self._metric, logs)
        known = {"up": "max", "down": "min"}.get(metrics.get(self._metric) or "")
        if self._metric == "loss":
            if goal == "max":
                raise refuse(_WHERE, "goal", goal, "'min' without a metric", "Give `metric`, or leave `goal` out.")
            return "min"
        if goal is None and known is None:
            cure = f"Say whether {self._metric!r} is to be lowered or raised."
            raise refuse(_WHERE, "goal", None, "'min' or 'max' for a metric that Keras does not know", cure)
        return goal or str(known)


_ANEW = "a function that returns a new model at each call; it returned weights that an earlier one has, too"
_CURE = "Build and compile the model inside the function, and return it."


def fingerprint(bench: Bench, state: State) -> str:
    """Return a short hash of shapes and (roughly) weights: enough to tell two jobs apart."""
    weights = {id(v) for v in bench.model.weights}
    parts = [
        f"{tuple(v.shape)}:{float(np.abs(_plain(value).astype(np.float64)).sum()):.6e}"
        for v, value in zip(bench.variables, state, strict=True)
        if id(v) in weights
    ]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _name_of(model: Any) -> str:
    """Return the model's name, without the number that Keras gives a name that is not the user's."""
    base, _, number = model.name.rpartition("_")
    is_automatic = number.isdigit() and base.replace("_", "") == type(model).__name__.lower()
    return base if is_automatic else model.name


def _takes_rate(build: Callable[..., Any]) -> bool:
    """Whether a function must be called with one argument, the learning rate; refuse what can be called in neither way."""
    try:
        signature = inspect.signature(build)
    except (TypeError, ValueError):  # some builtins have none: the call will tell
        return False
    for arguments in ((), (1e-3,)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return bool(arguments)
    allowed = "a function without arguments, or with the learning rate as its only one"
    raise refuse_type(_WHERE, "model", build, allowed, "Give others through functools.partial or a lambda.")


def _usual_rate(optimizer: Any) -> float:
    rate = rate_of(optimizer)
    return float(f"{rate:.6g}") if math.isfinite(rate) and rate > 0 else 1e-3


def _optimizer_name(optimizer: Any) -> str:
    """Return a name that the report can write code from, if all settings are usual ones; else the class with the rest."""
    kind = type(optimizer)
    name = kind.__name__
    try:
        usual = settings_of(kind())
    except Exception:  # noqa: BLE001 - an optimizer of the user's own
        return name
    config = settings_of(optimizer)
    more = {k: v for k, v in config.items() if k not in {"name", "learning_rate"} and v != usual.get(k)}
    if name == "SGD" and more in ({"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}):
        return "sgd_nesterov" if "nesterov" in more else "sgd_momentum"
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in more.items())})" if more else name.lower()


def _flat(metrics: Any) -> list[Any]:
    found: list[Any] = []
    for metric in metrics:
        found += [metric, *_flat(getattr(metric, "metrics", []))]
    return found


def _plain(value: Any) -> Any:
    """Return a value as an array of a type that NumPy has itself; bfloat16 goes into float32 and back unchanged."""
    array = as_numpy(value)
    return array if array.dtype.kind in "biufc" else array.astype(np.float32)


def _number(name: str, logs: dict[str, Any]) -> float:
    """Return a metric as a float."""
    array = np.asarray(as_numpy(logs[name]) if name in logs else math.nan)
    if array.size != 1:
        allowed = f"a metric that is one number; {name} has {array.size}"
        raise refuse(_WHERE, "metric", name, allowed, "Average it over its classes.")
    return float(array.reshape(()))
