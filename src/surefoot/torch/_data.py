"""Batches in an order that a seed decides and that any step can be resumed from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any, Protocol, cast

from torch.utils.data import DataLoader, default_collate

import torch
from surefoot._checks import refuse, refuse_type
from surefoot.torch._random import borrowed, seeded
from torch import Tensor

_CPU = torch.device("cpu")


class Batches(Protocol):
    """Training batches by number: `epoch(seed, n, skip)` yields those of epoch n from batch `skip` on."""

    def __len__(self) -> int:
        """Batches in one epoch."""
        ...

    def epoch(self, seed: int, number: int, skip: int) -> Iterator[Any]:
        """Yield the batches of an epoch; the same seed and number give the same ones."""
        ...


class TensorBatches:
    """Batches of tensors with a common first dimension, or of a dataset with length and index; the last part is dropped."""

    def __init__(self, data: tuple[Tensor, ...] | Sequence[Any], batch_size: int) -> None:
        self.data, self.batch_size = data, batch_size
        self.samples = len(data[0]) if _is_tensors(data) else len(data)

    def __len__(self) -> int:
        return max(1, self.samples // self.batch_size)

    def epoch(self, seed: int, number: int, skip: int) -> Iterator[Any]:
        """Yield batches of a fresh permutation for every (seed, epoch)."""
        generator = torch.Generator().manual_seed(_mix(seed, number))
        order = torch.randperm(self.samples, generator=generator)
        for i in range(skip, len(self)):
            yield take(self.data, order[i * self.batch_size : (i + 1) * self.batch_size])


class LoaderBatches:
    """Batches of a user's DataLoader (or any iterable that can be iterated again), its shuffling tied to the seed."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self._length = len(loader)

    def __len__(self) -> int:
        return self._length

    def epoch(self, seed: int, number: int, skip: int) -> Iterator[Any]:
        """Yield the loader's batches from `skip` on; those before are loaded and thrown away."""
        mixed = _mix(seed, number)
        own = [
            g
            for g in (
                getattr(self.loader, "generator", None),
                getattr(getattr(self.loader, "sampler", None), "generator", None),
            )
            if isinstance(g, torch.Generator)
        ]
        before = [(g, g.get_state()) for g in own]
        with borrowed(_CPU):  # the order is drawn with the first batch, so that one is always loaded in here
            seeded(mixed)
            for g in own:
                g.manual_seed(mixed)
            iterator = iter(self.loader)
            loaded = list(itertools.islice(iterator, max(1, skip)))[-1:]
            for g, state in before:
                g.set_state(state)
        if skip == 0:
            yield from loaded
        yield from iterator


def training_batches(where: str, data: Any, batch_size: int) -> Batches:
    """Return batches of a tuple of tensors, a dataset, or a loader; refuse what is empty or cannot be repeated."""
    if isinstance(data, DataLoader):
        loader = cast("DataLoader[Any]", data)
        if not _has_length(loader):
            raise refuse_type(
                where, "train", data, "a loader with a length", "Wrap a map-style dataset, or pass tensors."
            )
        if not len(loader):
            raise refuse(where, "train", data, "a loader with at least one batch")
        return LoaderBatches(loader)
    checked = _checked(where, "train", data)
    batches = TensorBatches(checked, batch_size)
    if batches.samples < batch_size:
        raise refuse(
            where,
            "batch_size",
            batch_size,
            f"at most the number of training samples, {batches.samples}",
            "Lower `batch_size` or give more data.",
        )
    return batches


class Validation:
    """The validation batches, always in the same order, the last part kept; each with its number of samples."""

    def __init__(self, where: str, data: Any, batch_size: int) -> None:
        self.data = data if isinstance(data, DataLoader) else _checked(where, "val", data)
        self.batch_size = batch_size
        if isinstance(data, DataLoader) and _has_length(data) and not len(cast("Sized", data)):
            raise refuse(where, "val", data, "a loader with at least one batch")

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self.data, DataLoader):
            yield from cast("DataLoader[Any]", self.data)
            return
        samples = len(self.data[0]) if _is_tensors(self.data) else len(self.data)
        for start in range(0, samples, self.batch_size):
            yield take(self.data, torch.arange(start, min(start + self.batch_size, samples)))


def take(data: Any, index: Tensor) -> Any:
    """Return the samples `index` as one batch."""
    if _is_tensors(data):
        return tuple(t[index.to(t.device)] for t in data)
    return default_collate([data[int(i)] for i in index])


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor in a nest of tuples, lists and dicts."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {k: to_device(v, device) for k, v in cast("Mapping[Any, Any]", batch).items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):  # a named tuple  # pyright: ignore[reportUnknownArgumentType]
        return type(batch)(*(to_device(v, device) for v in cast("tuple[Any, ...]", batch)))  # pyright: ignore[reportUnknownVariableType]
    if isinstance(batch, list | tuple):
        moved = [to_device(v, device) for v in cast("Sequence[Any]", batch)]
        return moved if isinstance(batch, list) else tuple(moved)
    return batch


def samples_in(batch: Any) -> int:
    """Return the number of samples of a batch: the first dimension of its first tensor, else 1."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.dim() else 1
    values: Sequence[Any] = (
        list(batch.values()) if isinstance(batch, Mapping) else batch if isinstance(batch, list | tuple) else []
    )  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return samples_in(values[0]) if values else 1


def _checked(where: str, argument: str, data: Any) -> Any:
    """Return a tuple of tensors or a dataset with length, or raise."""
    cure = "Give a tuple of tensors (x, y), a map-style Dataset, or a DataLoader."
    if data is None:
        raise refuse(where, argument, data, "data", cure)
    if isinstance(data, Tensor):
        data = (data,)
    if _is_tensors(data):
        data = tuple(data)
        lengths = {len(t) if t.dim() else 0 for t in data}
        if len(lengths) != 1:
            raise refuse(where, argument, tuple(tuple(t.shape) for t in data), "tensors of equal length", "")
        samples = lengths.pop()
    elif isinstance(data, str | bytes | Mapping) or not _has_length(data) or not hasattr(data, "__getitem__"):
        raise refuse_type(where, argument, data, "a tuple of tensors, a map-style Dataset or a DataLoader", cure)
    else:
        samples = len(data)
    least = 2 if argument == "train" else 1
    if samples < least:
        raise refuse(
            where, argument, f"{samples} samples", f"at least {least} samples", "A rate cannot be judged on less."
        )
    return data


def _is_tensors(data: Any) -> bool:
    return isinstance(data, list | tuple) and len(data) > 0 and all(isinstance(t, Tensor) for t in data)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _has_length(data: Any) -> bool:
    try:
        len(data)
    except TypeError:
        return False
    return True


def _mix(seed: int, number: int) -> int:
    """Return one seed for (seed, epoch); far apart for neighbours (the multiplier of Knuth's 64-bit generator)."""
    return (seed * 6364136223846793005 + number * 1442695040888963407 + 1) % 2**63


__all__ = ["Batches", "Validation", "samples_in", "to_device", "training_batches"]
