"""A training run in JAX that the search can start, advance, evaluate and fork.

A run is a value: parameters and the optimizer's state. Everything else follows from its seed and its step: which samples
a batch has, and the key of its noise. Stretches of a run are trained inside one compiled loop, whose learning rates,
samples and number of steps are inputs; so one compilation serves all rates and lengths, and a run has the same bits
however it is cut into stretches.
"""

# JAX's own types are partial, optax has none:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import optax
from surefoot._checks import integer, number, one_of, refuse, refuse_type
from surefoot.optax._data import Order, Samples
from surefoot.optax._functions import called, traced
from surefoot.optax._named import LEARNING_RATE_FREE, NAMED, Factory, maker, name_of, update
from surefoot.optax._trees import fingerprint, from_plain, own, plain
from surefoot.schedules import Schedule, cosine_decay, linear_warmup

STRETCH = 64  # steps that one call of the compiled loop can make; fewer are a number, not another program
_WHERE = "JaxJob"


@dataclass(slots=True)
class JaxRun:
    """One training run; its arrays belong to it alone and are given away at its next step."""

    params: Any = field(repr=False)
    opt_state: Any = field(repr=False)
    learning_rate: float
    seed: int
    step: int = 0
    is_diverged: bool = False  # a training loss was not finite; from there on nothing is trained

    @property
    def model(self) -> Any:
        """A copy of the parameters, to keep."""
        return own(self.params)


