"""Batches in an order that a seed decides and that any step can be resumed from."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeGuard, cast

import numpy as np
import torch.utils.data as torch_data

import torch
from surefoot._checks import refuse, refuse_type
from surefoot.torch._random import Noise
from torch import Tensor

_collate: Callable[[list[Any]], Any] = cast("Any", torch_data).default_collate
_CURE = "Give a tuple of tensors (x, y), a map-style Dataset, or a DataLoader."


class Batches(Protocol):
    """Training batches, without end; the same seed gives the same ones."""

    @property
    def per_epoch(self) -> int | None:
        """Batches in one epoch, if that is known."""
        ...

    def stream(self, seed: int, step: int) -> Iterator[Any]:
        """Yield the batch of every step from `step` on."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return plain data that tells these batches from others."""
        ...


class IndexedBatches:
    """Batches of columns (tensors with a common first dimension) or of a dataset; what is left over is dropped."""

    def __init__(self, samples: Any, batch_size: int) -> None:
        self._samples, self._batch_size = samples, batch_size
        self._count = count(samples)
        self.per_epoch = self._count // batch_size

    def stream(self, seed: int, step: int) -> Iterator[Any]:
        """Yield batches of a fresh permutation for every (seed, epoch)."""
        first, skip = divmod(step, self.per_epoch)
        for epoch in itertools.count(first):
            generator = torch.Generator().manual_seed(_mix(seed, epoch))
            order = torch.randperm(self._count, generator=generator)
            for i in range(skip, self.per_epoch):
                yield take(self._samples, order[i * self._batch_size : (i + 1) * self._batch_size])
            skip = 0

    def describe(self) -> dict[str, Any]:
        """Return sizes and a checksum of the columns."""
        return {"samples": self._count, "checksum": checksum(self._samples)}


class LoaderBatches:
    """Batches of a user's DataLoader, its shuffling and its augmentations tied to the seed and the epoch."""

    def __init__(self, loader: torch_data.DataLoader[Any]) -> None:
        self._loader = loader
        self.per_epoch = len(loader) if has_length(loader) else None
        # What an iterable dataset says of its length is an estimate: its position is counted from the very start.
        self._exact = None if isinstance(loader.dataset, torch_data.IterableDataset) else self.per_epoch
        self._has_workers = loader.num_workers > 0
        self._open: Generator[Any] | None = None

    def stream(self, seed: int, step: int) -> Iterator[Any]:
        """Yield the loader's batches from `step` on; those before it are loaded and thrown away."""
        while True:
            if self._has_workers and self._open is not None:
                self._open.close()  # workers serve one run at a time, or every paused run would keep its own
            mine = self._open = self._from(seed, step)
            for batch in mine:
                step += 1
                yield batch
                if self._has_workers and self._open is not mine:
                    break

    def _from(self, seed: int, step: int) -> Generator[Any]:
        first, skip = divmod(step, self._exact) if self._exact else (0, step)
        for epoch in itertools.count(first):
            is_empty = True
            for batch in _loaded(self._loader, _mix(seed, epoch)):
                is_empty = False
                if skip:
                    skip -= 1
                else:
                    yield batch
            if is_empty:
                raise refuse(
                    "TorchJob",
                    "train",
                    self._loader,
                    f"a loader that can be read again; pass {epoch + 1} over it gave nothing",
                    "Let __iter__ of its dataset return a new iterator at each call.",
                )

    def describe(self) -> dict[str, Any]:
        """Return the loader's sizes."""
        dataset: Any = self._loader.dataset
        return {"loader_batch_size": self._loader.batch_size, "samples": len(dataset) if has_length(dataset) else None}


def training_batches(where: str, data: Any, batch_size: int) -> Batches:
    """Return batches of columns, a dataset, or a loader; refuse what is empty."""
    if is_loader(data):
        if has_length(data) and not len(data):
            raise refuse(where, "train", data, "a loader with at least one batch", "Is drop_last=True too much for it?")
        if data.persistent_workers:
            cure = "Pass persistent_workers=False: the runs of a search read the loader in turn, each its own epoch."
            raise refuse(where, "train", data, "a loader whose workers end with their epoch", cure)
        return LoaderBatches(data)
    samples = _checked(where, "train", data, least=2)
    if count(samples) < batch_size:
        cure = "Lower `batch_size` or give more data."
        allowed = f"at most the number of training samples, {count(samples)}"
        raise refuse(where, "batch_size", batch_size, allowed, cure)
    return IndexedBatches(samples, batch_size)


class Validation:
    """The validation batches, always the same and in the same order, what is left over included."""

    def __init__(self, where: str, data: Any, batch_size: int) -> None:
        self._batch_size = batch_size
        self._loader = data if is_loader(data) else None
        self._samples = None if is_loader(data) else _checked(where, "val", data, least=1)
        if self._loader is not None and has_length(self._loader) and not len(self._loader):
            raise refuse(where, "val", data, "a loader with at least one batch")

    def batches(self, seed: int) -> Iterator[Any]:
        """Yield them; a loader that shuffles or augments does so by the seed, the same at each call."""
        if self._loader is not None:
            yield from _loaded(self._loader, seed)
            return
        samples = count(self._samples)
        for start in range(0, samples, self._batch_size):
            yield take(self._samples, torch.arange(start, min(start + self._batch_size, samples)))

    def describe(self) -> dict[str, Any]:
        """Return sizes and a checksum."""
        if self._loader is not None:
            return {"val_batches": len(self._loader) if has_length(self._loader) else None}
        return {"val_samples": count(self._samples), "val_checksum": checksum(self._samples)}


