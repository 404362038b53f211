"""A training run of a torch model that the search can start, advance, evaluate and fork."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from torch.optim import Optimizer

import torch
from surefoot._checks import integer, number, one_of, refuse, refuse_type
from surefoot.schedules import Schedule
from surefoot.torch._data import Validation, samples_in, to_device, training_batches
from surefoot.torch._models import Models, fingerprint, judging, restore, state_of
from surefoot.torch._optimizers import (
    DECOUPLED,
    LEARNING_RATE_FREE,
    NAMED,
    Factory,
    build,
    check_factory,
    evaluation,
    rates,
    schedule_for,
    set_rates,
)
from surefoot.torch._random import Randomness, borrowed, seeded
from surefoot.torch._schedule_free import ScheduleFree
from torch import Tensor, nn

Loss = Callable[[nn.Module, Any], Tensor]
Metric = Callable[[nn.Module, Any], Any]


@dataclass(slots=True)
class TorchRun:
    """One training run: its model, optimizer, place in the data and randomness."""

    model: nn.Module
    optimizer: Optimizer
    learning_rate: float
    seed: int
    randomness: Randomness
    base: list[float] = field(default_factory=list[float])
    step: int = 0
    batches: Iterator[Any] | None = None  # opened at the present step; opened again after a fork or a load


class TorchJob:
    """A training run of any torch model, for `surefoot.find`.

    Use it when you have a model, a loss and data. If your training loop is your own and cannot be taken apart, give it
    to `surefoot.FunctionJob` or to the command line instead.

    The model that you pass, its weights, and the global random states of torch, Python and NumPy are left as they were.

    Args:
        model: a function that returns a new `nn.Module` at each call (called under the trial's seed), or a module:
            then copies of it, with its weights, are trained (a fine-tune).
        loss: `loss(model, batch)` returns the mean loss of the batch, a tensor with one element.
        train: training data: a tuple of tensors or arrays with a common first dimension, a map-style dataset, or a
            DataLoader. A loader's order and augmentations are tied to the seed and the epoch. A copied or resumed run
            loads the batches of its epoch so far again, and throws them away; of an IterableDataset, all so far.
        val: validation data, in the same forms.
        batch_size: training samples per step; ignored for a DataLoader, which brings its own.
        optimizer: a name ("sgd", "sgd_momentum", "sgd_nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw",
            "nadam", "radam", "adamax") with torch's defaults; one of ours ("lion", and "dog", "dowg", "dadapt_sgd",
            "dadapt_adam", "prodigy", which find their own rate, so that theirs is a factor around 1;
            "schedule_free_sgd", "schedule_free_adamw", whose average is judged); or a factory
            `(params, lr) -> torch.optim.Optimizer`.
        total_steps: optimizer steps of the real run.
        schedule: the schedule of the real run; default `linear_warmup("5%") >> cosine_decay()`; of the
            Schedule-Free optimizers without the decay.
        metric: `metric(model, batch)` returns what to judge by instead of the loss, averaged over validation samples.
        goal: "min", or "max" for a metric between 0 and 1, of which 1 - metric is then minimised.
        weight_decay: for an optimizer given by name; None keeps torch's default.
        clip_norm: clip the global gradient norm to this, if given.
        learning_rate: where the search starts; default the optimizer's usual one (a factory: 1e-3).
        val_batch_size: default four times `batch_size`.
        device: where to train; default the first of cuda, mps, cpu that is there.
        name: for people; default the model's class name.

    Raises:
        ArgumentError: a value is not allowed (empty data, a batch larger than the data, an unknown optimizer …).
        ArgumentTypeError: a type is not allowed.

    Example:
        >>> import torch, surefoot as sf
        >>> from surefoot.torch import TorchJob
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> def loss(model, batch):
        ...     return torch.nn.functional.mse_loss(model(batch[0]), batch[1])
        >>> job = TorchJob(model=lambda: torch.nn.Linear(1, 1), loss=loss, train=(x, 2 * x), val=(x, 2 * x),
        ...                batch_size=16, optimizer="sgd", total_steps=40)
        >>> run = job.start(0.1, seed=0)
        >>> len(job.advance(run, [1.0] * 10)), job.evaluate(run) < job.evaluate(job.start(0.1, seed=0))
        (10, True)
    """

    can_fork = True

    def __init__(
        self,
        *,
        model: Callable[[], nn.Module] | nn.Module,
        loss: Loss,
        train: Any,
        val: Any,
        total_steps: int,
        batch_size: int = 32,
        optimizer: str | Factory = "adam",
        schedule: Schedule | None = None,
        metric: Metric | None = None,
        goal: Literal["min", "max"] = "min",
        weight_decay: float | None = None,
        clip_norm: float | None = None,
        learning_rate: float | None = None,
        val_batch_size: int | None = None,
        device: str | torch.device | None = None,
        name: str | None = None,
    ) -> None:
        if not callable(model):
            raise refuse_type("TorchJob", "model", model, "a function that returns a new nn.Module, or a module")
        if not callable(loss):
            raise refuse_type("TorchJob", "loss", loss, "a function loss(model, batch)")
        if metric is not None and not callable(metric):
            raise refuse_type("TorchJob", "metric", metric, "a function metric(model, batch)")
        self.total_steps = integer("TorchJob", "total_steps", total_steps, at_least=1)
        self.batch_size = integer("TorchJob", "batch_size", batch_size, at_least=1)
        if isinstance(optimizer, str):
            one_of("TorchJob", "optimizer", optimizer, NAMED)
        elif not callable(optimizer):
            raise refuse_type("TorchJob", "optimizer", optimizer, "a name or a factory (params, lr) -> Optimizer")
        elif weight_decay is not None:
            raise refuse("TorchJob", "weight_decay", weight_decay, "None with a factory", "Set it inside the factory.")
        if weight_decay is not None:
            weight_decay = number("TorchJob", "weight_decay", weight_decay, at_least=0.0)
        self.clip_norm = None if clip_norm is None else number("TorchJob", "clip_norm", clip_norm, above=0.0)
        self.goal = one_of("TorchJob", "goal", goal, ("min", "max"))
        if self.goal == "max" and metric is None:
            raise refuse("TorchJob", "goal", goal, "'min' without a metric", "Give `metric`, or leave `goal` out.")
        usual = NAMED[optimizer][1] if isinstance(optimizer, str) else 1e-3
        self.default_learning_rate = (
            usual if learning_rate is None else number("TorchJob", "learning_rate", learning_rate, above=0.0)
        )
        if schedule is not None and not isinstance(schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance] - users have no type checker
            raise refuse_type(
                "TorchJob", "schedule", schedule, "a surefoot schedule", "Wrap a function in `sf.from_function`."
            )
        self.device = torch.device(device) if device is not None else _best_device()
        self._loss, self._metric, self._optimizer, self._weight_decay = loss, metric, optimizer, weight_decay
        self._train = training_batches("TorchJob", train, self.batch_size)
        size = 4 * self.batch_size if val_batch_size is None else val_batch_size
        self._val = Validation("TorchJob", val, integer("TorchJob", "val_batch_size", size, at_least=1))
        self._given_schedule = schedule
        self.schedule = schedule or schedule_for(optimizer, None, self.total_steps, self.steps_per_epoch)
        self._models = Models(model, self.device)
        first = self._models.first()
        if not isinstance(optimizer, str):
            with borrowed(self.device):
                check_factory(optimizer, first, self.default_learning_rate)
        self.name = name or type(first).__name__
        self._fingerprint = fingerprint(first)
        self._parameters = sum(p.numel() for p in first.parameters())
        self.optimizer_name = (
            optimizer if isinstance(optimizer, str) else type(build(optimizer, first, usual, None)).__name__
        )

    @property
    def is_learning_rate_free(self) -> bool:
        """Whether the optimizer finds its own rate, so that the one it is given is only a factor."""
        return self._optimizer in LEARNING_RATE_FREE if isinstance(self._optimizer, str) else False

    def with_optimizer(self, optimizer: str) -> TorchJob:
        """Return the same job with another optimizer, at its usual rate; for its own, the job as it is.

        A given weight decay goes with it where it means the same: from one optimizer with decoupled weight decay to
        another, or between two without. Else the other optimizer has its default. The Schedule-Free optimizers average
        in the place of a decay: their schedule stays at its peak.

        Args:
            optimizer: a name, as for the job itself.

        Raises:
            ArgumentError: there is no optimizer of this name.
        """
        one_of("TorchJob.with_optimizer", "optimizer", optimizer, NAMED)
        if optimizer == self._optimizer:
            return self
        means_the_same = isinstance(self._optimizer, str) and (optimizer in DECOUPLED) == (self._optimizer in DECOUPLED)
        other = copy.copy(self)  # data and models are the same, and neither remembers a run
        vars(other).update(
            _optimizer=optimizer,
            _weight_decay=self._weight_decay if means_the_same else None,
            optimizer_name=optimizer,
            default_learning_rate=NAMED[optimizer][1],
            schedule=schedule_for(optimizer, self._given_schedule, self.total_steps, self.steps_per_epoch),
        )
        return other

    @property
    def epochs(self) -> float | None:
        """Passes over the training data in one real run; None for a stream of unknown length."""
        return self.total_steps / self._train.per_epoch if self._train.per_epoch else None

    @property
    def steps_per_epoch(self) -> int | None:
        """Optimizer steps in one pass over the training data; None for a stream of unknown length."""
        return self._train.per_epoch

    def start(self, learning_rate: float, *, seed: int) -> TorchRun:
        """Return a new run at step 0; the seed decides initial weights, data order and dropout."""
        with borrowed(self.device):
            model = self._models.new(seed)
            optimizer = build(self._optimizer, model, learning_rate, self._weight_decay)
            return TorchRun(model, optimizer, learning_rate, seed, Randomness.take(self.device), base=rates(optimizer))

    def advance(self, run: TorchRun, factors: Sequence[float]) -> list[float]:
        """Train one step per factor, at `factor` times the rate of each parameter group; return the training losses."""
        losses: list[Tensor] = []
        with borrowed(self.device), torch.enable_grad():
            run.randomness.give(self.device)
            if not run.model.training:  # a part that was put into evaluation mode by itself, a frozen norm, stays there
                run.model.train()
            for factor in factors:
                set_rates(run.optimizer, (base * factor for base in run.base))
                losses.append(self._step(run))
            run.randomness = Randomness.take(self.device)
        return [float(loss) for loss in torch.stack(losses).cpu()] if losses else []

    def evaluate(self, run: TorchRun) -> float:
        """Return the mean validation loss (or metric) over all validation samples."""
        judge, argument = (self._loss, "loss") if self._metric is None else (self._metric, "metric")
        total, samples = 0.0, 0
        with judging(run.model), evaluation(run.optimizer), borrowed(self.device), torch.no_grad():
            seeded(run.seed, self.device)
            for batch in self._val.batches(run.seed):
                n = samples_in(batch)
                total += n * _number(argument, judge(run.model, to_device(batch, self.device)))
                samples += n
        if samples == 0:
            raise refuse("TorchJob", "val", "no samples", "data with at least one sample")
        value = total / samples
        if self.goal == "min":
            return value
        if not (math.isnan(value) or 0.0 <= value <= 1.0):  # NaN passes: the search knows what it means
            allowed = f"'min' for a metric that is not between 0 and 1 (it was {value:g})"
            raise refuse("TorchJob", "goal", self.goal, allowed, "Return a value that falls as the model improves.")
        return 1.0 - value

    def fork(self, run: TorchRun) -> TorchRun:
        """Return an independent copy of the run, with the same future batches and the same future noise.

        Raises:
            JobError: the model can neither be copied nor be built anew and given its state.
        """
        with borrowed(self.device):
            model = self._models.twin(run.model, run.seed)
            optimizer = build(self._optimizer, model, run.learning_rate, self._weight_decay)
        optimizer.load_state_dict(copy.deepcopy(run.optimizer.state_dict()))
        randomness = copy.deepcopy(run.randomness)
        return TorchRun(model, optimizer, run.learning_rate, run.seed, randomness, base=list(run.base), step=run.step)

    def deliver(self, run: TorchRun) -> nn.Module:
        """Return the model of a run that is not trained on: of a Schedule-Free optimizer with the average in it."""
        if isinstance(run.optimizer, ScheduleFree):
            run.optimizer.eval()
        return run.model

    def save(self, run: TorchRun, path: Path) -> None:
        """Write weights, optimizer state, randomness and place in the data; read back with `weights_only=True`."""
        state = {
            "model": state_of(run.model),
            "optimizer": run.optimizer.state_dict(),
            "learning_rate": run.learning_rate,
            "seed": run.seed,
            "step": run.step,
            "base": run.base,
            "randomness": run.randomness.to_plain(),
        }
        torch.save(state, path)  # pyright: ignore[reportUnknownMemberType]

    def load(self, path: Path) -> TorchRun:
        """Return the run that `save` wrote."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        run = self.start(state["learning_rate"], seed=state["seed"])
        restore(run.model, state["model"])
        run.optimizer.load_state_dict(state["optimizer"])
        run.randomness = Randomness.from_plain(state["randomness"])
        run.step, run.base = int(state["step"]), list(state["base"])
        return run

    def describe(self) -> dict[str, Any]:
        """Return plain data that tells this job from another."""
        return {
            "kind": "TorchJob",
            "optimizer": self.optimizer_name,
            "weight_decay": self._weight_decay,
            "clip_norm": self.clip_norm,
            "batch_size": self.batch_size,
            "steps_per_epoch": self._train.per_epoch,
            "parameters": self._parameters,
            "model": self._fingerprint,
            "loss": getattr(self._loss, "__qualname__", type(self._loss).__name__),
            "judged_by": "loss" if self._metric is None else f"{self.goal} metric",
            **self._train.describe(),
            **self._val.describe(),
        }

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _step(self, run: TorchRun) -> Tensor:
        if run.batches is None:
            run.batches = self._train.stream(run.seed, run.step)
        batch = to_device(next(run.batches), self.device)
        run.optimizer.zero_grad(set_to_none=True)
        loss = _checked_loss(self._loss(run.model, batch))
        torch.autograd.backward(loss)
        if self.clip_norm is not None:
            # What the optimizer does not have keeps its gradient from step to step: it must not count.
            trained = [p for group in run.optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(trained, self.clip_norm)
        run.optimizer.step()
        run.step += 1
        return loss.detach().reshape(())


def _checked_loss(loss: object) -> Tensor:
    """Return a loss that can be differentiated, or say what to do about the one that cannot."""
    if isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad:
        return loss
    wanted = "a function that returns a tensor with one element, computed from the model's parameters"
    if isinstance(loss, Tensor) and loss.numel() == 1:
        got = "a tensor without gradient"
        cure = "Leave out .detach(), .item(), no_grad and argmax, and use the model that it is given."
    else:
        got, cure = _misfit(loss)
    raise refuse_type("TorchJob", "loss", _Shown(got), wanted, cure)


def _number(argument: str, value: object) -> float:
    """Return what a loss or a metric of a validation batch returned as a float, or raise."""
    if not isinstance(value, bool) and (
        value.numel() == 1 if isinstance(value, Tensor) else hasattr(value, "__float__")
    ):
        try:
            return float(cast("Any", value))
        except (TypeError, ValueError):  # an array with several elements
            pass
    got, cure = _misfit(value)
    raise refuse_type("TorchJob", argument, _Shown(got), "a function that returns one number per batch", cure)


def _misfit(value: object) -> tuple[str, str]:
    """Return in words what a loss function returned instead of a loss, and the cure."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}", "Take the mean, as with reduction='mean'."
    if value is None:
        return "None", "Does it end with `return`?"
    if isinstance(value, float | int):
        return f"{type(value).__name__} {value!r}", "Return the tensor itself: leave out .item() and float()."
    return f"a {type(value).__name__}", "Return the loss alone, as in `return output.loss`."


@dataclass(slots=True)
class _Shown:
    """What a user's function returned, shown in an error in words."""

    words: str

    def __repr__(self) -> str:
        return f"<returned {self.words}>"


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
