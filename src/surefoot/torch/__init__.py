"""surefoot for PyTorch.

TorchJob    a training run of a torch model, for surefoot.find
drive       owns the learning rate of any torch optimizer
SGD, Adagrad, Adadelta, RMSprop, Adam, AdamW, NAdam, RAdam, Adamax
            torch's optimizers by their own names, each step one pass over memory
Lion, DoG   what torch does not have
RuleOptimizer
            any surefoot.rules.Rule as a torch optimizer
"""

try:
    import torch as _torch  # noqa: F401  # pyright: ignore[reportUnusedImport] - asked only whether it is there
except ImportError as _error:
    from surefoot._errors import missing_extra

    raise missing_extra("torch", "torch") from _error

from surefoot.torch._drive import TorchLearningRate as TorchLearningRate
from surefoot.torch._drive import drive as drive
from surefoot.torch._job import TorchJob as TorchJob
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

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "DoG",
    "Lion",
    "NAdam",
    "RAdam",
    "RMSprop",
    "RuleOptimizer",
    "TorchJob",
    "TorchLearningRate",
    "drive",
]
