"""Batches in an order that a seed decides and that any step can be resumed from."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import hashlib
import itertools
import math
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

import keras
from surefoot._checks import refuse, refuse_type
from surefoot.keras._random import borrowed, seeded

Batch = tuple[Any, ...]  # (x,), (x, y) or (x, y, sample_weight): nests of arrays

tree: Any = keras.tree
ops: Any = keras.ops
_WHERE = "KerasJob"
_CURE = "Give NumPy arrays or tensors x and y, a keras.utils.PyDataset, or a tf.data.Dataset."


class Batches(Protocol):
    """The batches of a data set; the same seed gives the same ones."""

    @property
    def per_epoch(self) -> int | None:
        """Batches in one pass, if that is known."""
        ...

    def stream(self, seed: int, at: int) -> Iterator[Batch]:
        """Yield batches without end, from number `at` on, shuffled anew in every pass."""
        ...

    def once(self) -> Iterator[Batch]:
        """Yield the batches of one pass, in order, always the same."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return plain data that tells these batches from others."""
        ...


class ArrayBatches:
    """Batches of columns, nests of arrays with a common first dimension; the last one of a pass may be smaller."""

    def __init__(self, columns: Batch, batch_size: int) -> None:
        self._columns, self._batch_size = columns, batch_size
        self.count = len(tree.flatten(columns)[0])
        self.per_epoch = math.ceil(self.count / batch_size)

    def stream(self, seed: int, at: int) -> Iterator[Batch]:
        """Yield batches of a fresh permutation of the samples for every (seed, pass)."""
        first, skip = divmod(at, self.per_epoch)
        for epoch in itertools.count(first):
            order = _order(self.count, seed, epoch)
            for i in range(skip, self.per_epoch):
                yield self._take(order[i * self._batch_size : (i + 1) * self._batch_size])
            skip = 0

    def once(self) -> Iterator[Batch]:
        """Yield the batches of one pass in order."""
        for i in range(self.per_epoch):
            yield self._take(slice(i * self._batch_size, (i + 1) * self._batch_size))

    def describe(self) -> dict[str, Any]:
        """Return the size and a checksum."""
        return {"samples": self.count, "checksum": checksum(self._columns)}

    def _take(self, index: Any) -> Batch:
        return _taken(self._columns, index)


class PyDatasetBatches:
    """Batches of a PyDataset: their order, and the noise that each draws, are tied to the seed and the place."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.per_epoch = int(dataset.num_batches)

    def stream(self, seed: int, at: int) -> Iterator[Batch]:
        """Yield the batches in a fresh order for every (seed, pass)."""
        first, skip = divmod(at, self.per_epoch)
        for epoch in itertools.count(first):
            order = _order(self.per_epoch, seed, epoch)
            for i in range(skip, self.per_epoch):
                yield self._load(int(order[i]), noise=seed * 1_000_003 + epoch * self.per_epoch + i)
            skip = 0

    def once(self) -> Iterator[Batch]:
        """Yield the batches of one pass in order."""
        for i in range(self.per_epoch):
            yield self._load(i, noise=i)

    def describe(self) -> dict[str, Any]:
        """Return the size, and a checksum of the first batch."""
        return {"batches": self.per_epoch, "checksum": checksum(self._load(0, noise=0))}

    def _load(self, index: int, noise: int) -> Batch:
        with borrowed():
            seeded(noise)
            return as_batch(self._dataset[index])


class TfBatches:
    """Batches of a tf.data.Dataset in its own order, the same in every pass."""

    def __init__(self, argument: str, dataset: Any) -> None:
        self._argument, self._dataset = argument, dataset
        size = int(dataset.cardinality())
        self.per_epoch = size if size >= 0 else None
        one, two = (list(itertools.islice(dataset.as_numpy_iterator(), 3)) for _ in range(2))
        if not one:
            raise refuse(_WHERE, argument, dataset, "data with at least one batch")
        if checksum(as_batch(tuple(one))) != checksum(as_batch(tuple(two))):
            cure = "Use `.shuffle(n, seed=0, reshuffle_each_iteration=False)`, or arrays, or a keras.utils.PyDataset."
            raise refuse(_WHERE, argument, dataset, "a dataset that gives the same batches in every pass", cure)

    def stream(self, seed: int, at: int) -> Iterator[Batch]:
        """Yield the dataset's batches over and over; those before `at` are loaded and thrown away."""
        del seed
        skip = at % self.per_epoch if self.per_epoch else at
        while True:
            for batch in self._dataset.as_numpy_iterator():
                if skip:
                    skip -= 1
                else:
                    yield as_batch(batch)

    def once(self) -> Iterator[Batch]:
        """Yield the batches of one pass."""
        return map(as_batch, self._dataset.as_numpy_iterator())

    def describe(self) -> dict[str, Any]:
        """Return the size, and a checksum of the first batch."""
        return {"batches": self.per_epoch, "checksum": checksum(next(self.once()))}


