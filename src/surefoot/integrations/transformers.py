"""transformers' Trainer: a callback that owns the learning rate of its optimizer, and a Trainer as a job for `find`."""

# transformers is not always there when types are checked:
# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUntypedBaseClass=false
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from surefoot._errors import missing_extra
from surefoot.control import Controller
from surefoot.integrations._plan import Plan
from surefoot.schedules import Schedule
from surefoot.torch import TorchLearningRate

try:
    from transformers import TrainerCallback
except ImportError as _error:
    raise missing_extra("transformers", "transformers") from _error

from surefoot.integrations._trainer_job import TrainerJob

__all__ = ["LearningRateCallback", "TrainerJob"]

log = logging.getLogger("surefoot")

_KEY = "surefoot"  # in the trainer's state


class LearningRateCallback(TrainerCallback):
    """Let a schedule and controllers drive the learning rate of the optimizer that transformers' Trainer builds.

    Use it instead of `lr_scheduler_type` and `warmup_steps`. The Trainer always makes a scheduler of its own; while
    training goes on, that one only repeats what this says, so that the rates the Trainer logs are the true ones. The base
    rate is `TrainingArguments(learning_rate=...)`, the horizon the Trainer's; accumulated batches and steps that AMP
    skipped are no updates.

    Controllers read what the Trainer logs: `loss` every `logging_steps` updates, and the metrics of each evaluation, as
    `eval_loss`, which is there as `val_loss` too. The Trainer hides NaN losses unless `logging_nan_inf_filter=False`.
    When a controller asks to stop, the Trainer stops.

    Each decision is an entry `learning_rate_decision` of the Trainer's `state.log_history`. The state is in each
    checkpoint's trainer_state.json, so that `train(resume_from_checkpoint=True)` goes on with the rates the run would
    have had. A checkpoint between an epoch's last update and its evaluation lacks one reading, as the Trainer does not
    make up for it: let `save_strategy` be `eval_strategy`. Not for DeepSpeed, which keeps the optimizer to itself.

    Args:
        schedule: from `surefoot.schedules`; it multiplies the base rates.
        controllers: from `surefoot.control`.
        total_steps: the optimizer steps of the whole run, if not those that the Trainer says.
        run_dir: a folder for the decision log, which `surefoot show` reads.

    Attributes:
        learning_rate: the owner of the rate, as `surefoot.torch.drive` returns it; None before training begins.

    Raises:
        ArgumentError: a value that is not allowed. When training begins: the optimizer is driven already.
        ArgumentTypeError: a type that is not allowed.

    Examples:
        >>> from surefoot.control import Plateau
        >>> from surefoot.schedules import cosine_decay, linear_warmup
        >>> LearningRateCallback(linear_warmup("5%") >> cosine_decay(), [Plateau("eval_loss", patience=3)])
        LearningRateCallback(linear_warmup('5%') >> cosine_decay(), [Plateau('eval_loss', factor=0.1, patience=3)])
    """

    def __init__(
        self,
        schedule: Schedule,
        controllers: Iterable[Controller] = (),
        *,
        total_steps: int | None = None,
        run_dir: str | Path | None = None,
    ) -> None:
        self._plan = Plan(schedule, controllers, total_steps, run_dir)
        self.learning_rate: TorchLearningRate | None = None
        self._is_training = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Own the rate of the optimizer, from the state of the checkpoint if there is one."""
        del control
        self.learning_rate = rate = self._plan.begin(
            kwargs["optimizer"],
            state.max_steps if state.max_steps > 0 else None,
            _steps_per_epoch(kwargs.get("train_dataloader"), args.gradient_accumulation_steps),
            before=self.learning_rate,
            state=state.stateful_callbacks.get(_KEY),
        )
        _stand_in_for(kwargs["lr_scheduler"], rate)
        self._is_training = True
        self._keep(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take notice of an update."""
        del args, control, kwargs
        assert self.learning_rate is not None
        self.learning_rate.step()
        self._keep(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take no more readings."""
        del args, state, control, kwargs
        self._is_training = False

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the training loss to the controllers."""
        del args, kwargs
        if logs and "loss" in logs:
            self._observe(state, control, {n: v for n, v in logs.items() if n not in {"epoch", "learning_rate"}})

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Show the metrics of an evaluation to the controllers."""
        del args, kwargs
        if metrics and self._is_training:  # not where one calls `evaluate` by hand
            alias = {"val_loss": metrics["eval_loss"]} if "eval_loss" in metrics else {}
            self._observe(state, control, {**alias, **metrics})

    def _observe(self, state: Any, control: Any, metrics: Mapping[str, Any]) -> None:
        rate = self.learning_rate
        if rate is None:
            return
        decisions = rate.observe(metrics)
        for change in rate.changes[len(rate.changes) - len(decisions) :]:
            log.info("%s", change)
            state.log_history.append({"learning_rate_decision": str(change), "step": state.global_step})
        if rate.should_stop:
            control.should_training_stop = True
        self._keep(state)

    def _keep(self, state: Any) -> None:
        assert self.learning_rate is not None
        state.stateful_callbacks[_KEY] = self.learning_rate.state_dict()

    def __repr__(self) -> str:
        return f"LearningRateCallback({self._plan.schedule!r}, {list(self._plan.controllers)!r})"


def _steps_per_epoch(loader: Any, accumulated: int) -> int | None:
    """Return the updates of one pass over the data, as the Trainer counts them; None for data without a length."""
    try:
        return max(1, math.ceil(len(loader) / accumulated))
    except TypeError:
        return None


def _stand_in_for(scheduler: Any, rate: TorchLearningRate) -> None:
    """Let the Trainer's own scheduler answer with the rates of the owner, and write none.

    What it saves stays what it would have saved now: a checkpoint can be loaded into a scheduler of its kind.
    """
    state = scheduler.state_dict()
    scheduler.step = _do_nothing
    scheduler.get_last_lr = rate.get_last_lr
    scheduler.state_dict = lambda: state


def _do_nothing(metrics: object = None) -> None:
    """Stand in for the `step` of any scheduler, a ReduceLROnPlateau too."""
