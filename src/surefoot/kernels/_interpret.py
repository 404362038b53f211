"""Take a step with a program and a framework's own operations: the slower twin of the kernels, for any kind of array."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from surefoot.kernels._trace import Pass, Program
from surefoot.rules import _math


def _divide(x: Any, y: Any) -> Any:
    return x / y


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "neg": operator.neg,
    "sqrt": _math.sqrt,
    "abs": _math.absolute,
    "sign": _math.sign,
    "maximum": _math.maximum,
    "minimum": _math.minimum,
    "where": _math.where,
    ">": operator.gt,
    "<": operator.lt,
}


def interpret(
    programs: Sequence[Program],
    values: Sequence[dict[str, float]],
    rows: Sequence[int],
    read: Callable[[int], dict[str, Any]],
    write: Callable[[int, dict[str, Any]], None],
) -> None:
    """Take one step over all tensors of a model, one at a time.

    Args:
        programs: one for each row of scalars; they have the same sums over the model.
        values: for each row t, lr, the fields and the scalar slots; the new scalar slots replace the old ones there.
        rows: for each tensor, its row.
        read: returns the arrays of a tensor by name.
        write: takes the new arrays of a tensor by name.
    """
    leaves: list[dict[str, Any]] = [{} for _ in rows]
    for number in range(max((len(p.passes) for p in programs), default=0)):
        passes = [p.passes[number] if number < len(p.passes) else None for p in programs]
        scalars = [p.scalars(v) if p else [] for p, v in zip(passes, values, strict=True)]
        totals: dict[str, float] = {}
        for tensor, row in enumerate(rows):
            p = passes[row]
            if p is None:
                continue
            names = _run(p, scalars[row], {**read(tensor), **leaves[tensor]})
            for name, operand in p.sums:
                total = _math.namespace_of(names[operand]).sum(names[operand])
                if name.startswith("_l"):
                    leaves[tensor][name] = total
                else:
                    totals[name[3:-2]] = totals.get(name[3:-2], 0.0) + float(total)
            if p.outputs:
                arrays = programs[row].arrays  # one that takes another's old values must not see its new ones
                new = {name: names[o] + 0.0 if o in arrays else names[o] for name, o in p.outputs}
                write(tensor, new)
        for v in values:
            v.update(totals)
    for program, v in zip(programs, values, strict=True):
        v.update(program.new_scalars(v))


def _run(p: Pass, scalars: list[float], names: dict[str, Any]) -> dict[str, Any]:
    """Return every name of a pass with its value."""
    names.update((f"_k{i}", value) for i, value in enumerate(scalars))
    for name, operation, operands in p.lines:
        names[name] = _OPERATIONS[operation](*(names[o] for o in operands))
    return names
