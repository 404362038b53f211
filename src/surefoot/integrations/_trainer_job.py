"""A transformers Trainer as a job: its model, loss, optimizer and loaders, without its loop."""

# transformers is not always there when types are checked:
# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from surefoot._checks import refuse, refuse_type
from surefoot._errors import missing_extra
from surefoot.integrations._trained_elsewhere import first_of, optimizer_of
from surefoot.schedules import Schedule, constant, cosine_decay, linear_decay, linear_warmup
from surefoot.torch import TorchJob
from surefoot.torch._data import has_length
from torch import nn

try:
    from transformers import Trainer
except ImportError as _error:
    raise missing_extra("transformers", "transformers") from _error

_WHERE = "TrainerJob"
_DECAYS: dict[str, Callable[[], Schedule]] = {"linear": linear_decay, "cosine": cosine_decay}
_LEVEL = ("constant", "constant_with_warmup")


class TrainerJob(TorchJob):
    """A training run of a transformers Trainer, for `surefoot.find`.

    It takes the Trainer's model (or `model_init`), `compute_loss`, optimizer, data loaders and arguments, and trains
    copies of the model in a plain loop: forward, backward, clip, step. The Trainer's loop is not run: callbacks, logging,
    `compute_metrics` and checkpoints have no effect, and what it judges by is the mean loss of the evaluation data. The
    Trainer is left as it was. Do not use it for a run over several processes or devices, DeepSpeed, FSDP, float16 or
    accumulated gradients: they are refused. bfloat16 is trained under autocast.

    Args:
        trainer: a Trainer with training and evaluation data, before it has trained.
        schedule: of the real run; default what its arguments say (`lr_scheduler_type` linear, cosine or constant, with
            the warm-up); of any other kind it must be given.
        learning_rate: where the search starts; default `args.learning_rate`.
        name: for people; default the model's class name.

    Raises:
        ArgumentError: what the Trainer is set to is not supported.
        ArgumentTypeError: a type is not allowed.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        trainer: Any,
        *,
        schedule: Schedule | None = None,
        learning_rate: float | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(trainer, Trainer):
            raise refuse_type(_WHERE, "trainer", type(trainer).__name__, "a transformers.Trainer")
        args: Any = trainer.args
        _check(trainer)
        self._trainer = trainer
        source = _source(trainer)
        with _unprepared(trainer):
            train, val = trainer.get_train_dataloader(), trainer.get_eval_dataloader()
        total = _total_steps(args, train)
        optimizer = optimizer_of(_WHERE, lambda model: _optimizer(trainer, model), first_of(source))
        super().__init__(
            model=source,
            loss=self._compute_loss,
            train=train,
            val=val,
            total_steps=total,
            optimizer=optimizer,
            schedule=schedule if schedule is not None else _schedule(args, total),
            clip_norm=args.max_grad_norm or None,
            learning_rate=args.learning_rate if learning_rate is None else learning_rate,
            device=args.device,
            name=name,
        )
        self.optimizer_name = optimizer.name

    def describe(self) -> dict[str, Any]:
        """Return plain data that tells this job from another."""
        args: Any = self._trainer.args
        more = {"loss": type(self._trainer).__name__, "batch_size": args.train_batch_size, "bf16": bool(args.bf16)}
        more["weight_decay"] = args.weight_decay
        return {**super().describe(), "kind": "TrainerJob", **more}

    def _compute_loss(self, model: nn.Module, batch: Any) -> Any:
        is_bf16 = bool(self._trainer.args.bf16)
        with torch.autocast(self.device.type, torch.bfloat16) if is_bf16 else nullcontext():
            loss: Any = self._trainer.compute_loss(
                model, dict(batch)
            )  # which may take the labels out of what it is given
        return loss


def _check(trainer: Any) -> None:
    """Refuse what a plain loop in this process would not do as the Trainer does."""
    args = trainer.args
    alone = "a run in one process on one device"
    facts = (
        ("world_size", args.world_size, 1, alone, "Search in a process of its own, outside of the launcher."),
        ("n_gpu", max(1, args.n_gpu), 1, alone, "Let it see one GPU: CUDA_VISIBLE_DEVICES=0."),
        ("deepspeed", bool(getattr(args, "deepspeed", None)), False, "without DeepSpeed", "Search on one device."),
        ("fsdp", bool(getattr(args, "fsdp", None)), False, "without FSDP", "Search on one device."),
        ("fp16", bool(args.fp16), False, "float32 or bfloat16", "Set bf16=True, or neither."),
        (
            "gradient_accumulation_steps", args.gradient_accumulation_steps, 1, "1",
            "Raise per_device_train_batch_size for the search, if the memory allows it.",
        ),
    )  # fmt: skip
    for name, value, wanted, allowed, cure in facts:
        if value != wanted:
            raise refuse(_WHERE, f"trainer.args.{name}", value, allowed, cure)
    if trainer.optimizer is not None or trainer.lr_scheduler is not None:
        cure = "Give Trainer(optimizer_cls_and_kwargs=...), and no scheduler: copies of the model are trained."
        raise refuse(_WHERE, "trainer", "one with an optimizer of its own", "one that builds its optimizer", cure)
    for name in ("train_dataset", "eval_dataset"):
        if getattr(trainer, name) is None:
            raise refuse(_WHERE, f"trainer.{name}", None, "given", "A rate is judged by evaluation data.")
    if isinstance(trainer.eval_dataset, dict):
        cure = "Give the Trainer the one to judge by."
        raise refuse(_WHERE, "trainer.eval_dataset", sorted(trainer.eval_dataset), "one data set", cure)


def _source(trainer: Any) -> Callable[[], nn.Module]:
    """Return a function that makes a new model at each call."""
    if trainer.model_init is not None:
        return trainer.call_model_init
    return lambda: copy.deepcopy(trainer.model)


@contextmanager
def _unprepared(trainer: Any) -> Generator[None]:
    """Let the Trainer build plain loaders: those of accelerate count their epochs themselves, so no run could be copied."""
    accelerator: Any = trainer.accelerator
    vars(accelerator)["prepare"] = lambda *things, **_: things[0] if len(things) == 1 else things
    try:
        yield
    finally:
        del vars(accelerator)["prepare"]


def _optimizer(trainer: Any, model: nn.Module) -> Any:
    """Return the optimizer that the Trainer would build for a model, and leave the Trainer without it."""
    before = trainer.model
    trainer.model = model
    try:
        trainer.create_optimizer()
        return trainer.optimizer
    finally:
        trainer.model, trainer.optimizer = before, None


def _total_steps(args: Any, train: Any) -> int:
    if args.max_steps > 0:
        return int(args.max_steps)
    if not has_length(train):
        raise refuse(_WHERE, "trainer.args.max_steps", args.max_steps, "given for data of unknown length")
    return max(1, math.ceil(args.num_train_epochs * len(train)))


def _schedule(args: Any, total_steps: int) -> Schedule:
    """Return the schedule that the Trainer would use."""
    kind = str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type))
    if kind not in (*_DECAYS, *_LEVEL):
        cure = "Give `schedule`: sf.warmup_stable_decay(...) or its like."
        allowed = f"one of {', '.join((*_DECAYS, *_LEVEL))} without `schedule`"
        raise refuse(_WHERE, "trainer.args.lr_scheduler_type", kind, allowed, cure)
    if getattr(args, "lr_scheduler_kwargs", None):
        cure = "Give `schedule`."
        raise refuse(_WHERE, "trainer.args.lr_scheduler_kwargs", args.lr_scheduler_kwargs, "left out without it", cure)
    decay = _DECAYS[kind]() if kind in _DECAYS else constant()
    warmup = 0 if kind == "constant" else min(int(args.get_warmup_steps(total_steps)), total_steps)
    return linear_warmup(warmup) >> decay if 0 < warmup < total_steps else decay
