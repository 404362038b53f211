"""Checks of an optimizer's arguments before Keras sees them: Keras itself takes a rate of NaN, or a beta of 2."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import keras
from surefoot._checks import nearest, number, refuse, refuse_type

Bounds = dict[str, Any]

NUMBERS: dict[str, Bounds] = {
    "momentum": {"at_least": 0.0, "at_most": 1.0},
    "rho": {"at_least": 0.0, "at_most": 1.0},
    "beta_1": {"at_least": 0.0, "below": 1.0},
    "beta_2": {"at_least": 0.0, "below": 1.0},
    "epsilon": {"at_least": 0.0},
    "initial_accumulator_value": {"at_least": 0.0},
    "start": {"at_least": 0.0},
    "ema_momentum": {"at_least": 0.0, "at_most": 1.0},
}
NUMBERS_OR_NONE: dict[str, Bounds] = {
    "weight_decay": {"at_least": 0.0},
    "clipnorm": {"at_least": 0.0},
    "clipvalue": {"at_least": 0.0},
    "global_clipnorm": {"at_least": 0.0},
    "loss_scale_factor": {"above": 0.0},
}
SWITCHES = ("nesterov", "centered", "amsgrad", "use_ema", "is_start_absolute")


def arguments_of(optimizer: type[Any]) -> list[str]:
    """Return the names of the arguments of a Keras optimizer, in order; its TensorFlow base says only *args."""
    signatures = (inspect.signature(kind.__init__) for kind in optimizer.__mro__)
    parameters = next(s.parameters for s in signatures if "learning_rate" in s.parameters)
    return [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD][1:]


def bind(
    where: str, names: list[str], args: tuple[Any, ...], kwargs: Mapping[str, Any], bounds: Mapping[str, Bounds]
) -> dict[str, Any]:
    """Return the arguments of a call by name, checked; numbers of any kind become floats.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """
    if len(args) > len(names):
        raise refuse(where, "args", args, f"at most {len(names)} positional arguments")
    values = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name in values:
            raise refuse(where, name, value, "given once: it is also among the positional arguments")
        if name not in names:
            raise refuse(where, name, value, "left out: there is no such argument", nearest(name, names))
        values[name] = value
    return {name: _checked(where, name, value, bounds) for name, value in values.items()}


def checked(where: str, **values: Any) -> list[Any]:
    """Return checked arguments in their order."""
    return [_checked(where, name, value, {}) for name, value in values.items()]


def _checked(where: str, name: str, value: Any, bounds: Mapping[str, Bounds]) -> Any:
    if name == "learning_rate":
        if callable(value) or isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
            return value
        cure = "Or give a keras.optimizers.schedules.LearningRateSchedule."
        return number(where, name, value, at_least=0.0, cure=cure)
    limits = bounds.get(name) or NUMBERS.get(name)
    if limits is None and value is not None:
        limits = NUMBERS_OR_NONE.get(name)
    if limits is not None:
        return number(where, name, value, **limits)
    if name in SWITCHES and not isinstance(value, bool):
        raise refuse_type(where, name, value, "True or False")
    return value
