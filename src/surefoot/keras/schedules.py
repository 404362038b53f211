"""Schedules for Keras: its own six with checked arguments, and `FromSchedule`, which brings those of surefoot.

What else `keras.optimizers.schedules` offers is offered here too.
"""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from typing import Any

import keras
from surefoot.keras._keras_schedules import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
from surefoot.keras._lookup import found
from surefoot.keras._schedules import FromFunction, FromSchedule

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "FromFunction",
    "FromSchedule",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]

theirs: Any = keras.optimizers.schedules
LearningRateSchedule: Any = theirs.LearningRateSchedule
serialize: Any = theirs.serialize

OURS = {
    kind.__name__.lower(): kind
    for kind in (
        CosineDecay,
        CosineDecayRestarts,
        ExponentialDecay,
        FromFunction,
        FromSchedule,
        InverseTimeDecay,
        PiecewiseConstantDecay,
        PolynomialDecay,
    )
}


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the schedule of a saved configuration, as `keras.optimizers.schedules.deserialize`; ours for its names."""
    return found(config, OURS, custom_objects) or theirs.deserialize(config, custom_objects)


def __getattr__(name: str) -> Any:
    return getattr(theirs, name)
