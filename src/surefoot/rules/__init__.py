"""Optimizers as their papers write them, from simple to complex.

    SGD         step against the gradient, or against a running sum of gradients
    Lion        step by the sign of momentum: every parameter moves by lr
    Adagrad     divide by the root of the sum of squared gradients
    RMSprop     divide by their running root mean square
    Adadelta    and multiply by that of past changes: no units
    Adamax      momentum over the largest recent gradient
    Adam        momentum over the running root mean square, both corrected for their start at zero
    NAdam       Adam that looks ahead
    RAdam       Adam that waits until its second moment can be trusted
    AdaBelief   Adam that divides by how far gradients are from their mean
    Adan        Adam with a mean of the gradient's changes: Nesterov's look-ahead
    AdEMAMix    Adam with a second, slow momentum
    LAMB        Adam whose step of each tensor is as long as lr times the tensor
    Cautious    any rule, left out where its step's sign is not the gradient's
    DoG         SGD that finds its rate from the distance travelled, and so needs the whole model at once
    DoWG        DoG whose late gradients weigh more
    DAdaptSGD, DAdaptAdam
                SGD, Adam with a rate from a lower bound of the distance to the solution
    Prodigy     DAdaptAdam whose bound grows faster
    ScheduleFree
                any rule, whose iterates are averaged in the place of a schedule

A rule is its mathematics and nothing else; `Complete` adds what every optimizer has besides, once for all of them:
clipping, ascent, weight decay. Rules run on one array, or on a whole model as a `Vector`. To add a method, write a
frozen dataclass as in `_sgd.py`; see `Rule`.

>>> rule = SGD(momentum=0.9)
>>> x = 1.0
>>> slots = rule.init(x)
>>> for t in (1, 2, 3):
...     dx, slots = rule.step(x, g=2.0 * x, t=t, lr=0.1, **slots)
...     x = x + dx
...     print(round(x, 3))
0.8
0.46
0.062
"""

from surefoot.rules._adam import Adam as Adam
from surefoot.rules._adam import Adamax as Adamax
from surefoot.rules._adam import Lion as Lion
from surefoot.rules._adam import NAdam as NAdam
from surefoot.rules._adam import RAdam as RAdam
from surefoot.rules._adaptive import Adadelta as Adadelta
from surefoot.rules._adaptive import Adagrad as Adagrad
from surefoot.rules._adaptive import RMSprop as RMSprop
from surefoot.rules._complete import Complete as Complete
from surefoot.rules._dadapt import DAdaptAdam as DAdaptAdam
from surefoot.rules._dadapt import DAdaptSGD as DAdaptSGD
from surefoot.rules._dog import DoG as DoG
from surefoot.rules._dog import DoWG as DoWG
from surefoot.rules._math import absolute as absolute
from surefoot.rules._math import dot as dot
from surefoot.rules._math import maximum as maximum
from surefoot.rules._math import minimum as minimum
from surefoot.rules._math import norm as norm
from surefoot.rules._math import sign as sign
from surefoot.rules._math import sqrt as sqrt
from surefoot.rules._math import unbias as unbias
from surefoot.rules._math import where as where
from surefoot.rules._math import zeros_like as zeros_like
from surefoot.rules._more_adam import LAMB as LAMB
from surefoot.rules._more_adam import AdaBelief as AdaBelief
from surefoot.rules._more_adam import Adan as Adan
from surefoot.rules._more_adam import AdEMAMix as AdEMAMix
from surefoot.rules._more_adam import Cautious as Cautious
from surefoot.rules._prodigy import Prodigy as Prodigy
from surefoot.rules._rule import Rule as Rule
from surefoot.rules._schedule_free import ScheduleFree as ScheduleFree
from surefoot.rules._sgd import SGD as SGD
from surefoot.rules._vector import Vector as Vector

__all__ = [
    "LAMB",
    "SGD",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "Adamax",
    "Adan",
    "Cautious",
    "Complete",
    "DAdaptAdam",
    "DAdaptSGD",
    "DoG",
    "DoWG",
    "Lion",
    "NAdam",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "Rule",
    "ScheduleFree",
    "Vector",
    "absolute",
    "dot",
    "maximum",
    "minimum",
    "norm",
    "sign",
    "sqrt",
    "unbias",
    "where",
    "zeros_like",
]
