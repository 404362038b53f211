"""Optimizers and callbacks for Keras 3 on every backend: Keras' names, arguments and numbers, on the rules of `surefoot.rules`.

Change the import, keep the rest; a saved optimizer state goes from Keras' class to ours and back.

    SGD, Adagrad, Adadelta, RMSprop, Adam, AdamW, Nadam, Adamax, Lion     Keras has them too
    RAdam, AdaBelief, Adan, AdEMAMix, DoG                                 Keras does not
    DoWG, DAdaptSGD, DAdaptAdam, Prodigy                                  nor these, which find their own rate
    SGDScheduleFree, AdamWScheduleFree, EvaluateAverage                   nor these, which need no schedule
    RuleOptimizer                                                         any rule, one of your own too
    find, KerasJob                                                        the learning rate of a model, found
    LearningRateScheduler, ReduceLROnPlateau                              Keras' callbacks, which here share one rate
    LearningRateControl                                                   schedule, plateau, guard and hand in one

Clipping, weight decay, gradient accumulation, moving averages of the weights, loss scaling and saving are Keras' own.
By keyword every optimizer takes what Keras lacks:

    learning_rate=0.001 * schedule       a schedule of surefoot, or a function of the number of updates
    multipliers={"encoder": 0.1}         factors of the rate by layer, variable or pattern, see below
    style="torch"                        PyTorch's conventions and defaults, where torch has the class
    decay=0.01, lr=0.1, epsilon=None     as in Keras 2: update t is taken with learning_rate / (1 + decay * t), t from 0

`multipliers` go by name: a whole path, or any run of whole names in it, with * and ? as wildcards. "encoder",
"encoder/*", "dense_?" and "kernel" all fit "model/encoder/dense_1/kernel". The last name that fits decides; a variable
that none fits has the factor 1. Decoupled weight decay goes with the rate; 0 freezes a layer as `trainable=False` does.

>>> from surefoot.schedules import cosine_decay, linear_warmup
>>> optimizer = Adam(0.01 * (linear_warmup(10) >> cosine_decay(90)), multipliers={"body": 0.1})
>>> float(optimizer.learning_rate)
0.0

`surefoot.keras.optimizers`, `schedules` and `callbacks` stand for the modules of Keras that have these names.
"""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

try:
    import keras as _keras  # noqa: F401  # pyright: ignore[reportUnusedImport] - asked only whether it is there
except ImportError as _error:
    from surefoot._errors import missing_extra

    raise missing_extra("keras", "keras") from _error

from surefoot.keras import callbacks as callbacks
from surefoot.keras import optimizers as optimizers
from surefoot.keras import schedules as schedules
from surefoot.keras._callbacks import LearningRateControl as LearningRateControl
from surefoot.keras._find import find as find
from surefoot.keras._job import KerasJob as KerasJob
from surefoot.keras._learning_rate_free import DAdaptAdam as DAdaptAdam
from surefoot.keras._learning_rate_free import DAdaptSGD as DAdaptSGD
from surefoot.keras._learning_rate_free import DoWG as DoWG
from surefoot.keras._learning_rate_free import Prodigy as Prodigy
from surefoot.keras._more_adam import AdaBelief as AdaBelief
from surefoot.keras._more_adam import Adan as Adan
from surefoot.keras._more_adam import AdEMAMix as AdEMAMix
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
from surefoot.keras._schedule_free import AdamWScheduleFree as AdamWScheduleFree
from surefoot.keras._schedule_free import EvaluateAverage as EvaluateAverage
from surefoot.keras._schedule_free import SGDScheduleFree as SGDScheduleFree
from surefoot.keras._scheduler import LearningRateScheduler as LearningRateScheduler
from surefoot.keras._schedules import FromSchedule as FromSchedule
from surefoot.keras.optimizers import deserialize as deserialize
from surefoot.keras.optimizers import get as get
from surefoot.keras.optimizers import serialize as serialize

__all__ = [
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
    "DAdaptAdam",
    "DAdaptSGD",
    "DoG",
    "DoWG",
    "EvaluateAverage",
    "FromSchedule",
    "KerasJob",
    "LearningRateControl",
    "LearningRateScheduler",
    "Lion",
    "Nadam",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "ReduceLROnPlateau",
    "RuleOptimizer",
    "SGDScheduleFree",
    "callbacks",
    "deserialize",
    "find",
    "get",
    "optimizers",
    "schedules",
    "serialize",
]
