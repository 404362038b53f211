"""A training run of a torch model that the search can start, advance, evaluate and fork."""

from __future__ import annotations

import copy
import hashlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch.optim import Optimizer

import torch
from surefoot._checks import integer, number, one_of, refuse, refuse_type
from surefoot.schedules import Schedule, cosine_decay, linear_warmup
from surefoot.torch._data import Validation, samples_in, to_device, training_batches
from surefoot.torch._optimizers import NAMED, Factory, build
from surefoot.torch._random import Randomness, borrowed, seeded
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
    batches: Iterator[Any] | None = None  # of the present epoch; made again after a fork or a load


class TorchJob:
    """A training run of any torch model, for `surefoot.find`.

    Use it when you have a model, a loss and data. If your training loop is your own and cannot be taken apart, give it
    to `surefoot.FunctionJob` or to the command line instead.

    The model that you pass, its weights, and the global random states of torch, Python and NumPy are left as they were.

    Args:
        model: a function that returns a new `nn.Module` at each call (called under the trial's seed), or a module:
            then copies of it, with its weights, are trained (a fine-tune).
        loss: `loss(model, batch)` returns the mean loss of the batch, a tensor with one element.
        train: training data: a tuple of tensors with a common first dimension, a map-style dataset, or a DataLoader.
        val: validation data, in the same forms.
        batch_size: training samples per step; ignored for a DataLoader, which brings its own.
        optimizer: a name ("sgd", "sgd_momentum", "sgd_nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw",
            "nadam", "radam", "adamax") with torch's defaults, or a factory `(params, lr) -> torch.optim.Optimizer`.
        total_steps: optimizer steps of the real run.
        schedule: the schedule of the real run; default `linear_warmup("5%") >> cosine_decay()`.
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
        self.schedule = schedule if schedule is not None else linear_warmup("5%") >> cosine_decay()
        if not isinstance(self.schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance] - users have no type checker
            raise refuse_type(
                "TorchJob", "schedule", schedule, "a surefoot schedule", "Wrap a function in `sf.from_function`."
            )
        self.device = torch.device(device) if device is not None else _best_device()
        self._model, self._loss, self._metric, self._optimizer, self._weight_decay = (
            model,
            loss,
            metric,
            optimizer,
            weight_decay,
        )
        self._train = training_batches("TorchJob", train, self.batch_size)
        size = (
            4 * self.batch_size
            if val_batch_size is None
            else integer("TorchJob", "val_batch_size", val_batch_size, at_least=1)
        )
        self._val = Validation("TorchJob", val, size)
        self._seen: dict[int, weakref.ref[nn.Parameter]] = {}
        first = self.start(self.default_learning_rate, seed=0)
        self.name = name or type(first.model).__name__
        self._digest = _digest(first.model)
        self._parameters = sum(p.numel() for p in first.model.parameters())
        self.optimizer_name = optimizer if isinstance(optimizer, str) else type(first.optimizer).__name__

    @property
    def epochs(self) -> float:
        """Passes over the training data in one real run."""
        return self.total_steps / len(self._train)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training data."""
        return len(self._train)

    def start(self, learning_rate: float, *, seed: int) -> TorchRun:
        """Return a new run at step 0; the seed decides initial weights, data order and dropout."""
        with borrowed(self.device):
            seeded(seed)
            model = self._new_model().to(self.device)
            optimizer = self._new_optimizer(model, learning_rate)
            run = TorchRun(model, optimizer, learning_rate, seed, Randomness.take(self.device))
        run.base = [float(group["lr"]) for group in optimizer.param_groups]
        return run

    def advance(self, run: TorchRun, factors: Sequence[float]) -> list[float]:
        """Train one step per factor, at `factor` times the rate of each parameter group; return the training losses."""
        losses: list[Tensor] = []
        with borrowed(self.device):
            run.randomness.give(self.device)
            run.model.train()
            for factor in factors:
                for group, base in zip(run.optimizer.param_groups, run.base, strict=True):
                    _set_rate(group, base * factor)
                losses.append(self._step(run))
            run.randomness = Randomness.take(self.device)
        return torch.stack(losses).tolist() if losses else []

    def evaluate(self, run: TorchRun) -> float:
        """Return the mean validation loss (or metric) over all validation samples."""
        judge = self._metric or self._loss
        total, samples = 0.0, 0
        was_training = run.model.training
        run.model.eval()
        try:
            with borrowed(self.device), torch.no_grad():
                seeded(run.seed)
                for batch in self._val:
                    n = samples_in(batch)
                    total += n * float(judge(run.model, to_device(batch, self.device)))
                    samples += n
        finally:
            run.model.train(was_training)
        if samples == 0:
            raise refuse("TorchJob", "val", "no samples", "data with at least one sample")
        value = total / samples
        if self.goal == "max":
            if not (value != value or 0.0 <= value <= 1.0):  # noqa: PLR0124 - NaN passes: the search knows what it means
                raise refuse(
                    "TorchJob",
                    "goal",
                    self.goal,
                    f"'min' for a metric that is not between 0 and 1 (it was {value:g})",
                    "Return a value that falls as the model improves.",
                )
            return 1.0 - value
        return value

    def fork(self, run: TorchRun) -> TorchRun:
        """Return an independent copy of the run, with the same future batches and the same future noise."""
        try:
            model = copy.deepcopy(run.model)
        except Exception:  # noqa: BLE001 - a lock, a handle, a non-leaf tensor: build a new model and give it the weights
            with borrowed(self.device):
                seeded(run.seed)
                model = self._new_model().to(self.device)
            model.load_state_dict(run.model.state_dict())
        optimizer = self._new_optimizer(model, run.learning_rate)
        optimizer.load_state_dict(copy.deepcopy(run.optimizer.state_dict()))
        return TorchRun(
            model, optimizer, run.learning_rate, run.seed, copy.deepcopy(run.randomness), list(run.base), run.step
        )

    def save(self, run: TorchRun, path: Path) -> None:
        """Write weights, optimizer state, randomness and place in the data; read back with `weights_only=True`."""
        torch.save(
            {
                "model": run.model.state_dict(),
                "optimizer": run.optimizer.state_dict(),
                "learning_rate": run.learning_rate,
                "seed": run.seed,
                "step": run.step,
                "base": run.base,
                "randomness": run.randomness.to_plain(),
            },
            path,
        )

    def load(self, path: Path) -> TorchRun:
        """Return the run that `save` wrote."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        run = self.start(state["learning_rate"], seed=state["seed"])
        run.model.load_state_dict(state["model"])
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
            "steps_per_epoch": len(self._train),
            "parameters": self._parameters,
            "model": self._digest,
            "judged_by": "loss" if self._metric is None else f"{self.goal} metric",
        }

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _step(self, run: TorchRun) -> Tensor:
        batch = to_device(self._next_batch(run), self.device)
        run.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(run.model, batch)
        if not isinstance(loss, Tensor) or loss.numel() != 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            shown = tuple(loss.shape) if isinstance(loss, Tensor) else loss  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type(
                "TorchJob", "loss", shown, "a function that returns a tensor with one element", "Take the mean."
            )
        if not loss.requires_grad:
            raise refuse(
                "TorchJob",
                "loss",
                "a loss without gradient",
                "a function of the model's parameters",
                "Compute it from model(batch), without .detach(), .item() or no_grad.",
            )
        loss.backward()
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(run.model.parameters(), self.clip_norm)
        run.optimizer.step()
        run.step += 1
        return loss.detach().reshape(())

    def _next_batch(self, run: TorchRun) -> Any:
        epoch, done = divmod(run.step, len(self._train))
        if run.batches is None or done == 0:
            run.batches = self._train.epoch(run.seed, epoch, done)
        return next(run.batches)

    def _new_model(self) -> nn.Module:
        if isinstance(self._model, nn.Module):
            try:
                return copy.deepcopy(self._model)
            except Exception as error:
                raise refuse_type(
                    "TorchJob",
                    "model",
                    type(self._model).__name__,
                    f"a module that can be copied ({error})",
                    "Pass a function that builds it instead.",
                ) from error
        model = self._model()
        if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type("TorchJob", "model", model, "a function that returns an nn.Module")
        parameters = list(model.parameters())
        if any((seen := self._seen.get(id(p))) is not None and seen() is p for p in parameters):
            raise refuse(
                "TorchJob",
                "model",
                self._model,
                "a function that returns a new module at each call",
                "It returned parameters that it had returned before: build the model inside the function, or "
                "pass the module itself, and copies of it are trained.",
            )
        self._seen.update({id(p): weakref.ref(p) for p in parameters})
        if not any(p.requires_grad for p in parameters):
            raise refuse("TorchJob", "model", type(model).__name__, "a module with at least one trainable parameter")
        return model

    def _new_optimizer(self, model: nn.Module, learning_rate: float) -> Optimizer:
        parameters: Iterable[nn.Parameter] = [p for p in model.parameters() if p.requires_grad]
        if isinstance(self._optimizer, str):
            return build(self._optimizer, parameters, learning_rate, self._weight_decay)
        optimizer = self._optimizer(parameters, learning_rate)
        if not isinstance(optimizer, Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type("TorchJob", "optimizer", optimizer, "a factory that returns a torch.optim.Optimizer")
        return optimizer


def _set_rate(group: dict[str, Any], rate: float) -> None:
    """Write a rate where the optimizer reads it; a tensor is filled in place, so that compiled steps stay compiled."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _digest(model: nn.Module) -> str:
    """Return a short hash of names, shapes and (roughly) weights: enough to tell two jobs apart."""
    parts = [f"{n}:{tuple(p.shape)}:{float(p.detach().double().abs().sum()):.6e}" for n, p in model.named_parameters()]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
