"""Optimizers and callbacks for Keras 3 on every backend: Keras' names, arguments and numbers, on the rules of `surefoot.rules`.

Change the import, keep the rest; a saved optimizer state goes from Keras' class to ours and back.

    SGD, Adagrad, Adadelta, RMSprop, Adam, AdamW, Nadam, Adamax, Lion     Keras has them too
    RAdam, DoG                                                            Keras does not
    RuleOptimizer                                                         any rule, one of your own too
    LearningRateScheduler, ReduceLROnPlateau                              Keras' callbacks, which here share one rate
    LearningRateControl                                                   schedule, plateau, guard and hand in one

Clipping, weight decay, gradient accumulation, moving averages of the weights, loss scaling, schedules and saving are
Keras' own.
"""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

try:
    import keras as _keras  # noqa: F401  # pyright: ignore[reportUnusedImport] - asked only whether it is there
except ImportError as _error:
    from surefoot._errors import missing_extra

    raise missing_extra("keras", "keras") from _error

from surefoot.keras._callbacks import LearningRateControl as LearningRateControl
from surefoot.keras._optimizers import SGD as SGD
from surefoot.keras._optimizers import Adadelta as Adadelta
from surefoot.keras._optimizers import Adagrad as Adagrad
from surefoot.keras._optimizers import Adam as Adam
from surefoot.keras._optimizers import Adamax as Adamax
from surefoot.keras._optimizers import AdamW as AdamW
from surefoot.keras._optimizers import Lion as Lion
from surefoot.keras._optimizers import Nadam as Nadam
from surefoot.keras._optimizers import RMSprop as RMSprop
from surefoot.keras._plateau import ReduceLROnPlateau as ReduceLROnPlateau
from surefoot.keras._rule_optimizer import DoG as DoG
from surefoot.keras._rule_optimizer import RAdam as RAdam
from surefoot.keras._rule_optimizer import RuleOptimizer as RuleOptimizer
from surefoot.keras._scheduler import LearningRateScheduler as LearningRateScheduler

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "DoG",
    "LearningRateControl",
    "LearningRateScheduler",
    "Lion",
    "Nadam",
    "RAdam",
    "RMSprop",
    "ReduceLROnPlateau",
    "RuleOptimizer",
]
