"""One reading for all processes of a distributed run, so that each takes the same decision."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import torch.distributed as dist

import torch
from surefoot._errors import SurefootError

_HEADER = ("the number of updates", "the learning rate", "the names of the metrics")


def is_distributed() -> bool:
    """Whether there are other processes to agree with."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """Return the number of this process."""
    return dist.get_rank()


def mean_over_ranks(step: int, learning_rate: float, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the mean of each metric over all processes; a NaN anywhere is a NaN everywhere.

    All processes must call it, with the same metrics. One small exchange checks that their runs are the same so far.

    Args:
        step: of this process, to be compared.
        learning_rate: of this process, to be compared.
        metrics: the reading of this process.

    Raises:
        SurefootError: the processes have drifted apart; it names the rank, and is raised in all of them.
    """
    names = sorted(metrics)
    rows = _gather([float(step), learning_rate, float(zlib.crc32("\n".join(names).encode()))])
    for number, row in enumerate(rows):
        for what, mine, first in zip(_HEADER, row, rows[0], strict=True):
            if mine != first:
                values = "" if what == _HEADER[2] else f" ({mine:g}, on rank 0 {first:g})"
                raise SurefootError(
                    f"rank {number} differs from rank 0 in {what}{values}, so their learning rates would drift apart. "
                    "Call `step` and `observe` on every rank, with the same metrics, and change rates on all of them."
                )
    if not names:
        return {}
    values = _gather([float(metrics[name]) for name in names])
    return {name: sum(column) / len(column) for name, column in zip(names, zip(*values, strict=True), strict=True)}


def of_rank_0(value: float) -> float:
    """Return a number of rank 0 to all processes, which must all call it. It waits for the device, if that is CUDA."""
    held = torch.tensor([value], dtype=torch.float64, device=_device())
    dist.broadcast(held, src=0)  # pyright: ignore[reportUnknownMemberType]
    return float(held.item())


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


def _gather(numbers: list[float]) -> list[list[float]]:
    """Return the numbers of every rank, in their order."""
    mine = torch.tensor(numbers, dtype=torch.float64, device=_device())
    rows = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(rows, mine)  # pyright: ignore[reportUnknownMemberType]
    return [row.tolist() for row in rows]  # pyright: ignore[reportUnknownMemberType]
