"""surefoot for PyTorch.

TorchJob    a training run of a torch model, for surefoot.find
drive       owns the learning rate of any torch optimizer
"""

try:
    import torch as _torch  # noqa: F401  # pyright: ignore[reportUnusedImport] - asked only whether it is there
except ImportError as _error:
    from surefoot._errors import missing_extra

    raise missing_extra("torch", "torch") from _error

from surefoot.torch._drive import TorchLearningRate as TorchLearningRate
from surefoot.torch._drive import drive as drive
from surefoot.torch._job import TorchJob as TorchJob

__all__ = ["TorchJob", "TorchLearningRate", "drive"]
