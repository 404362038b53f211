"""The callbacks of Keras, ours in place of its own: change the import, keep the rest.

Everything that is not here comes from `keras.callbacks`.
"""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import importlib
from typing import Any

from surefoot.keras._callbacks import LearningRateControl
from surefoot.keras._plateau import ReduceLROnPlateau
from surefoot.keras._schedule_free import EvaluateAverage
from surefoot.keras._scheduler import LearningRateScheduler

__all__ = ["EvaluateAverage", "LearningRateControl", "LearningRateScheduler", "ReduceLROnPlateau"]


def __getattr__(name: str) -> Any:
    for module in (
        "keras.callbacks",
        "keras.src.callbacks",
    ):  # the second has what Keras does not export, for its tests
        found = getattr(importlib.import_module(module), name, None)
        if found is not None:
            return found
    raise AttributeError(f"module 'surefoot.keras.callbacks' has no attribute {name!r}")
