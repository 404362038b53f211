"""On torch: all variables of a model in one native pass over memory, if they are on the CPU."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import numpy as np

import keras
import torch
from surefoot.keras._vector_step import take_vector_step
from surefoot.kernels import (
    Batch,
    CannotBuild,
    Kernel,
    bundled_openmp,
    number_fields,
    say_slow,
    structure,
    take_step,
    trace,
)
from surefoot.rules import Rule
from torch import Tensor

if TYPE_CHECKING:
    from surefoot.keras._step import RuleStep

TYPES = {torch.float32: "float", torch.float64: "double"}


@dataclass(slots=True)
class Plan:
    """What holds as long as the same variables are updated and the rule keeps its structure."""

    structure: tuple[Any, ...]
    variables: list[Any]  # Keras variables of the model
    columns: list[Any]  # those, then those of the slots, slot by slot
    numbers: dict[str, Any]  # Keras variables of the scalar slots
    rows: list[dict[str, float]]  # what makes variables differ: the factor of the rate, and whether weights decay
    dtype: torch.dtype
    sizes: list[int]  # bytes of each variable of the model
    batch: Batch

    def fits(self, tensors: Sequence[Tensor]) -> bool:
        """Whether a kernel can use tensors, one for each variable or several, as they are. A list is faster here."""
        return (
            [t.nbytes for t in tensors] == self.sizes * (len(tensors) // len(self.sizes))
            and all([t.is_contiguous() for t in tensors])  # noqa: C419
            and all([t.dtype is self.dtype for t in tensors])  # noqa: C419
            and all([t.is_cpu for t in tensors])  # noqa: C419
        )


_plans: WeakKeyDictionary[Any, Plan] = WeakKeyDictionary()  # beside the optimizers, which are copied and pickled


def take_torch_step(optimizer: RuleStep, grads: Sequence[Tensor], variables: list[Any], learning_rate: Any) -> bool:
    """Take the step and return True; or return False, with nothing changed, where Keras' own foreach is faster."""
    first = variables[0]
    is_stateless = first.value is not first._value  # noqa: SLF001 - in Keras' stateless scope values are elsewhere
    if is_stateless or torch.compiler.is_compiling():
        return take_vector_step(optimizer, grads, variables, learning_rate)
    if take_native_step(optimizer, grads, variables, learning_rate):
        return True
    is_half = any(v.dtype not in ("float32", "float64") for v in variables)  # where foreach would round, or fail
    return is_half and take_vector_step(optimizer, grads, variables, learning_rate)


@torch.no_grad()
def take_native_step(optimizer: RuleStep, grads: Sequence[Tensor], variables: list[Any], learning_rate: Any) -> bool:
    """Take the step and return True; or return False, with nothing changed, where a kernel cannot serve."""
    rule, plan = optimizer.whole_rule, _plans.get(optimizer)
    if plan is None or plan.structure != structure(rule) or not _are_same(plan.variables, variables):
        plan = _make_plan(optimizer, rule, variables)
        if plan is None:
            return False
        _plans[optimizer] = plan
    if not plan.fits(grads):
        grads = [g.contiguous() for g in grads]
        if not plan.fits(grads):
            return False
    tensors: list[Tensor] = [v._value for v in plan.columns]  # noqa: SLF001 - `value` looks for scopes: 2 us a variable
    if not plan.fits(tensors):
        return False
    pointers, count = plan.batch.pointers, len(grads)
    addresses = np.array([t.data_ptr() for t in tensors], dtype=np.uint64).reshape(-1, count)
    pointers[:, 0], pointers[:, 2:] = addresses[0], addresses[1:].T
    pointers[:, 1] = [g.data_ptr() for g in grads]
    updates = _number(optimizer.iterations)
    lr = _number(learning_rate) / (1.0 + optimizer.decay * updates)
    values = {"t": updates + 1.0, **number_fields(rule)}
    values |= {name: _number(variable) for name, variable in plan.numbers.items()}
    rows = [{**values, **row, "lr": lr * row["factor"]} for row in plan.rows]
    take_step([plan.batch], [rows], torch.get_num_threads())
    for name, variable in plan.numbers.items():
        variable.assign(rows[0][name])
    _increment_version(tensors[:count])  # a backward pass through old values must fail
    return True


def _make_plan(optimizer: RuleStep, rule: Rule, variables: list[Any]) -> Plan | None:
    """Return a plan whose kernel is built, or None where there can be none."""
    dtype = variables[0].value.dtype
    if dtype not in TYPES or not variables[0].value.is_cpu:
        return None
    tensors: list[Tensor] = [v.value for v in variables]
    slots = optimizer.slots_for(variables)
    program = trace(rule)
    try:
        kernel = Kernel(program, TYPES[dtype], bundled_openmp(torch.__file__))
    except CannotBuild as reason:
        say_slow("takes optimizer steps in torch's operations", str(reason), ("surefoot", "keras", "torch"))
        return None
    found = _rows(optimizer, variables)
    rows = list(dict.fromkeys(found))
    return Plan(
        structure=structure(rule),
        variables=list(variables),
        columns=[*variables, *(v for name in program.arrays[2:] for v in slots[name])],
        numbers={name: slots[name] for name in rule.scalar_slots},
        dtype=dtype,
        sizes=[t.nbytes for t in tensors],
        rows=[dict(row) for row in rows],
        batch=Batch(kernel, [program] * len(rows), [t.numel() for t in tensors], [rows.index(row) for row in found]),
    )


def _rows(optimizer: RuleStep, variables: list[Any]) -> list[tuple[tuple[str, float], ...]]:
    """Return for each variable in what it differs from others."""
    factors = optimizer.factors_of(variables) or [1.0] * len(variables)
    decayed = optimizer.are_decayed(variables) if optimizer.inner_decay else [True] * len(variables)
    return [
        (("factor", factor), *(() if is_decayed else (("weight_decay", 0.0),)))
        for factor, is_decayed in zip(factors, decayed, strict=True)
    ]


def _are_same(known: list[Any], present: list[Any]) -> bool:
    return len(known) == len(present) and all(map(is_, known, present))


def _number(variable: Any) -> float:
    return float(cast("Any", keras.ops.convert_to_tensor(variable)))


def _increment_version(tensors: list[Tensor]) -> None:
    try:
        torch.autograd.graph.increment_version(tensors)
    except (AttributeError, TypeError):  # torch before 2.6 takes one at a time
        for tensor in tensors:
            torch.autograd.graph.increment_version(tensor)
