"""Schedules from plain data: the inverse of `Schedule.to_dict`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from surefoot._checks import nearest, refuse, refuse_type
from surefoot.schedules._change import Clipped, Cooldown, Shifted, Stretched, Until
from surefoot.schedules._compose import Join, Product, Scaled
from surefoot.schedules._cycles import one_cycle, one_cycle_momentum, warmup_stable_decay
from surefoot.schedules._laws import inverse_time_decay, noam, power_decay, rex, step_decay
from surefoot.schedules._points import from_function, piecewise
from surefoot.schedules._schedule import VERSION, Schedule
from surefoot.schedules._shapes import (
    constant,
    cosine_decay,
    exponential_decay,
    inverse_sqrt_decay,
    linear_decay,
    linear_warmup,
    polynomial_decay,
)
from surefoot.schedules._tables import from_table, multistep
from surefoot.schedules._waves import cosine_restarts, cyclic, cyclic_momentum

KINDS: dict[str, type[Schedule]] = {
    kind.__name__.lower(): kind
    for kind in (
        Clipped,
        constant,
        Cooldown,
        cosine_decay,
        cosine_restarts,
        cyclic,
        cyclic_momentum,
        exponential_decay,
        from_function,
        from_table,
        inverse_sqrt_decay,
        inverse_time_decay,
        Join,
        linear_decay,
        linear_warmup,
        multistep,
        noam,
        one_cycle,
        one_cycle_momentum,
        piecewise,
        polynomial_decay,
        power_decay,
        Product,
        rex,
        Scaled,
        Shifted,
        step_decay,
        Stretched,
        Until,
        warmup_stable_decay,
    )
}


def from_dict(data: Mapping[str, Any], *, allow_functions: bool = False) -> Schedule:
    """Return the schedule that `Schedule.to_dict` wrote.

    Args:
        data: what `to_dict` returned, perhaps after a way through JSON. Fields that are left out have their defaults.
        allow_functions: whether `from_function` may import the function that the data names. Importing and calling what
            a file names runs other people's code, so say yes only to data that you trust.

    Raises:
        ArgumentError: if the data is not that of a schedule.

    Examples:
        >>> from_dict({"version": 1, "kind": "cosine_decay", "to": 0.1})
        cosine_decay(to=0.1)
    """
    if not isinstance(allow_functions, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise refuse_type("from_dict", "allow_functions", allow_functions, "True or False")
    if not isinstance(data, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise refuse_type("from_dict", "data", data, "a dict, as returned by `to_dict`")
    version = data.get("version")
    if version != VERSION:
        raise refuse("from_dict", "version", version, str(VERSION), "The data was written by another surefoot.")
    return _read({key: value for key, value in data.items() if key != "version"}, allow_functions=allow_functions)


def _read(data: Mapping[str, Any], *, allow_functions: bool) -> Schedule:
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise refuse("from_dict", "kind", kind, "the name of a schedule", nearest(kind, KINDS))
    if kind == "from_function" and not allow_functions:
        raise refuse(
            "from_dict",
            "kind",
            kind,
            "a schedule without a function",
            "It imports and calls a function by name. If you trust the data, pass `allow_functions=True`.",
        )
    known = {field.name for field in fields(KINDS[kind]) if field.init}  # pyright: ignore[reportArgumentType]
    arguments = {key: value for key, value in data.items() if key != "kind"}
    for key in arguments:
        if key not in known:
            raise refuse("from_dict", "field", key, f"a field of {kind}", nearest(key, known))
    read = {key: _value(value, allow_functions=allow_functions) for key, value in arguments.items()}
    try:
        return KINDS[kind]._from_plain(read)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    except TypeError as error:
        raise refuse("from_dict", "data", dict(data), f"a complete {kind}", str(error)) from error


def _value(value: Any, *, allow_functions: bool) -> Any:
    if isinstance(value, Mapping):
        return _read(value, allow_functions=allow_functions)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return tuple(_value(item, allow_functions=allow_functions) for item in value)  # pyright: ignore[reportUnknownVariableType]
    return value