def _loaded(loader: torch_data.DataLoader[Any], seed: int) -> Generator[Any]:
    """Yield the batches of one pass over a loader, whose order and augmentations are drawn from their own randomness."""
    parts: list[Any] = [loader, cast("Any", loader).sampler, cast("Any", loader).batch_sampler]
    parts.append(getattr(parts[-1], "sampler", None))
    own = {id(g): g for g in (getattr(part, "generator", None) for part in parts) if isinstance(g, torch.Generator)}
    noise = Noise(seed, list(own.values()))
    with noise.lent():
        iterator = iter(loader)
    nothing = object()
    while True:
        with noise.lent():
            batch = next(iterator, nothing)
        if batch is nothing:
            return
        yield batch


def take(samples: Any, index: Tensor) -> Any:
    """Return the samples `index` as one batch."""
    if _is_columns(samples):
        return tuple(t[index.to(t.device)] for t in samples)
    picked = [samples[int(i)] for i in index]
    try:
        return _collate(picked)
    except (TypeError, RuntimeError) as error:
        raise refuse_type(
            "TorchJob",
            "train",
            type(samples).__name__,
            "a dataset whose samples torch can put into one batch",
            f"It said: {error} Give a DataLoader with a `collate_fn` of your own.",
        ) from error


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor in a nest of tuples, lists and mappings, and whatever else has a `to`."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if callable(getattr(batch, "to", None)):  # transformers' BatchEncoding, graphs, packed sequences
        return batch.to(device)
    if _is_mapping(batch):
        return {k: to_device(v, device) for k, v in batch.items()}
    if _is_list(batch):
        moved = [to_device(v, device) for v in batch]
        if isinstance(batch, list):
            return moved
        kind: Any = type(batch)
        return kind(*moved) if hasattr(kind, "_fields") else tuple(moved)  # a named tuple
    return batch


def samples_in(batch: Any) -> int:
    """Return the number of samples of a batch: the first dimension of the first tensor that has one, else 1.

    >>> samples_in({"scale": torch.tensor(2.0), "x": torch.zeros(8, 3)})
    8
    """
    return next((len(t) for t in _tensors_in(batch) if t.dim()), 1)


def count(samples: Any) -> int:
    """Return the number of samples in columns or in a dataset."""
    return len(samples[0]) if _is_columns(samples) else len(samples)


def checksum(samples: Any) -> str | None:
    """Return a short hash of the columns' shapes and of about a thousand values of each; None for a dataset."""
    if not _is_columns(samples):
        return None
    digest = hashlib.sha256()
    for column in samples:
        flat = column.detach().reshape(-1)
        some: Any = flat[:: max(1, len(flat) // 1000)].cpu()
        digest.update(f"{tuple(column.shape)} {column.dtype} {some.tolist()}".encode())
    return digest.hexdigest()[:16]


def is_loader(data: object) -> TypeGuard[torch_data.DataLoader[Any]]:
    """Whether this is a DataLoader."""
    return isinstance(data, torch_data.DataLoader)


def has_length(data: Any) -> bool:
    """Whether `len` works; many types have the method and raise."""
    try:
        len(data)
    except (TypeError, NotImplementedError):
        return False
    return True


def _checked(where: str, argument: str, data: Any, *, least: int) -> Any:
    """Return columns or a dataset with length, or raise."""
    if data is None:
        raise refuse(where, argument, data, "data", _CURE)
    columns = _as_columns(data)
    if columns is not None:
        lengths = {len(t) if t.dim() else 0 for t in columns}
        if len(lengths) != 1:
            shapes = [tuple(t.shape) for t in columns]
            raise refuse(where, argument, shapes, "tensors of equal length", "Their first dimension counts samples.")
        samples: Any = columns
    elif isinstance(data, str | bytes | Mapping) or not has_length(data) or not hasattr(data, "__getitem__"):
        raise refuse_type(
            where, argument, cast("object", data), "a tuple of tensors, a map-style Dataset or a DataLoader", _CURE
        )
    else:
        samples = data
    if count(samples) < least:
        allowed = f"at least {least} sample{'s' * (least > 1)}"
        raise refuse(where, argument, f"{count(samples)} samples", allowed, "A rate cannot be judged on less.")
    return samples


def _as_columns(data: Any) -> tuple[Tensor, ...] | None:
    """Return tensors, arrays or a TensorDataset as columns; None for what must be asked sample by sample."""
    if isinstance(data, torch_data.TensorDataset):
        return data.tensors
    if isinstance(data, Tensor | np.ndarray):
        data = (data,)
    if _is_list(data) and data and all(isinstance(t, Tensor | np.ndarray) for t in data):
        return tuple(torch.as_tensor(t) for t in data)
    return None


def _is_columns(samples: Any) -> TypeGuard[tuple[Tensor, ...]]:
    return isinstance(samples, tuple) and all(isinstance(t, Tensor) for t in cast("tuple[Any, ...]", samples))


def _is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)


def _tensors_in(batch: Any) -> Iterator[Tensor]:
    """Yield the tensors of a nest in order."""
    if isinstance(batch, Tensor):
        yield batch
    elif _is_mapping(batch) or _is_list(batch):
        for value in batch.values() if _is_mapping(batch) else batch:
            yield from _tensors_in(value)


def _mix(seed: int, number: int) -> int:
    """Return one seed for (seed, epoch); far apart for neighbours (the multiplier of Knuth's 64-bit generator)."""
    return (seed * 6364136223846793005 + number * 1442695040888963407 + 1) % 2**63


__all__ = ["Batches", "Validation", "samples_in", "to_device", "training_batches"]