def data_of(
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    batch_size: int,
    validation_data: Any,
    validation_split: float,
    val_batch: int,
) -> tuple[Batches, Batches]:
    """Return training and validation batches, or say what is wrong with what was given."""
    train = _source("x", x, y, sample_weight)
    if validation_data is None:
        if not validation_split:
            cure = "Give validation_data=(x_val, y_val), or validation_split=0.2."
            raise refuse(_WHERE, "validation_data", None, "data to judge the rates by", cure)
        if not isinstance(train, tuple):
            allowed = "0 unless x and y are arrays"
            raise refuse(_WHERE, "validation_split", validation_split, allowed, "Give validation_data.")
        size = len(tree.flatten(train)[0])
        kept = math.floor(size * (1.0 - validation_split))  # the last ones are held out, as in Keras
        if not 0 < kept < size:
            allowed = f"such that training and validation have at least one of the {size} samples"
            raise refuse(_WHERE, "validation_split", validation_split, allowed)
        val: Any = _taken(train, slice(kept, None))
        train = _taken(train, slice(kept))
    elif validation_split:
        cure = "Leave one of the two out."
        raise refuse(_WHERE, "validation_split", validation_split, "0 where validation_data is given", cure)
    else:
        is_columns = isinstance(validation_data, tuple | list)
        if is_columns and not 1 <= len(validation_data) <= 3:
            allowed = "(x_val, y_val) or (x_val, y_val, sample_weight)"
            raise refuse(_WHERE, "validation_data", f"{len(validation_data)} values", allowed)
        val = _source("validation_data", *(validation_data if is_columns else (validation_data,)))
    return (
        ArrayBatches(train, batch_size) if isinstance(train, tuple) else train,
        ArrayBatches(val, val_batch) if isinstance(val, tuple) else val,
    )


def as_batch(values: Any) -> Batch:
    """Return what a dataset yields as a tuple of nests of arrays."""
    return tree.map_structure(_as_array, tuple(values) if isinstance(values, tuple | list) else (values,))


def as_numpy(value: Any) -> Any:
    """Return a tensor as a NumPy array; Keras 3.15 asks for it in a way that NumPy 2 warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return ops.convert_to_numpy(value)


def checksum(columns: Batch) -> str:
    """Return a short hash of the arrays' shapes and of about a thousand values of each."""
    digest = hashlib.sha256()
    for column in tree.flatten(columns):
        flat = np.asarray(column).reshape(-1)
        some = flat[:: max(1, len(flat) // 1000)]
        digest.update(f"{np.shape(column)} {flat.dtype} {some.tolist()}".encode())
    return digest.hexdigest()[:16]


def _source(argument: str, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """Return columns (a tuple), or the batches of a dataset that brings its own."""
    names = (argument, "y", "sample_weight") if argument == "x" else (argument,) * 3
    if x is None:
        raise refuse(_WHERE, argument, None, "data", _CURE)
    dataset = _dataset(argument, x)
    if dataset is not None:
        for name, value in zip(names[1:], (y, sample_weight), strict=True):
            if value is not None:
                allowed = "left out: a dataset brings its own"
                raise refuse(
                    _WHERE, name, type(value).__name__, allowed, "Let it give (x, y) or (x, y, sample_weight)."
                )
        return dataset
    given = [x] if y is None and sample_weight is None else [x, y] if sample_weight is None else [x, y, sample_weight]
    columns = tuple(_columns(name, value) for name, value in zip(names, given, strict=False))
    lengths = [len(a) for a in tree.flatten(columns)]
    if len(set(lengths)) > 1:
        cure = "Their first dimension counts samples."
        raise refuse(_WHERE, "y" if argument == "x" else argument, f"{lengths} samples", "as long as x", cure)
    if not lengths or not lengths[0]:
        raise refuse(_WHERE, argument, "0 samples", "data with at least one sample", "A rate cannot be judged on less.")
    return columns


def _dataset(argument: str, x: Any) -> Batches | None:
    """Return the batches of a PyDataset or a tf.data.Dataset; None for what is no dataset; refuse what ends for good."""
    if isinstance(x, keras.utils.PyDataset):
        size: Any = x.num_batches
        if size is None or size < 1:
            raise refuse(_WHERE, argument, f"a PyDataset of {size} batches", "a dataset with at least one batch")
        return PyDatasetBatches(x)
    tf = sys.modules.get("tensorflow")
    if tf is not None and isinstance(x, tf.data.Dataset):
        return TfBatches(argument, x)
    if isinstance(x, Iterator) or type(x).__module__.startswith("torch.utils.data"):
        kind = type(x).__name__
        cure = (
            "Put what makes a batch into __getitem__ of a keras.utils.PyDataset: each trial begins again, in its order."
        )
        raise refuse_type(_WHERE, argument, kind, "arrays, a PyDataset or a tf.data.Dataset", cure)
    return None


def _columns(argument: str, value: Any) -> Any:
    """Return one of x, y, sample_weight as a nest of arrays with samples along the first dimension."""
    if isinstance(value, list) and value and not any(_is_array(v) for v in value):
        value = np.asarray(value)  # plain numbers

    def one(leaf: Any) -> Any:
        if not _is_array(leaf):
            raise refuse_type(_WHERE, argument, leaf, "an array, or a list or dict of arrays", _CURE)
        array = _as_array(leaf)
        if array.dtype == object or not array.ndim:
            raise refuse_type(_WHERE, argument, leaf, "an array of numbers, samples along the first dimension", _CURE)
        return array

    return tree.map_structure(one, value)


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") or bool(ops.is_tensor(value))


def _as_array(value: Any) -> Any:
    """Return a NumPy array; floats have Keras' usual type, as in `fit`."""
    array: Any = as_numpy(value) if ops.is_tensor(value) else np.asarray(value)
    is_float = array.dtype.kind == "f"
    return array.astype(keras.config.floatx(), copy=False) if is_float else array


def _taken(columns: Batch, index: Any) -> Batch:
    """Return some of the samples."""

    def one(array: Any) -> Any:
        return array[index]

    return tree.map_structure(one, columns)


def _order(count: int, seed: int, epoch: int) -> Any:
    return np.random.default_rng([seed % 2**63, epoch]).permutation(count)
