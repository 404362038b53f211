"""surefoot: which learning rate, at every step, and why?

The front door: names only, loaded when they are first used. Importing it loads no framework and no numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surefoot._errors import ArgumentError as ArgumentError
    from surefoot._errors import ArgumentTypeError as ArgumentTypeError
    from surefoot._errors import JobError as JobError
    from surefoot._errors import MissingExtraError as MissingExtraError
    from surefoot._errors import OrderError as OrderError
    from surefoot._errors import RunDirectoryError as RunDirectoryError
    from surefoot._errors import StateError as StateError
    from surefoot._errors import SurefootError as SurefootError
    from surefoot._errors import SurefootWarning as SurefootWarning
    from surefoot.control import Chain as Chain
    from surefoot.control import Controller as Controller
    from surefoot.control import DivergenceGuard as DivergenceGuard
    from surefoot.control import Greedy as Greedy
    from surefoot.control import Manual as Manual
    from surefoot.control import Plateau as Plateau
    from surefoot.control import TrendPlateau as TrendPlateau
    from surefoot.integrations.ray import Ray as Ray
    from surefoot.learning_rate import LearningRate as LearningRate
    from surefoot.schedules import Finding as Finding
    from surefoot.schedules import Schedule as Schedule
    from surefoot.schedules import check as check
    from surefoot.schedules import constant as constant
    from surefoot.schedules import cosine_decay as cosine_decay
    from surefoot.schedules import cosine_restarts as cosine_restarts
    from surefoot.schedules import cyclic as cyclic
    from surefoot.schedules import cyclic_momentum as cyclic_momentum
    from surefoot.schedules import exponential_decay as exponential_decay
    from surefoot.schedules import from_function as from_function
    from surefoot.schedules import from_table as from_table
    from surefoot.schedules import inverse_sqrt_decay as inverse_sqrt_decay
    from surefoot.schedules import inverse_time_decay as inverse_time_decay
    from surefoot.schedules import linear_decay as linear_decay
    from surefoot.schedules import linear_warmup as linear_warmup
    from surefoot.schedules import multistep as multistep
    from surefoot.schedules import noam as noam
    from surefoot.schedules import one_cycle as one_cycle
    from surefoot.schedules import one_cycle_momentum as one_cycle_momentum
    from surefoot.schedules import piecewise as piecewise
    from surefoot.schedules import polynomial_decay as polynomial_decay
    from surefoot.schedules import power_decay as power_decay
    from surefoot.schedules import rex as rex
    from surefoot.schedules import step_decay as step_decay
    from surefoot.schedules import warmup_stable_decay as warmup_stable_decay
    from surefoot.search import CommandJob as CommandJob
    from surefoot.search import Compared as Compared
    from surefoot.search import Found as Found
    from surefoot.search import FunctionJob as FunctionJob
    from surefoot.search import Job as Job
    from surefoot.search import Processes as Processes
    from surefoot.search import Progress as Progress
    from surefoot.search import Transferred as Transferred
    from surefoot.search import Trial as Trial
    from surefoot.search import find as find
    from surefoot.search import find_and_train as find_and_train
    from surefoot.search import transfer as transfer

__version__ = "0.1.0"

_HOMES = {
    "surefoot._errors": (
        "ArgumentError",
        "ArgumentTypeError",
        "JobError",
        "MissingExtraError",
        "OrderError",
        "RunDirectoryError",
        "StateError",
        "SurefootError",
        "SurefootWarning",
    ),
    "surefoot.control": ("Chain", "Controller", "DivergenceGuard", "Greedy", "Manual", "Plateau", "TrendPlateau"),
    "surefoot.integrations.ray": ("Ray",),
    "surefoot.learning_rate": ("LearningRate",),
    "surefoot.schedules": (
        "Finding",
        "Schedule",
        "check",
        "constant",
        "cosine_decay",
        "cosine_restarts",
        "cyclic",
        "cyclic_momentum",
        "exponential_decay",
        "from_function",
        "from_table",
        "inverse_sqrt_decay",
        "inverse_time_decay",
        "linear_decay",
        "linear_warmup",
        "multistep",
        "noam",
        "one_cycle",
        "one_cycle_momentum",
        "piecewise",
        "polynomial_decay",
        "power_decay",
        "rex",
        "step_decay",
        "warmup_stable_decay",
    ),
    "surefoot.search": (
        "CommandJob",
        "Compared",
        "Found",
        "FunctionJob",
        "Job",
        "Processes",
        "Progress",
        "Transferred",
        "Trial",
        "find",
        "find_and_train",
        "transfer",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "Chain",
    "CommandJob",
    "Compared",
    "Controller",
    "DivergenceGuard",
    "Finding",
    "Found",
    "FunctionJob",
    "Greedy",
    "Job",
    "JobError",
    "LearningRate",
    "Manual",
    "MissingExtraError",
    "OrderError",
    "Plateau",
    "Processes",
    "Progress",
    "Ray",
    "RunDirectoryError",
    "Schedule",
    "StateError",
    "SurefootError",
    "SurefootWarning",
    "Transferred",
    "TrendPlateau",
    "Trial",
    "__version__",
    "check",
    "constant",
    "cosine_decay",
    "cosine_restarts",
    "cyclic",
    "cyclic_momentum",
    "exponential_decay",
    "find",
    "find_and_train",
    "from_function",
    "from_table",
    "inverse_sqrt_decay",
    "inverse_time_decay",
    "linear_decay",
    "linear_warmup",
    "multistep",
    "noam",
    "one_cycle",
    "one_cycle_momentum",
    "piecewise",
    "polynomial_decay",
    "power_decay",
    "rex",
    "step_decay",
    "transfer",
    "warmup_stable_decay",
]


if not TYPE_CHECKING:  # so that a misspelled name is a type error

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'surefoot' has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
