"""surefoot for PyTorch; names are loaded when they are first used.

TorchJob    a training run of a torch model, for surefoot.find
drive       owns the learning rate of any torch optimizer; what it returns is a torch Scheduler
Checkpointer
            the last good states of a run, for a guard to go back to
SGD, Adagrad, Adadelta, RMSprop, Adam, AdamW, NAdam, RAdam, Adamax
            torch's optimizers by their own names, each step one pass over memory
Lion, DoG   what torch does not have
DoWG, DAdaptSGD, DAdaptAdam, Prodigy
            and more that find their own rate
RuleOptimizer
            any surefoot.rules.Rule as a torch optimizer
lr_scheduler
            torch's schedulers by their own names, which multiply where two are on one optimizer
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

try:
    import torch as _torch  # noqa: F401  # pyright: ignore[reportUnusedImport] - asked only whether it is there
except ImportError as _error:
    from surefoot._errors import missing_extra

    raise missing_extra("torch", "torch") from _error

if TYPE_CHECKING:
    from surefoot.torch import lr_scheduler as lr_scheduler
    from surefoot.torch._checkpointer import Checkpointer as Checkpointer
    from surefoot.torch._drive import Scheduler as Scheduler
    from surefoot.torch._drive import TorchLearningRate as TorchLearningRate
    from surefoot.torch._drive import drive as drive
    from surefoot.torch._job import TorchJob as TorchJob
    from surefoot.torch._learning_rate_free import DAdaptAdam as DAdaptAdam
    from surefoot.torch._learning_rate_free import DAdaptSGD as DAdaptSGD
    from surefoot.torch._learning_rate_free import DoWG as DoWG
    from surefoot.torch._learning_rate_free import Prodigy as Prodigy
    from surefoot.torch._more_adam import LAMB as LAMB
    from surefoot.torch._more_adam import AdaBelief as AdaBelief
    from surefoot.torch._more_adam import Adan as Adan
    from surefoot.torch._more_adam import AdEMAMix as AdEMAMix
    from surefoot.torch._more_adam import Cautious as Cautious
    from surefoot.torch._optim import SGD as SGD
    from surefoot.torch._optim import Adadelta as Adadelta
    from surefoot.torch._optim import Adagrad as Adagrad
    from surefoot.torch._optim import Adam as Adam
    from surefoot.torch._optim import Adamax as Adamax
    from surefoot.torch._optim import AdamW as AdamW
    from surefoot.torch._optim import NAdam as NAdam
    from surefoot.torch._optim import RAdam as RAdam
    from surefoot.torch._optim import RMSprop as RMSprop
    from surefoot.torch._rule_optimizer import DoG as DoG
    from surefoot.torch._rule_optimizer import Lion as Lion
    from surefoot.torch._rule_optimizer import RuleOptimizer as RuleOptimizer
    from surefoot.torch._schedule_free import AdamWScheduleFree as AdamWScheduleFree
    from surefoot.torch._schedule_free import SGDScheduleFree as SGDScheduleFree

_HOMES = {
    "surefoot.torch._checkpointer": ("Checkpointer",),
    "surefoot.torch._drive": ("Scheduler", "TorchLearningRate", "drive"),
    "surefoot.torch._job": ("TorchJob",),
    "surefoot.torch._learning_rate_free": ("DAdaptAdam", "DAdaptSGD", "DoWG", "Prodigy"),
    "surefoot.torch._more_adam": ("LAMB", "AdEMAMix", "AdaBelief", "Adan", "Cautious"),
    "surefoot.torch._optim": (
        "SGD",
        "Adadelta",
        "Adagrad",
        "Adam",
        "AdamW",
        "Adamax",
        "NAdam",
        "RAdam",
        "RMSprop",
    ),
    "surefoot.torch._rule_optimizer": ("DoG", "Lion", "RuleOptimizer"),
    "surefoot.torch._schedule_free": ("AdamWScheduleFree", "SGDScheduleFree"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "LAMB",
    "SGD",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "AdamWScheduleFree",
    "Adamax",
    "Adan",
    "Cautious",
    "Checkpointer",
    "DAdaptAdam",
    "DAdaptSGD",
    "DoG",
    "DoWG",
    "Lion",
    "NAdam",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "RuleOptimizer",
    "SGDScheduleFree",
    "Scheduler",
    "TorchJob",
    "TorchLearningRate",
    "drive",
    "lr_scheduler",
]


if not TYPE_CHECKING:  # so that a misspelled name is a type error

    def __getattr__(name: str) -> Any:
        if name == "lr_scheduler":
            return importlib.import_module("surefoot.torch.lr_scheduler")
        if name not in _HOME:
            raise AttributeError(f"module 'surefoot.torch' has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
