"""Keras' ReduceLROnPlateau: its counting, texts and logs, as a controller of the one learning rate."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np

from surefoot._checks import integer, nearest, number, one_of, refuse, refuse_type
from surefoot._errors import ArgumentError, SurefootWarning
from surefoot.control import Decision, Plateau
from surefoot.keras._callbacks import RateCallback, check_verbose, missing_monitor
from surefoot.keras._rates import host_schedule, leaves_of, number_of, say
from surefoot.learning_rate import Change

_OLD_METRICS = {"acc": "accuracy", "val_acc": "val_accuracy"}


class ReduceLROnPlateau(RateCallback):
    """Reduce the learning rate when a metric has stopped improving: `keras.callbacks.ReduceLROnPlateau`.

    Use it where the length of the run is open. It counts, prints and logs as Keras'; but a NaN never becomes the best,
    it works with an optimizer that was built with a schedule, it multiplies with our `LearningRateScheduler` instead of
    being overwritten by it, its counts survive a crash (see `LearningRateControl`), and what cannot work is said.

    Args:
        monitor: the metric.
        factor: in (0, 1).
        patience: epochs in a row without gain that are borne; 0 is 1, as in Keras.
        verbose: 1 prints each reduction.
        mode: "min", "max", or "auto": down for a loss, and for a metric as the metric says.
        min_delta: the least gain that counts.
        cooldown: epochs after a reduction; as in Keras, one less than that are not counted.
        min_lr: the rate is not lowered below it.
        relative: `min_delta` is a share of the best; None for as `style` has it.
        per: "epoch", or "step": patience and cooldown count batches, whose logs are Keras' running means of the epoch;
            on JAX that waits for each batch.
        restore_best_weights: go back to the weights of the best epoch with each reduction.
        stop_after: so many reductions without gain, and the next stops the training; None for never.
        style: "keras", or "torch": patience and cooldown count as in torch, and `min_delta` is relative.

    Attributes:
        best: the best value so far, or None.
        wait: epochs in a row without gain.
        cooldown_counter: how many of the next epochs are not counted.

    Raises:
        ArgumentError: a value or name that is not allowed; in a fit, a metric of which no direction is known.
        ArgumentTypeError: a type that is not allowed.

    Examples:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> plateau = ReduceLROnPlateau("loss", factor=0.5, patience=2)
        >>> log = model.fit(np.zeros((4, 1)), np.zeros(4), epochs=4, verbose=0, callbacks=[plateau])
        >>> print(np.round(log.history["learning_rate"], 4))
        [0.01  0.01  0.01  0.005]
        >>> ReduceLROnPlateau(patince=2)
        Traceback (most recent call last):
        surefoot._errors.ArgumentError: `ReduceLROnPlateau(patince=2)`: patince must be left out: there is no such argument. Did you mean 'patience'?
    """

    is_lasting = False

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        *,
        relative: bool | None = None,
        per: str = "epoch",
        restore_best_weights: bool = False,
        stop_after: int | None = None,
        style: str = "keras",
        **others: Any,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        if "epsilon" in others:
            min_delta = others.pop("epsilon")
            text = f"`{where}`: `epsilon` is the old name of `min_delta`. Write `min_delta={min_delta!r}`."
            warnings.warn(text, SurefootWarning, stacklevel=2)
        for name, value in others.items():
            known = list(inspect.signature(ReduceLROnPlateau).parameters)[:-1]
            raise refuse(where, name, value, "left out: there is no such argument", nearest(name, known))
        self.verbose = check_verbose(where, verbose)
        self.mode = one_of(where, "mode", mode, ("auto", "min", "max"))
        self.style = one_of(where, "style", style, ("keras", "torch"))
        if relative is not None and not isinstance(relative, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type(where, "relative", relative, "True, False or None")
        if not isinstance(restore_best_weights, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type(where, "restore_best_weights", restore_best_weights, "True or False")
        if not (isinstance(monitor, str) and monitor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type(where, "monitor", monitor, "the name of a metric")
        if one_of(where, "per", per, ("epoch", "step")) == "step":
            if monitor.startswith("val_"):
                cure = "A validation happens once an epoch."
                raise refuse(where, "monitor", monitor, "a metric of training where per='step'", cure)
            self.read_batches()
        is_torch = self.style == "torch"
        self.patience = integer(where, "patience", patience, at_least=0)
        self.cooldown = integer(where, "cooldown", cooldown, at_least=0)
        self.factor = number(where, "factor", factor, above=0, below=1, cure="0.5 halves the rate.")
        self.min_delta = number(where, "min_delta", min_delta, at_least=0)
        self.min_lr = number(where, "min_lr", min_lr, at_least=0)
        self.monitor = monitor
        self._settings: dict[str, Any] = {
            "factor": self.factor,
            "patience": self.patience + 1 if is_torch else max(1, self.patience),
            "cooldown": self.cooldown if is_torch else max(0, self.cooldown - 1),
            "min_delta": self.min_delta,
            "relative": is_torch if relative is None else relative,
            "min_lr": self.min_lr,
            "restore_best": restore_best_weights,
            "stop_after": stop_after,
        }
        self._plateau = Plateau(monitor, mode="min" if self.mode == "auto" else self.mode, **self._settings)
        self.controllers = (self._plateau,)
        self._start = self._plateau.state_dict()
        self._is_monitor_known = False
        self._is_floor_checked = False

    @property
    def best(self) -> float | None:
        """The best value so far, or None."""
        return self._plateau.best

    @best.setter
    def best(self, value: float | None) -> None:
        self._plateau.best = value

    @property
    def wait(self) -> int:
        """Epochs in a row without gain."""
        return self._plateau.wait

    @wait.setter
    def wait(self, value: int) -> None:
        self._plateau.wait = value

    @property
    def cooldown_counter(self) -> int:
        """How many of the next epochs are not counted."""
        return self._plateau.cooldown_left

    @cooldown_counter.setter
    def cooldown_counter(self, value: int) -> None:
        self._plateau.cooldown_left = value

    def in_cooldown(self) -> bool:
        """Whether the next epoch is not counted."""
        return self.cooldown_counter > 0

    def begin_anew(self) -> None:
        """Forget what has been counted; the rate stays, and becomes the new base."""
        self._plateau.load_state_dict(self._start)

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin anew, as Keras does with each fit; a state that a file holds is taken when the first epoch begins."""
        self.begin_anew()
        super().on_train_begin(logs)
        self._settle_monitor(None)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Write the rate of the epoch."""
        super().on_epoch_begin(epoch, logs)
        self._check_floor()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log the rate, then take the reading."""
        if not self._is_monitor_known:
            self._settle_monitor(logs or {})
        super().on_epoch_end(epoch, logs)

    def _read_batch(self, batch: int, logs: Any = None) -> None:
        if not self._is_monitor_known:
            self._settle_monitor(logs or {})
        super()._read_batch(batch, logs)

    def tell(self, epoch: int, changes: list[tuple[Change, Decision]], metrics: dict[str, float]) -> None:
        """Print a reduction as Keras does; say what could not be read."""
        if self._plateau.monitor not in metrics:
            monitor = str(self._plateau.monitor)
            self.owner.warn(missing_monitor(type(self).__name__, monitor, epoch, metrics), cause=f"no {monitor}")
            return
        for change, decision in changes:
            if change.controller != "Plateau" or not self.verbose:
                continue
            if decision.action == "stop":
                say(f"\nEpoch {epoch + 1}: ReduceLROnPlateau stopping: {change.cause}.")
                continue
            if change.new == change.old:
                continue
            found = leaves_of(self.model)
            for leaf in found:
                name = f" {leaf.name}" if len(found) > 1 else ""
                rate = change.new if len(found) == 1 and host_schedule(leaf) is None else number_of(leaf.learning_rate)
                say(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing{name} learning rate to {rate}.")

    def _settle_monitor(self, logs: dict[str, Any] | None) -> None:
        """Find out the metric's name today and its direction, as soon as they can be known."""
        compiled = {m.name: m for m in _metrics_of(self.model)}
        if logs is None and not compiled and self.mode == "auto" and self.monitor.removeprefix("val_") != "loss":
            return  # metrics that are not built yet, or a model that has none of Keras' making
        bare = self.monitor.removeprefix("val_")
        modern = _OLD_METRICS.get(self.monitor)
        if modern and bare not in compiled and modern.removeprefix("val_") in compiled:
            text = f"`{type(self).__name__}`: the metric {self.monitor!r} is called {modern!r} today; it is taken."
            self.owner.warn(text)
            self._plateau.monitor, bare = modern, modern.removeprefix("val_")
        if self.mode == "auto":
            self._plateau.mode = self._direction(bare, compiled)
        self._is_monitor_known = True

    def _direction(self, bare: str, compiled: dict[str, Any]) -> str:
        metric = compiled.get(bare) or next((m for n, m in compiled.items() if bare.endswith(f"_{n}")), None)
        if metric is not None and hasattr(metric, "_direction"):
            return "max" if metric._direction == "up" else "min"  # noqa: SLF001 - as Keras' own callbacks
        if bare == "loss" or bare.endswith("_loss"):
            return "min"
        where = type(self).__name__
        there = ", ".join(["loss", *compiled])
        raise ArgumentError(
            f"`{where}(monitor={self.monitor!r})`: whether that metric should go up or down is not known; the model is "
            f"compiled with {there}. Pass mode='max' or mode='min'. {nearest(bare, ['loss', *compiled])}".rstrip()
        )

    def _check_floor(self) -> None:
        """Say once if the floor is at or above the rate: nothing will ever happen then."""
        if self._is_floor_checked or self.owner.learning_rate is None:
            return
        self._is_floor_checked = True
        highest = max(number_of(leaf.learning_rate) for leaf in leaves_of(self.model))
        if self.min_lr > 0.0 and np.float32(self.min_lr) >= highest > 0.0 and not self.owner.is_scheduled:
            self.owner.warn(
                f"`{type(self).__name__}(min_lr={self.min_lr:g})` can never act: the learning rate is {highest:g} "
                "already. Lower `min_lr`, or begin with a higher rate."
            )


def _metrics_of(model: Any) -> list[Any]:
    """Return the metrics that a model was compiled with; those of Keras' own bookkeeping hold others."""
    found: list[Any] = []
    for metric in getattr(model, "metrics", ()):
        inner = getattr(metric, "metrics", None)
        found.extend(inner if isinstance(inner, list) else [metric])
    return [m for m in found if m is not None and m.name != "loss"]  # which has a direction of its own
