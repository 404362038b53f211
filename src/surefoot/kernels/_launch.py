"""Take a step with a compiled program: the scalars, pass after pass, and the sums in between."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from surefoot.kernels._build import load
from surefoot.kernels._cpp import SHARE, source, tasks
from surefoot.kernels._trace import Program

_POINTER = ctypes.c_void_p
_ARGUMENTS = [_POINTER, _POINTER, _POINTER, ctypes.c_int64, ctypes.c_int, _POINTER, _POINTER]


class Kernel:
    """A program, compiled for one type of numbers.

    Args:
        program: what it does.
        type_name: "float" or "double".
        openmp: path of the OpenMP runtime that the process has loaded already, if it has.

    Raises:
        CannotBuild: see `load`.
    """

    __slots__ = ("passes", "program")

    def __init__(self, program: Program, type_name: str, openmp: str | None = None) -> None:
        library = load(source(program, type_name), openmp)
        self.program = program
        self.passes = [getattr(library, f"pass{i}") for i in range(len(program.passes))]
        for function in self.passes:
            function.argtypes, function.restype = _ARGUMENTS, None


@dataclass(slots=True)
class Batch:
    """Tensors that one kernel serves: where they are, and which scalars each takes.

    Attributes:
        kernel: the kernel.
        programs: one for each row of scalars; they share the kernel, but compute their scalars in their own way.
        sizes: elements of each tensor.
        rows: for each tensor, its row of scalars.
        pointers: addresses, [tensor, array], in the order of `program.arrays`; whoever fills it keeps the tensors alive.
    """

    kernel: Kernel
    programs: Sequence[Program]
    sizes: Sequence[int]
    rows: Sequence[int]
    pointers: Any = field(init=False)
    tasks: Any = field(init=False)
    leaves: Any = field(init=False)
    _most: int = field(init=False)  # threads
    _addresses: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        program = self.kernel.program
        self.pointers = np.zeros((len(self.sizes), len(program.arrays)), dtype=np.uint64)
        self.tasks = np.array(tasks(self.sizes, self.rows), dtype=np.int64).reshape(-1, 4)
        self.leaves = np.zeros((len(self.sizes), program.leaf_sums))
        self._most = max(1, sum(self.sizes) // SHARE)
        self._addresses = (self.pointers.ctypes.data, self.tasks.ctypes.data, len(self.tasks))

    def run(self, number: int, values: Sequence[dict[str, float]], threads: int) -> dict[str, float]:
        """Do one pass; return its sums over everything and keep those over leaves."""
        scalars = np.array([p.passes[number].scalars(v) for p, v in zip(self.programs, values, strict=True)])
        program = self.kernel.program
        wanted = program.passes[number].sums
        sums = np.empty((len(self.tasks), len(wanted)))
        self.kernel.passes[number](
            scalars.ctypes.data,
            *self._addresses,
            min(threads, self._most),
            sums.ctypes.data if wanted else None,
            self.leaves.ctypes.data if program.leaf_sums else None,
        )
        if not wanted:
            return {}
        totals: dict[str, float] = {}
        for column, (name, _) in zip(sums.T, wanted, strict=True):
            if name.startswith("_l"):
                self.leaves[:, int(name[2:])] = np.bincount(self.tasks[:, 0], column, len(self.sizes))
            else:
                totals[name[3:-2]] = float(column.sum())
        return totals


def take_step(batches: Sequence[Batch], values: Sequence[Sequence[dict[str, float]]], threads: int) -> None:
    """Take one step over all batches, which are one model: sums go over all of them.

    Args:
        batches: their programs have the same sums over the model.
        values: for each batch and each of its rows t, lr, the fields and the scalar slots; the new scalar slots replace
            the old ones there.
        threads: at most so many.
    """
    for number in range(max((len(b.kernel.passes) for b in batches), default=0)):
        found = [
            b.run(number, v, threads) for b, v in zip(batches, values, strict=True) if number < len(b.kernel.passes)
        ]
        totals = {name: sum(f[name] for f in found) for name in found[0]}
        for row in _rows(values):
            row.update(totals)
    for batch, rows in zip(batches, values, strict=True):
        for program, row in zip(batch.programs, rows, strict=True):
            row.update(program.new_scalars(row))


def _rows(values: Sequence[Sequence[dict[str, float]]]) -> Iterable[dict[str, float]]:
    return (row for rows in values for row in rows)
