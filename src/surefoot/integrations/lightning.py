"""Lightning: a callback that owns the learning rate of the module's optimizer, and a module as a job for `find`."""

# Lightning is not always there when types are checked:
# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUntypedBaseClass=false
# pyright: reportIncompatibleMethodOverride=false, reportGeneralTypeIssues=false

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from surefoot._checks import refuse
from surefoot._errors import missing_extra
from surefoot.control import Controller
from surefoot.control._controller import product
from surefoot.integrations._plan import Plan
from surefoot.schedules import Schedule
from surefoot.torch import TorchLearningRate

try:
    from lightning.pytorch import Callback
    from lightning.pytorch.utilities import rank_zero_info
except ImportError:
    try:  # the same under its older name
        from pytorch_lightning import Callback
        from pytorch_lightning.utilities import rank_zero_info
    except ImportError as _error:
        raise missing_extra("lightning", "lightning") from _error

from surefoot.integrations._lightning_job import LightningJob

__all__ = ["LearningRateCallback", "LightningJob"]


class LearningRateCallback(Callback):
    """Let a schedule and controllers drive the learning rate of a Lightning module's optimizer.

    Use it where the rate shall be no part of the module: `configure_optimizers` returns one optimizer and no scheduler.
    The horizon is the trainer's, so open lengths ("5%", "3 epochs") are those of the fit; accumulated batches and steps
    that AMP skipped are no updates.

    Controllers read `loss`, the mean training loss since the last reading, every `log_every_n_steps` updates, and what
    the module has logged, as `val_loss`, at the end of each validation; of each epoch where there is none. In a
    distributed run they see the mean over the ranks. When one asks to stop, the trainer stops.

    The trainer's loggers get `learning_rate` (`learning_rate_0`... of several parameter groups), and with controllers
    `learning_rate_factor`, what they multiply it with; decisions are said through Lightning's own messages. The state is
    in every checkpoint of the trainer, so that `fit(ckpt_path=...)` goes on with the rates the run would have had. A fit
    without one is a new run. A checkpoint between an epoch's last update and its validation lacks one reading: Lightning
    does not make up for that validation. Let ModelCheckpoint save at the end of validation or epoch, or within epochs.

    Args:
        schedule: from `surefoot.schedules`; it multiplies the base rates, those the optimizer is built with.
        controllers: from `surefoot.control`.
        total_steps: the optimizer steps of the whole run, where the trainer does not know them.
        run_dir: a folder for the decision log, which `surefoot show` reads.

    Attributes:
        learning_rate: the owner of the rate, as `surefoot.torch.drive` returns it; None before training begins.

    Raises:
        ArgumentError: a value that is not allowed. When training begins: several optimizers, another scheduler, or a
            length that is not known.
        ArgumentTypeError: a type that is not allowed.

    Examples:
        >>> from surefoot.control import Plateau
        >>> from surefoot.schedules import cosine_decay, linear_warmup
        >>> LearningRateCallback(linear_warmup("5%") >> cosine_decay(), [Plateau("val_loss", patience=3)])
        LearningRateCallback(linear_warmup('5%') >> cosine_decay(), [Plateau('val_loss', factor=0.1, patience=3)])
    """

    def __init__(
        self,
        schedule: Schedule,
        controllers: Iterable[Controller] = (),
        *,
        total_steps: int | None = None,
        run_dir: str | Path | None = None,
    ) -> None:
        super().__init__()
        self._plan = Plan(schedule, controllers, total_steps, run_dir)
        self.learning_rate: TorchLearningRate | None = None
        self._loaded: dict[str, Any] | None = None
        self._loss: Any = 0.0  # the sum since the last reading, on its device
        self._batches = 0
        self._is_validated = False  # in this epoch

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Own the rate of the optimizer, from the state of the checkpoint if there is one."""
        del pl_module
        if len(trainer.optimizers) != 1:
            cure = "Use `surefoot.torch.drive` for each of them in `configure_optimizers`."
            raise refuse("LearningRateCallback", "optimizers", len(trainer.optimizers), "one", cure)
        if trainer.lr_scheduler_configs:
            there = trainer.lr_scheduler_configs[0].scheduler
            cure = "Return only the optimizer, or leave the callback out."
            raise refuse("configure_optimizers", "lr_scheduler", there, "left out: the callback owns the rate", cure)
        total, batches = trainer.estimated_stepping_batches, trainer.num_training_batches
        self.learning_rate = self._plan.begin(
            trainer.optimizers[0],
            int(total) if 0 < total < math.inf else None,
            math.ceil(batches / trainer.accumulate_grad_batches) if 0 < batches < math.inf else None,
            before=self.learning_rate,
            state=self._loaded,
        )
        self._loaded, self._loss, self._batches = None, 0.0, 0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to look out for a validation."""
        del trainer, pl_module
        self._is_validated = False

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take notice of an update: log its rate, and show the loss to the controllers."""
        del batch, batch_idx
        rate = self.learning_rate
        assert rate is not None
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, torch.Tensor):
            # Lightning has divided it, by what `backward` needs.
            self._loss = self._loss + loss.detach() * (
                trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
            )
            self._batches += 1
        used, factor, before = rate.learning_rates, product(rate.controllers), rate.step_count
        rate.step()
        if rate.step_count == before or rate.step_count % max(1, trainer.log_every_n_steps):
            return
        names = ["learning_rate"] if len(used) == 1 else [f"learning_rate_{i}" for i in range(len(used))]
        metrics = dict(zip(names, used, strict=True))
        if rate.controllers:
            metrics["learning_rate_factor"] = factor
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=rate.step_count - 1)
        if self._batches:
            self._observe(trainer, {"loss": self._loss / self._batches})
        self._loss, self._batches = 0.0, 0

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Show the metrics to the controllers."""
        del pl_module
        if self.learning_rate is not None and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._is_validated = True
            self._observe_logged(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Show the metrics to the controllers, if no validation has done so."""
        del pl_module
        if not self._is_validated:
            self._observe_logged(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the rate as plain data; it goes into the trainer's checkpoints."""
        return dict(self._loaded or {}) if self.learning_rate is None else self.learning_rate.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a state for when training begins."""
        self._loaded = dict(state_dict) or None

    def _observe_logged(self, trainer: Any) -> None:
        metrics = {name: value for name, value in trainer.callback_metrics.items() if name != "loss"}
        if metrics:
            self._observe(trainer, metrics)

    def _observe(self, trainer: Any, metrics: Mapping[str, Any]) -> None:
        rate = self.learning_rate
        assert rate is not None
        decisions = rate.observe(metrics)
        for change in rate.changes[len(rate.changes) - len(decisions) :]:
            rank_zero_info(str(change))
        if rate.should_stop:
            trainer.should_stop = True

    def __repr__(self) -> str:
        return f"LearningRateCallback({self._plan.schedule!r}, {list(self._plan.controllers)!r})"
