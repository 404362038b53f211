"""Where a Keras optimizer keeps its learning rates, and how they are read and written there."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import keras
from surefoot.keras._schedules import PerUpdate
from surefoot.keras._step import InStep, RuleStep

HostSchedule: Any = keras.optimizers.schedules.LearningRateSchedule
registered: Any = keras.saving.register_keras_serializable(package="surefoot")


@registered
class Scaled(HostSchedule):
    """A schedule of Keras times a factor: what a controller makes of an optimizer that was built with a schedule."""

    def __init__(self, schedule: Any, factor: float) -> None:
        super().__init__()
        self.schedule = schedule
        self.factor = factor

    def __call__(self, step: Any) -> Any:
        """Return the scaled rate."""
        return self.schedule(step) * self.factor

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras saves them."""
        return {"schedule": keras.optimizers.schedules.serialize(self.schedule), "factor": self.factor}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Scaled:
        """Return the schedule of saved arguments."""
        return cls(keras.optimizers.schedules.deserialize(config["schedule"]), config["factor"])


@registered
class ScaledPerUpdate(Scaled, PerUpdate):
    """The same of a schedule that follows updates."""


def leaves(optimizer: Any) -> list[Any]:
    """Return the optimizers that have a rate of their own: those inside a LossScaleOptimizer or a MultiOptimizer."""
    if hasattr(optimizer, "inner_optimizer"):
        return leaves(optimizer.inner_optimizer)
    if hasattr(optimizer, "optimizers"):
        return [leaf for inner in optimizer.optimizers for leaf in leaves(inner)]
    return [optimizer]


def log_names(optimizer: Any) -> list[str]:
    """Return for each leaf the name of its rate in the logs, as Keras has them."""
    found = leaves(optimizer)
    return [f"learning_rate_{leaf.name}" for leaf in found] if hasattr(optimizer, "optimizers") else ["learning_rate"]


def number_of(value: Any) -> float:
    """Return a variable's or tensor's value."""
    if type(value) is float:
        return value
    array: Any = keras.ops.convert_to_numpy(value)
    return float(array)


def host_schedule(leaf: Any) -> Any:
    """Return the schedule of Keras that an optimizer was built with, or None."""
    rate = leaf._learning_rate  # noqa: SLF001 - the one place where a variable and a schedule can be told apart
    if isinstance(rate, Scaled):
        return rate.schedule
    return rate if isinstance(rate, HostSchedule) else None


def latest_host_rate(leaf: Any) -> float:
    """Return what the optimizer's own schedule said for the latest update."""
    schedule = host_schedule(leaf)
    follows_updates = isinstance(schedule, PerUpdate) and isinstance(leaf, RuleStep)
    count = number_of(leaf.iterations if follows_updates else leaf._iterations)  # noqa: SLF001 - Keras' schedules see batches
    return number_of(schedule(max(0, int(count) - 1)))


def is_settable(leaf: Any) -> bool:
    """Whether the rate is a variable."""
    return isinstance(leaf._learning_rate, keras.Variable)  # noqa: SLF001


def raw_rate(leaf: Any) -> float:
    """Return what the optimizer holds: its variable, or the factor on its own schedule."""
    rate = leaf._learning_rate  # noqa: SLF001
    if host_schedule(leaf) is not None:
        return rate.factor if isinstance(rate, Scaled) else 1.0
    return number_of(rate)


def write_raw(leaf: Any, value: float) -> bool:
    """Set what `raw_rate` returns; return whether the compiled step must be made anew for it."""
    schedule = host_schedule(leaf)
    if schedule is None:
        leaf._learning_rate.assign(value)  # noqa: SLF001
        return False
    if value == raw_rate(leaf):
        return False
    leaf.learning_rate = (ScaledPerUpdate if isinstance(schedule, PerUpdate) else Scaled)(schedule, value)
    return True


def put_in_step(leaf: Any, in_step: InStep | None) -> bool:
    """Let an optimizer of ours compute a schedule in its step; return whether the step must be made anew for it."""
    if getattr(leaf, "in_step", None) == in_step:
        return False
    leaf.in_step = in_step
    return True


def can_hold_schedule(optimizer: Any) -> bool:
    """Whether all rates are variables of optimizers of ours."""
    return all(isinstance(leaf, RuleStep) and is_settable(leaf) for leaf in leaves(optimizer))


def accumulation(leaf: Any) -> int:
    """Return how many batches make one update."""
    return leaf.gradient_accumulation_steps or 1


def say(message: str) -> None:
    """Print as Keras prints: to the screen, or into the log where interactive logging is off."""
    if keras.config.is_interactive_logging_enabled():
        sys.stdout.write(message + "\n")
        sys.stdout.flush()
    else:
        logging.getLogger("absl").info(message)


def present_rate(leaf: Any) -> float:
    """Return the rate of the next update, or the factor on an optimizer's own schedule.

    Where a schedule in the step has ended at 0, it is what that schedule multiplies.
    """
    return raw_rate(leaf) if host_schedule(leaf) is not None else number_of(leaf.learning_rate) or raw_rate(leaf)


def leaves_of(model: Any) -> list[Any]:
    """Return the optimizers of a model that have a rate of their own."""
    return leaves(model.optimizer)


def updates(found: Sequence[Any]) -> int:
    """Return how many updates have been made; under accumulation not each batch makes one."""
    return int(max(number_of(leaf.iterations) for leaf in found))  # one of several may have no variables


def batches(found: Sequence[Any]) -> int:
    """Return how many batches have been seen."""
    return int(max(number_of(leaf._iterations) for leaf in found))  # noqa: SLF001 - `iterations` are updates


def rounded(rates: Sequence[float]) -> list[float]:
    """Return rates as the variables of optimizers hold them."""
    return [float(np.float32(rate)) for rate in rates]


def metrics_of(logs: Any) -> dict[str, float]:
    """Return what in the logs is a number, as floats."""
    found: dict[str, float] = {}
    for name, value in (logs or {}).items():
        try:
            found[name] = number_of(value)
        except (TypeError, ValueError):  # a metric of several numbers is none that one can monitor
            continue
    return found


def make_step_anew(model: Any) -> None:
    """Let the next batch compile the step again."""
    model.make_train_function(force=True)