class JaxJob:
    """A training run of any JAX model, for `surefoot.find`.

    Use it when you have parameters, a loss and arrays. The functions are pure: what they need besides their arguments
    (an apply function, constants) they close over. State that changes beside the parameters (running statistics) has no
    place here; give such a loop to `surefoot.FunctionJob`.

    All training data lies on the default device. Stretches of steps run inside one compiled loop, so that a small model
    does not wait for Python. Networks with convolutions are stepped one by one on a CPU, where they are slow inside
    of XLA's loops (jax#12868).

    Args:
        init: `init(key)` returns the parameters of a new model, a tree of floating arrays; for a fine-tune
            `lambda key: params`. It must return the same for the same key.
        loss: `loss(params, batch)`, or `loss(params, batch, key)` for a loss with noise, returns the mean loss of the
            batch, a scalar. Without a `metric` it judges, too, and is called with `key=None` then: without noise.
        train: training data: an array, or a tuple or dict (any tree) of arrays with a common first dimension. A batch is
            the same tree. Its order follows from the seed; what is left over in a pass is dropped.
        val: validation data, in the same forms.
        batch_size: training samples per step.
        optimizer: a name ("sgd", "sgd_momentum", "sgd_nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw",
            "nadam", "radam", "adamax", "lion") with optax's defaults; one that finds its own rate ("dog", "dowg",
            "dadapt_adamw", "prodigy"), so that the one given is a factor around 1; or a factory,
            `lambda rate: optax.adamw(rate)`. It is given a scalar that is not known yet, or, where that has no effect (`optax.inject_hyperparams`), a schedule.
        total_steps: optimizer steps of the real run.
        schedule: the schedule of the real run; default `linear_warmup("5%") >> cosine_decay()`.
        metric: `metric(params, batch)` returns what to judge by instead of the loss, averaged over validation samples.
        goal: "min", or "max" for a metric between 0 and 1, of which 1 - metric is then minimised.
        learning_rate: where the search starts; default the optimizer's usual one (a factory: 1e-3).
        val_batch_size: default four times `batch_size`.
        name: for people.

    Raises:
        ArgumentError: a value is not allowed (empty data, a batch larger than the data, an unknown optimizer …).
        ArgumentTypeError: a type is not allowed, or a function is not one that JAX can trace.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from surefoot.optax import JaxJob
        >>> x = jnp.linspace(-1.0, 1.0, 64)
        >>> def loss(params, batch):
        ...     x, y = batch
        ...     return jnp.mean((params["w"] * x - y) ** 2)
        >>> job = JaxJob(init=lambda key: {"w": jax.random.normal(key)}, loss=loss, train=(x, 2 * x), val=(x, 2 * x),
        ...              batch_size=16, optimizer="sgd", total_steps=40)
        >>> run = job.start(0.1, seed=0)
        >>> len(job.advance(run, [1.0] * 10)), job.evaluate(run) < job.evaluate(job.start(0.1, seed=0))
        (10, True)

    .. versionadded:: 0.1.0
    """

    can_fork = True

    def __init__(
        self,
        *,
        init: Callable[[Any], Any],
        loss: Callable[..., Any],
        train: Any,
        val: Any,
        batch_size: int = 32,
        optimizer: str | Factory = "adam",
        total_steps: int = 400,
        schedule: Schedule | None = None,
        metric: Callable[[Any, Any], Any] | None = None,
        goal: Literal["min", "max"] = "min",
        learning_rate: float | None = None,
        val_batch_size: int | None = None,
        name: str = "model",
    ) -> None:
        if not callable(init):
            cure = "For given parameters: `lambda key: params`."
            raise refuse_type(_WHERE, "init", type(init).__name__, "a function of a key that returns parameters", cure)
        if not callable(loss):
            raise refuse_type(_WHERE, "loss", loss, "a function loss(params, batch)")
        if metric is not None and not callable(metric):
            raise refuse_type(_WHERE, "metric", metric, "a function metric(params, batch)")
        self.total_steps = integer(_WHERE, "total_steps", total_steps, at_least=1)
        self.batch_size = integer(_WHERE, "batch_size", batch_size, at_least=1)
        size = 4 * self.batch_size if val_batch_size is None else val_batch_size
        size = integer(_WHERE, "val_batch_size", size, at_least=1)
        if isinstance(optimizer, str):
            one_of(_WHERE, "optimizer", optimizer, NAMED)
        elif not callable(optimizer):
            cure = "As in `lambda rate: optax.adamw(rate)`."
            raise refuse_type(_WHERE, "optimizer", type(optimizer).__name__, "a name, or a factory of one", cure)
        self.goal = one_of(_WHERE, "goal", goal, ("min", "max"))
        if self.goal == "max" and metric is None:
            raise refuse(_WHERE, "goal", goal, "'min' without a metric", "Give `metric`, or leave `goal` out.")
        factory, usual = NAMED[optimizer] if isinstance(optimizer, str) else (optimizer, 1e-3)
        self.default_learning_rate = (
            usual if learning_rate is None else number(_WHERE, "learning_rate", learning_rate, above=0.0)
        )
        self.schedule = schedule if schedule is not None else linear_warmup("5%") >> cosine_decay()
        if not isinstance(self.schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance] - users have no type checker
            cure = "Wrap a function in `sf.from_function`."
            raise refuse_type(_WHERE, "schedule", schedule, "a surefoot schedule", cure)
        self.name = name
        self._is_named = isinstance(optimizer, str)
        self.optimizer_name = optimizer if isinstance(optimizer, str) else name_of(optimizer)
        samples, val_samples = Samples("train", train, least=2), Samples("val", val, least=1)
        if samples.count < self.batch_size:
            allowed = f"at most the number of training samples, {samples.count}"
            raise refuse(_WHERE, "batch_size", batch_size, allowed, "Lower `batch_size` or give more data.")
        self._train, self._order = samples.tree, Order(samples.count, self.batch_size)
        self._val = val_samples.split(size)
        self._facts = {
            "samples": samples.count,
            "checksum": samples.checksum,
            "val_samples": val_samples.count,
            "val_checksum": val_samples.checksum,
        }
        self._init, self._loss, self._metric = init, loss, metric
        first = self._first_params()
        self._fingerprint, self._parameters = fingerprint(first), sum(leaf.size for leaf in jax.tree.leaves(first))
        self._use(factory, first)
        self._call = called(loss)
        self._check_functions(first)
        self._compiled_judge = jax.jit(self._judge)

    @property
    def is_learning_rate_free(self) -> bool:
        """Whether the optimizer finds its own rate, so that the one it is given is only a factor."""
        return self._is_named and self.optimizer_name in LEARNING_RATE_FREE

    def with_optimizer(self, optimizer: str) -> JaxJob:
        """Return the same job with another optimizer, at its usual rate; for its own, the job as it is.

        Args:
            optimizer: a name, as for the job itself.

        Raises:
            ArgumentError: there is no optimizer of this name.
        """
        one_of("JaxJob.with_optimizer", "optimizer", optimizer, NAMED)
        if self._is_named and optimizer == self.optimizer_name:
            return self
        other = copy.copy(self)  # data and functions are the same, and neither remembers a run
        factory, usual = NAMED[optimizer]
        vars(other).update(_is_named=True, optimizer_name=optimizer, default_learning_rate=usual)
        other._use(factory, self._first_params())  # noqa: SLF001 - one of us
        return other

    @property
    def epochs(self) -> float:
        """Passes over the training data in one real run."""
        return self.total_steps / self._order.per_epoch

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training data."""
        return self._order.per_epoch

    def start(self, learning_rate: float, *, seed: int) -> JaxRun:
        """Return a new run at step 0; the seed decides initial parameters, data order and noise."""
        params = own(self._init(_keys(seed)[0]))
        return JaxRun(params, own(self._optimizer(learning_rate).init(params)), learning_rate, seed)

    def advance(self, run: JaxRun, factors: Sequence[float]) -> list[float]:
        """Train one step per factor, at `factor` times the rate; return the training losses, NaN after one that is not finite."""
        losses: list[float] = []
        rates = np.array([run.learning_rate * float(factor) for factor in factors])
        for at in range(0, len(rates), STRETCH):
            if run.is_diverged:
                break
            part = rates[at : at + STRETCH].astype(jnp.result_type(float))
            rows = self._order.rows(run.seed, run.step, len(part))
            train = self._train_in_steps if self._is_slow_in_loops else self._train_in_one
            run.params, run.opt_state, new = train(run, rows, part)
            run.step += len(part)
            run.is_diverged = not all(map(math.isfinite, new))
            losses += new
        return losses + [math.nan] * (len(rates) - len(losses))

    def evaluate(self, run: JaxRun) -> float:
        """Return the mean validation loss (or metric) over all validation samples; NaN if the run has diverged."""
        if run.is_diverged:
            return math.nan
        values = [(count, self._compiled_judge(run.params, batch)) for count, batch in self._val]
        value = sum(count * float(v) for count, v in values) / sum(count for count, _ in values)
        if self.goal == "min":
            return value
        if not (math.isnan(value) or 0.0 <= value <= 1.0):  # NaN passes: the search knows what it means
            allowed = f"'min' for a metric that is not between 0 and 1 (it was {value:g})"
            raise refuse(_WHERE, "goal", self.goal, allowed, "Return a value that falls as the model improves.")
        return 1.0 - value

    def fork(self, run: JaxRun) -> JaxRun:
        """Return an independent copy of the run, with the same future batches and the same future noise."""
        params, opt_state = own((run.params, run.opt_state))
        return JaxRun(params, opt_state, run.learning_rate, run.seed, run.step, run.is_diverged)

    def save(self, run: JaxRun, path: Path) -> None:
        """Write parameters, the optimizer's state and the place in the data as one NumPy archive without pickles."""
        about = {
            "learning_rate": run.learning_rate,
            "seed": run.seed,
            "step": run.step,
            "is_diverged": run.is_diverged,
        }
        leaves = jax.tree.leaves((run.params, run.opt_state))
        with path.open("wb") as file:
            np.savez(file, *[plain(leaf) for leaf in leaves], about=np.array(json.dumps(about)))

    def load(self, path: Path) -> JaxRun:
        """Return the run that `save` wrote."""
        like, structure = jax.tree.flatten(self._template)
        with np.load(path, allow_pickle=False) as file:
            about: dict[str, Any] = json.loads(str(file["about"]))
            leaves = [from_plain(file[f"arr_{i}"], known) for i, known in enumerate(like)]
        params, opt_state = structure.unflatten(leaves)
        return JaxRun(params, opt_state, **about)

    def describe(self) -> dict[str, Any]:
        """Return plain data that tells this job from another."""
        return {
            "kind": "JaxJob",
            "optimizer": self.optimizer_name,
            "optimizer_values": sum(leaf.size for leaf in jax.tree.leaves(self._template[1])),
            "batch_size": self.batch_size,
            "steps_per_epoch": self._order.per_epoch,
            "parameters": self._parameters,
            "model": self._fingerprint,
            "loss": getattr(self._loss, "__qualname__", type(self._loss).__name__),
            "judged_by": "loss" if self._metric is None else f"{self.goal} metric",
            **self._facts,
        }

    # ---- training -------------------------------------------------------------------------------------------------

    def _use(self, factory: Factory, params: Any) -> None:
        """Prepare what depends on the optimizer."""
        self._make = maker(factory, params, self.default_learning_rate)
        self._template = jax.eval_shape(lambda: (params, self._optimizer(self.default_learning_rate).init(params)))
        self._compiled_step = jax.jit(self._step, donate_argnums=0)
        self._compiled_stretch = jax.jit(self._stretch, donate_argnums=0)

    def _optimizer(self, rate: Any) -> optax.GradientTransformation:
        return self._make(jnp.asarray(rate, float))  # an array: a number would stay in the state of surefoot's own

    def _train_in_one(self, run: JaxRun, rows: Any, rates: Any) -> tuple[Any, Any, list[float]]:
        """Train up to a stretch of steps in one call."""
        steps = len(rates)
        more = [(0, STRETCH - steps)]  # the arrays have one length always; what is behind `steps` is not looked at
        rows, rates = np.pad(rows, [*more, (0, 0)]), np.pad(rates, more)
        state, losses = self._compiled_stretch(
            (run.params, run.opt_state), self._train, _keys(run.seed)[1], rows, rates, run.step, steps
        )
        return *state, np.asarray(losses)[:steps].tolist()

    def _train_in_steps(self, run: JaxRun, rows: Any, rates: Any) -> tuple[Any, Any, list[float]]:
        """Train as many steps, each in a call of its own."""
        key = _keys(run.seed)[1]
        state, losses = (run.params, run.opt_state), [math.nan] * len(rates)
        for i, (row, rate) in enumerate(zip(rows, rates, strict=True)):
            state, loss = self._compiled_step(state, self._train, key, row, rate, run.step + i)
            losses[i] = float(loss)
            if not math.isfinite(losses[i]):
                break
        return *state, losses

    def _step(self, state: Any, data: Any, key: Any, row: Any, rate: Any, step: Any) -> tuple[Any, Any]:
        params, opt_state = state
        batch = jax.tree.map(lambda array: array[row], data)
        loss, gradients = jax.value_and_grad(self._call)(params, batch, jax.random.fold_in(key, step))
        updates, opt_state = update(self._make(rate), gradients, opt_state, params, loss)
        return (optax.apply_updates(params, updates), opt_state), loss

    def _stretch(
        self, state: Any, data: Any, key: Any, rows: Any, rates: Any, first: Any, steps: Any
    ) -> tuple[Any, Any]:
        """Train `steps` steps, or until a loss is not finite; return the state and the losses, NaN behind the last.

        A loop with a number of rounds that is an input, where a scan has a program for each length: programs may round
        differently, and padding would have to be trained.
        """

        def goes_on(carry: Any) -> Any:
            i, _, losses = carry
            return (i < steps) & ((i == 0) | jnp.isfinite(losses[i - 1]))

        def one(carry: Any) -> Any:
            i, state, losses = carry
            state, loss = self._step(state, data, key, rows[i], rates[i], first + i)
            return i + 1, state, losses.at[i].set(loss.astype(losses.dtype))

        empty = jnp.full(rates.shape, jnp.nan, rates.dtype)
        _, state, losses = jax.lax.while_loop(goes_on, one, (0, state, empty))
        return state, losses

    def _judge(self, params: Any, batch: Any) -> Any:
        return self._metric(params, batch) if self._metric else self._call(params, batch, None)

    # ---- checks ---------------------------------------------------------------------------------------------------

    def _first_params(self) -> Any:
        """Return parameters, after a look at two of them: the same key must give the same."""
        one, two = (self._init(_keys(0)[0]) for _ in range(2))
        leaves = jax.tree.leaves(one)
        kinds = [
            f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else type(leaf).__name__ for leaf in leaves
        ]
        if not leaves or not all(
            hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves
        ):
            cure = "Let `loss` close over what is not trained (functions, integers)."
            raise refuse_type(_WHERE, "init", kinds, "a function that returns a tree of floating arrays", cure)
        if fingerprint(one) != fingerprint(two):
            cure = "Draw them with jax.random from the key that it is given."
            raise refuse(
                _WHERE, "init", name_of(self._init), "a function of its key: the same one gives the same", cure
            )
        return own(one)

    def _check_functions(self, params: Any) -> None:
        """Trace what will be compiled, so that what does not fit is said now; learn whether there are convolutions."""
        row = np.zeros(self.batch_size, np.int32)
        batch = jax.eval_shape(lambda data: jax.tree.map(lambda array: array[row], data), self._train)
        text = traced("loss", self._loss, self._call, params, batch, _keys(0)[1])
        self._is_slow_in_loops = jax.default_backend() == "cpu" and "conv_general_dilated" in text
        if self._metric is not None:
            traced("metric", self._metric, self._metric, params, self._val[0][1])
            return
        try:
            traced("loss", self._loss, self._call, params, self._val[0][1], None)
        except (TypeError, ValueError) as error:  # what jax.random says to None as a key
            traced("loss", self._loss, self._call, params, self._val[0][1], _keys(0)[1])  # raises if it is not the key
            cure = f"Leave the noise out there, or give a `metric`. It said: {error}"
            allowed = "a function that can judge the validation data with key=None"
            raise refuse(_WHERE, "loss", name_of(self._loss), allowed, cure) from error


def _keys(seed: int) -> Any:
    """Return the keys of the initial parameters and of the noise."""
    return jax.random.split(jax.random.key(seed % 2**32))
