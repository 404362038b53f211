"""A Lightning module as a job: its own steps, optimizer and loaders, without Lightning's loop."""

# Lightning is not always there when types are checked:
# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUntypedBaseClass=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from surefoot._checks import refuse, refuse_type
from surefoot._errors import JobError, missing_extra
from surefoot.integrations._trained_elsewhere import first_of, optimizer_of
from surefoot.schedules import Schedule
from surefoot.torch import TorchJob
from surefoot.torch._data import to_device
from surefoot.torch._models import judging
from surefoot.torch._random import CPU, borrowed
from torch import Tensor, nn

try:
    from lightning.pytorch import LightningDataModule, LightningModule
except ImportError:
    try:  # the same under its older name
        from pytorch_lightning import LightningDataModule, LightningModule
    except ImportError as _error:
        raise missing_extra("lightning", "lightning") from _error

_WHERE = "LightningJob"


class LightningJob(TorchJob):
    """A training run of a Lightning module, for `surefoot.find`.

    It takes the module's `training_step`, `validation_step` and `configure_optimizers`, and the loaders of a data module,
    and trains copies of the module in a plain loop: forward, backward, clip, step. Lightning's loop is not run, so other
    hooks (`on_train_batch_start`, `optimizer_step`, `configure_gradient_clipping` ...), callbacks, loggers, precision
    plugins and strategies have no effect; `self.log` is heard by the judge only. The batch index that the steps are given
    is always 0, `current_epoch` and `global_step` too. Do not use it for manual optimization, several optimizers, or a
    step that needs `self.trainer`: they are refused.

    Args:
        module: a LightningModule, copies of which are trained with its weights, or a function that returns a new one.
        data: a LightningDataModule, or a pair (train, val), each in a form that `TorchJob` takes; left out: the module's
            own `train_dataloader` and `val_dataloader`.
        total_steps: optimizer steps of the real run.
        monitor: the name under which `validation_step` logs what is judged; left out: `val_loss`, if it logs that, else
            the loss that it returns. A module without `validation_step` is judged by its `training_step`.
        goal: "min", or "max" for a metric between 0 and 1.
        schedule: of the real run; default `linear_warmup("5%") >> cosine_decay()`. Give it where `configure_optimizers`
            returns a scheduler as well, which it stands for.
        clip_norm: what the trainer's `gradient_clip_val` is.
        learning_rate: where the search starts; default that of the module's optimizer. Its parameter groups keep the
            ratios of their rates.
        batch_size: for data that are no loaders.
        device: where to train; default the first of cuda, mps, cpu that is there.
        name: for people; default the module's class name.

    Raises:
        ArgumentError: a value is not allowed.
        ArgumentTypeError: a type is not allowed.
        JobError: a step needs Lightning's trainer.

    Example:
        >>> import surefoot as sf, torch
        >>> from lightning.pytorch import LightningModule
        >>> class Line(LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.line = torch.nn.Linear(1, 1)
        ...     def training_step(self, batch, batch_idx):
        ...         return (self.line(batch[0]) - batch[1]).square().mean()
        ...     def validation_step(self, batch, batch_idx):
        ...         self.log("val_loss", self.training_step(batch, batch_idx))
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.01)
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> job = LightningJob(Line(), ((x, 2 * x), (x, 2 * x)), total_steps=300)
        >>> found = sf.find(job)
        >>> 0.02 < found.learning_rate
        True

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        module: Any,
        data: Any = None,
        *,
        total_steps: int,
        monitor: str | None = None,
        goal: Literal["min", "max"] = "min",
        schedule: Schedule | None = None,
        clip_norm: float | None = None,
        learning_rate: float | None = None,
        batch_size: int = 32,
        device: str | torch.device | None = None,
        name: str | None = None,
    ) -> None:
        source = _source(module)
        if monitor is not None and not isinstance(monitor, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type(_WHERE, "monitor", monitor, "the name of what validation_step logs")
        first: Any = first_of(source)
        _check_module(first)
        train, val = _loaders(data, first)
        make = _optimizer_maker(has_schedule=schedule is not None)
        self._monitor = monitor
        super().__init__(
            model=source,
            loss=_training_loss,
            train=train,
            val=val,
            total_steps=total_steps,
            batch_size=batch_size,
            optimizer=(optimizer := optimizer_of(_WHERE, make, first)),
            schedule=schedule,
            metric=self._judge,
            goal=goal,
            clip_norm=clip_norm,
            learning_rate=optimizer.usual if learning_rate is None else learning_rate,
            device=device,
            name=name,
        )
        self.optimizer_name = optimizer.name
        self._try(first.to(self.device))

    def describe(self) -> dict[str, Any]:
        """Return plain data that tells this job from another."""
        judged_by = f"{self.goal} {self._monitor or 'val_loss'}"
        return {**super().describe(), "kind": "LightningJob", "judged_by": judged_by}

    def _judge(self, model: Any, batch: Any) -> Any:
        """Return what a validation batch is judged by."""
        if not _has(model, "validation_step"):
            with _heard(model):
                return _loss_in(model.training_step(*_given(model.training_step, batch)))
        with _heard(model) as logged:
            returned = model.validation_step(*_given(model.validation_step, batch))
        name = self._monitor or "val_loss"
        if name in logged:
            value = logged[name]
            if not isinstance(value, Tensor | int | float):
                cure = "Log its number: `self.log(name, metric(outputs, targets))`."
                raise refuse(_WHERE, "monitor", f"{name} is a {type(value).__name__}", "a number of one batch", cure)
            return value
        value = _loss_in(returned)
        if self._monitor is None and value is not None:
            return value
        names = ", ".join(sorted(logged)) or "nothing"
        cure = f"validation_step logged {names}."
        raise refuse(_WHERE, "monitor", self._monitor, "a name that validation_step logs for each batch", cure)

    def _try(self, model: Any) -> None:
        """Run one batch of each kind, so that what does not fit is said now."""
        try:
            with borrowed(self.device), torch.no_grad():
                model.train()
                batch = next(self._train.stream(0, 0))
                _training_loss(model, to_device(batch, self.device))
                with judging(model):
                    self._judge(model, to_device(next(iter(self._val.batches(0))), self.device))
        except RuntimeError as error:
            if "not attached to a" not in str(error):
                raise
            cure = "Leave `self.trainer` out of the steps, or guard it by `if self._trainer is not None`."
            raise JobError(f"{self.name!r}: a step needs Lightning's trainer, which is not run here. {cure}") from error


def _source(module: Any) -> Callable[[], nn.Module]:
    """Return a function that makes a new module at each call, detached from any trainer."""
    if isinstance(module, LightningModule):
        return lambda: _copied(module)
    if isinstance(module, nn.Module) or not callable(module):
        cure = "Pass an instance, its class, or a function: `lambda: MyModule(...)`."
        raise refuse_type(_WHERE, "module", module, "a LightningModule, or a function that returns a new one", cure)

    def built() -> nn.Module:
        made: Any = module()
        if not isinstance(made, LightningModule):
            raise refuse_type(_WHERE, "module", type(made).__name__, "a function that returns a LightningModule")
        return made

    return built


def _copied(module: Any) -> nn.Module:
    trainer = module._trainer  # noqa: SLF001 - a copy of it would copy loggers, loaders and the like
    if trainer is None:
        return copy.deepcopy(module)
    module.trainer = None
    try:
        return copy.deepcopy(module)
    finally:
        module.trainer = trainer


def _check_module(module: Any) -> None:
    kind = type(module).__name__
    if not module.automatic_optimization:
        cure = "Give its training loop to surefoot.FunctionJob."
        raise refuse(_WHERE, "module", kind, "one with automatic optimization", cure)
    for needed in ("training_step", "configure_optimizers"):
        if not _has(module, needed):
            raise refuse(_WHERE, "module", kind, f"one that defines {needed}")


def _has(module: Any, method: str) -> bool:
    return getattr(type(module), method, None) is not getattr(LightningModule, method, None)


def _loaders(data: Any, module: Any) -> tuple[Any, Any]:
    """Return training and validation data."""
    if data is None:
        if not (_has(module, "train_dataloader") and _has(module, "val_dataloader")):
            cure = "Give a LightningDataModule, or a pair (train, val)."
            raise refuse(_WHERE, "data", None, "left out only where the module has both loaders itself", cure)
        data = module
    if isinstance(data, tuple) and len(data) == 2:
        return data
    if not isinstance(data, LightningDataModule | LightningModule):
        raise refuse_type(_WHERE, "data", data, "a LightningDataModule, or a pair (train, val)")
    source: Any = data
    with borrowed(CPU):
        source.prepare_data()
        source.setup("fit")
        return _one("train_dataloader", source.train_dataloader()), _one("val_dataloader", source.val_dataloader())


def _one(where: str, loaders: Any) -> Any:
    if isinstance(loaders, list | tuple) and len(loaders) == 1:
        return loaders[0]
    if not isinstance(loaders, torch.utils.data.DataLoader):
        cure = "A search judges by one set of data; give the pair (train, val)."
        raise refuse_type(_WHERE, where, type(loaders).__name__, "a function that returns one DataLoader", cure)
    return loaders


def _optimizer_maker(*, has_schedule: bool) -> Callable[[Any], Any]:
    def make(model: Any) -> Any:
        return _only_optimizer(model.configure_optimizers(), has_schedule=has_schedule)

    return make


def _only_optimizer(configured: Any, *, has_schedule: bool) -> Any:
    """Return the optimizer in what `configure_optimizers` returned; a scheduler beside it only if another stands for it."""
    schedulers: Any = None
    if isinstance(configured, Mapping):
        configured, schedulers = configured.get("optimizer"), configured.get("lr_scheduler")
    elif isinstance(configured, tuple) and len(configured) == 2 and isinstance(configured[0], list | tuple):
        configured, schedulers = configured
    if isinstance(configured, list | tuple):
        if len(configured) != 1:
            cure = "Give its training loop to surefoot.FunctionJob."
            raise refuse(_WHERE, "configure_optimizers", len(configured), "one that returns one optimizer", cure)
        configured = configured[0]
    if schedulers and not has_schedule:
        cure = "Give `schedule`, which stands for it: `sf.linear_warmup('5%') >> sf.cosine_decay()` or its like."
        raise refuse(_WHERE, "schedule", None, "given where configure_optimizers returns a scheduler", cure)
    return configured


def _training_loss(model: Any, batch: Any) -> Any:
    with _heard(model):
        return _loss_in(model.training_step(*_given(model.training_step, batch)))


def _loss_in(returned: Any) -> Any:
    return returned.get("loss") if isinstance(returned, Mapping) else returned


def _given(step: Callable[..., Any], batch: Any) -> tuple[Any, ...]:
    """Return the arguments of a step: the batch, and indices if it takes any."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in inspect.signature(step).parameters.values() if p.kind in kinds and p.default is p.empty]
    return (batch, *[0] * (len(needed) - 1))


@contextmanager
def _heard(model: Any) -> Generator[dict[str, Any]]:
    """Hear what the module logs, instead of Lightning."""
    logged: dict[str, Any] = {}

    def log(name: str, value: Any, *_: Any, **__: Any) -> None:
        logged[name] = value

    def log_dict(values: Mapping[str, Any], *_: Any, **__: Any) -> None:
        logged.update(values)

    vars(model).update(log=log, log_dict=log_dict)
    try:
        yield logged
    finally:
        del vars(model)["log"], vars(model)["log_dict"]
