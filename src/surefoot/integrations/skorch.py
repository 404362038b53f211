"""A skorch estimator as a job: its module, criterion, optimizer, split and iterators, without its `fit`."""

# An estimator is anything with skorch's methods; skorch itself is not imported:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal

import torch
from surefoot._checks import integer, refuse, refuse_type
from surefoot.integrations._trained_elsewhere import first_of, optimizer_of
from surefoot.schedules import Schedule
from surefoot.torch import TorchJob
from surefoot.torch._random import CPU, borrowed, seeded
from torch import nn

__all__ = ["SkorchJob"]

_WHERE = "SkorchJob"
_METHODS = (
    "initialize",
    "infer",
    "get_loss",
    "get_split_datasets",
    "get_dataset",
    "get_iterator",
    "get_params_for_optimizer",
)


class SkorchJob(TorchJob):
    """A training run of a skorch estimator, for `surefoot.find`.

    It takes the estimator's `module`, `criterion` (through `get_loss`), `optimizer`, `train_split` and iterators, and
    trains new modules in a plain loop. Its `fit` is not run: callbacks (learning-rate schedulers, gradient clipping,
    early stopping), scores and histories have no effect. The estimator is left as it was, initialized or not. Set what
    was found by `net.set_params(lr=found.learning_rate)`, and train with a schedule by its `LRScheduler` callback, or
    take `found.train().model`. Do not use it for several modules or optimizers, or a criterion with weights of its own.

    Args:
        net: a skorch `NeuralNet`, or anything with its methods.
        X: training data, as for `net.fit`.
        y: their targets, as for `net.fit`.
        val: (X, y) of the validation data; default what the estimator's `train_split` sets apart.
        total_steps: optimizer steps of the real run; default the estimator's `max_epochs`.
        schedule: of the real run; default `linear_warmup("5%") >> cosine_decay()`.
        metric: `metric(module, batch)` returns what to judge by instead of the loss.
        goal: "min", or "max" for a metric between 0 and 1.
        clip_norm: what the callback GradientClipping would do.
        learning_rate: where the search starts; default the estimator's `lr`.
        name: for people; default the module's class name.

    Raises:
        ArgumentError: a value is not allowed.
        ArgumentTypeError: a type is not allowed.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        net: Any,
        X: Any,  # noqa: N803 - scikit-learn's name
        y: Any = None,
        *,
        val: Any = None,
        total_steps: int | None = None,
        schedule: Schedule | None = None,
        metric: Callable[[nn.Module, Any], Any] | None = None,
        goal: Literal["min", "max"] = "min",
        clip_norm: float | None = None,
        learning_rate: float | None = None,
        name: str | None = None,
    ) -> None:
        missing = [method for method in _METHODS if not callable(getattr(net, method, None))]
        if missing or isinstance(net, type):
            allowed = (
                f"a skorch estimator; this has no {missing[0]}" if missing else "a skorch estimator, not its class"
            )
            raise refuse_type(_WHERE, "net", type(net).__name__, allowed)
        if total_steps is not None:
            total_steps = integer(_WHERE, "total_steps", total_steps, at_least=1)
        with borrowed(CPU):
            seeded(0)  # for a split that is drawn without a seed of its own: the same in every job
            self._net = _initialized(net)
            train, valid = self._net.get_split_datasets(X, y)
            if val is not None:
                if not (isinstance(val, tuple) and len(val) == 2):
                    raise refuse_type(_WHERE, "val", val, "a pair (X, y)")
                train, valid = self._net.get_dataset(X, y), self._net.get_dataset(*val)
            if valid is None:
                cure = "Give `val=(X, y)`, or an estimator with a train_split."
                raise refuse(_WHERE, "val", None, "given where the estimator splits nothing off", cure)
            loaders = [self._net.get_iterator(part, training=part is train) for part in (train, valid)]
        if any(p.requires_grad for p in _parameters(self._net.criterion_)):
            kind = type(self._net.criterion_).__name__
            raise refuse(
                _WHERE, "net.criterion", kind, "a criterion without weights of its own", "Move them into the module."
            )

        def source() -> nn.Module:
            return _initialized(net).module_

        first = first_of(source)
        optimizer = optimizer_of(_WHERE, self._optimizer_for, first)
        super().__init__(
            model=source,
            loss=self._loss_of,
            train=loaders[0],
            val=loaders[1],
            total_steps=total_steps or max(1, int(net.max_epochs) * len(loaders[0])),
            optimizer=optimizer,
            schedule=schedule,
            metric=metric,
            goal=goal,
            clip_norm=clip_norm,
            learning_rate=optimizer.usual if learning_rate is None else learning_rate,
            device=net.device,
            name=name,
        )
        self.optimizer_name = optimizer.name

    def describe(self) -> dict[str, Any]:
        """Return plain data that tells this job from another."""
        more = {"kind": "SkorchJob", "loss": type(self._net.criterion_).__name__, "batch_size": self._net.batch_size}
        return {**super().describe(), **more}

    def _loss_of(self, model: nn.Module, batch: Any) -> Any:
        net, (x, y) = self._net, batch
        vars(net)["module_"] = model
        return net.get_loss(net.infer(x), y, X=x, training=model.training)

    def _optimizer_for(self, model: nn.Module) -> Any:
        net = self._net
        args, settings = net.get_params_for_optimizer("optimizer", list(model.named_parameters()))
        return net.optimizer(*args, **{"lr": net.lr, **settings})


def _initialized(net: Any) -> Any:
    """Return a new estimator with the same parameters, initialized; the given one is left as it was."""
    twin = copy.deepcopy(net)
    twin.set_params(verbose=0)
    twin.initialize()
    return twin


def _parameters(criterion: Any) -> list[torch.nn.Parameter]:
    return list(criterion.parameters()) if isinstance(criterion, nn.Module) else []
