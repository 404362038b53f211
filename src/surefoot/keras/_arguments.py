"""Checks of an optimizer's arguments before Keras sees them: Keras itself takes a rate of NaN, or a beta of 2.

Here too are the spellings of Keras 2, which so many tutorials still have.
"""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from surefoot._checks import integer, nearest, number, one_of, refuse, refuse_type
from surefoot._errors import SurefootWarning
from surefoot.keras._layer_rates import LayerRates
from surefoot.keras._schedules import as_number, as_rate

P = ParamSpec("P")
T = TypeVar("T")
Bounds = dict[str, Any]

NUMBERS: dict[str, Bounds] = {
    "momentum": {"at_least": 0.0, "at_most": 1.0},
    "rho": {"at_least": 0.0, "at_most": 1.0},
    "beta_1": {"at_least": 0.0, "below": 1.0},
    "beta_2": {"at_least": 0.0, "below": 1.0},
    "epsilon": {"at_least": 0.0},
    "initial_accumulator_value": {"at_least": 0.0},
    "start": {"at_least": 0.0},
    "d0": {"above": 0.0},
    "d_coef": {"above": 0.0},
    "ema_momentum": {"at_least": 0.0, "at_most": 1.0},
}
NUMBERS_OR_NONE: dict[str, Bounds] = {
    "weight_decay": {"at_least": 0.0},
    "beta_3": {"at_least": 0.0, "below": 1.0},
    "growth_rate": {"at_least": 1.0},
    "clipnorm": {"at_least": 0.0},
    "clipvalue": {"at_least": 0.0},
    "global_clipnorm": {"at_least": 0.0},
    "loss_scale_factor": {"above": 0.0},
}
COUNTS_OR_NONE = {"gradient_accumulation_steps": 2, "ema_overwrite_frequency": 1}  # and the least
SWITCHES = ("nesterov", "centered", "amsgrad", "use_ema", "is_start_absolute")
SWITCHES_OF_FREE = ("use_bias_correction", "safeguard_warmup")  # of the methods that find their rate
OURS: dict[str, Any] = {"lr": None, "decay": 0.0, "style": "keras", "multipliers": None}  # what Keras lacks


def signature_of(optimizer: type[Any]) -> inspect.Signature:
    """Return the signature of a Keras optimizer; its TensorFlow base says only *args."""
    signatures = (inspect.signature(kind.__init__) for kind in optimizer.__mro__)
    return next(s for s in signatures if "learning_rate" in s.parameters)


def arguments_of(optimizer: type[Any]) -> list[str]:
    """Return the names of the arguments of a Keras optimizer, in order."""
    parameters = signature_of(optimizer).parameters
    return [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD][1:]


def with_ours(signature: inspect.Signature) -> inspect.Signature:
    """Return the signature of a Keras optimizer with what we add, by keyword only."""
    given = list(signature.parameters.values())
    more = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=v) for n, v in OURS.items()]
    end = len(given) - (given[-1].kind is inspect.Parameter.VAR_KEYWORD)
    return signature.replace(parameters=[*given[:end], *more, *given[end:]])


def bind(
    where: str, names: list[str], args: tuple[Any, ...], kwargs: Mapping[str, Any], bounds: Mapping[str, Bounds]
) -> dict[str, Any]:
    """Return the arguments of a call by name, checked; numbers of any kind become floats, `lr` the learning rate.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """
    if len(args) > len(names):
        raise refuse(where, "args", args, f"at most {len(names)} positional arguments")
    values = dict(zip(names, args, strict=False))
    for name, value in modern(where, kwargs, values).items():
        if name in values:
            raise refuse(where, name, value, "given once: it is also among the positional arguments")
        if name not in names and name not in OURS:
            raise refuse(where, name, value, "left out: there is no such argument", nearest(name, [*names, *OURS]))
        values[name] = value
    if values.get("epsilon", 0.0) is None:  # Keras 2's way to ask for the default
        del values["epsilon"]
    return {name: _checked(where, name, value, bounds) for name, value in values.items()}


def checked(where: str, **values: Any) -> list[Any]:
    """Return checked arguments in their order."""
    return [_checked(where, name, value, {}) for name, value in values.items()]


def modern(where: str, options: Mapping[str, Any], given: Iterable[str]) -> dict[str, Any]:
    """Return options with `lr` under its present name, and say so once."""
    options = dict(options)
    lr = options.pop("lr", None)
    if lr is None:
        return options
    if "learning_rate" in options or "learning_rate" in given:
        raise refuse(where, "lr", lr, "left out beside learning_rate: it is the old spelling of the same")
    say_once("`lr=` is the old spelling: write `learning_rate=`.")
    return {**options, "learning_rate": lr}


def takes_lr(init: Callable[Concatenate[T, P], None]) -> Callable[Concatenate[T, P], None]:
    """Let an `__init__` take `lr=`."""
    signature = inspect.signature(init)
    begin: Any = init

    @functools.wraps(init)
    def with_lr(self: T, *args: P.args, **kwargs: P.kwargs) -> None:
        options: Any = kwargs
        if "lr" in kwargs:
            given = {name: value for name, value in kwargs.items() if name != "lr"}
            options = modern(type(self).__name__, kwargs, signature.bind_partial(self, *args, **given).arguments)
        begin(self, *args, **options)

    return with_lr


@functools.cache
def say_once(text: str) -> None:
    """Warn once per process, at the line outside of this library that led here."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("surefoot."):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, SurefootWarning, stacklevel=level)


def _checked(where: str, name: str, value: Any, bounds: Mapping[str, Bounds]) -> Any:
    if name == "learning_rate":
        return as_rate(where, value, say_once)
    if name == "decay":
        return 0.0 if value is None else number(where, name, as_number(value), at_least=0.0)
    if name == "style":
        return one_of(where, name, value, ("keras", "torch"))
    if name == "multipliers":
        return LayerRates.checked(where, value)
    limits = bounds.get(name) or NUMBERS.get(name)
    if value is not None:
        limits = limits or NUMBERS_OR_NONE.get(name)
        if name in COUNTS_OR_NONE:
            return integer(where, name, value, at_least=COUNTS_OR_NONE[name], cure="Or None.")
        if name == "name" and not isinstance(value, str):
            raise refuse_type(where, name, value, "a text or None")
    if limits is not None:
        return number(where, name, as_number(value), **limits)
    if name in (*SWITCHES, *SWITCHES_OF_FREE) and not isinstance(value, bool):
        raise refuse_type(where, name, value, "True or False")
    return value
