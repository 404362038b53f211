"""Samples as trees of arrays, and batches in an order that a seed decides and that any step can be resumed from."""

# JAX's own types are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import functools
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from surefoot._checks import refuse, refuse_type

_WHERE = "JaxJob"
_CURE = "Give an array, or a tuple or a dict of arrays, as in train=(x, y)."


class Samples:
    """A tree of arrays with a common first dimension, on the device; a batch is the same tree."""

    def __init__(self, argument: str, data: Any, *, least: int) -> None:
        leaves, structure = jax.tree.flatten(data)
        if not leaves or any(not hasattr(leaf, "shape") or not hasattr(leaf, "dtype") for leaf in leaves):
            raise refuse_type(_WHERE, argument, data, "an array, or a tree of arrays", _CURE)
        if any(np.dtype(leaf.dtype).kind in "OSUMm" for leaf in leaves if isinstance(leaf, np.ndarray)):
            kinds = [str(leaf.dtype) for leaf in leaves]
            raise refuse_type(_WHERE, argument, kinds, "of types that JAX has", "Turn texts and dates into numbers.")
        shapes = [tuple(leaf.shape) for leaf in leaves]
        if len({shape[0] if shape else 0 for shape in shapes}) != 1:
            raise refuse(_WHERE, argument, shapes, "arrays of equal length", "Their first dimension counts samples.")
        self.count = shapes[0][0] if shapes[0] else 0
        if self.count < least:
            allowed = f"at least {least} sample{'s' * (least > 1)}"
            raise refuse(_WHERE, argument, f"{self.count} samples", allowed, "A rate cannot be judged on less.")
        self.checksum = _checksum(leaves)
        self.tree: Any = structure.unflatten([jnp.asarray(leaf) for leaf in leaves])

    def split(self, size: int) -> list[tuple[int, Any]]:
        """Return all samples in order as batches of `size`, and of what is left over, each with its number of samples."""
        starts = range(0, self.count, size)
        return [(min(size, self.count - i), jax.tree.map(lambda a, i=i: a[i : i + size], self.tree)) for i in starts]


class Order:
    """Which samples are in the batch of each step: a fresh permutation for every (seed, epoch), the rest dropped."""

    def __init__(self, count: int, batch_size: int) -> None:
        self._count, self._batch_size = count, batch_size
        self.per_epoch = count // batch_size
        self._epoch = functools.lru_cache(maxsize=4)(self._shuffled)  # the runs of a search share their seed

    def rows(self, seed: int, step: int, steps: int) -> Any:
        """Return the samples of `steps` batches from `step` on, as an int32 array [steps, batch_size]."""
        epochs = range(step // self.per_epoch, (step + steps - 1) // self.per_epoch + 1)
        first = step - epochs[0] * self.per_epoch
        return np.concatenate([self._epoch(seed, epoch) for epoch in epochs])[first : first + steps]

    def _shuffled(self, seed: int, epoch: int) -> Any:
        order = np.random.default_rng([seed % 2**63, epoch]).permutation(self._count).astype(np.int32)
        return order[: self.per_epoch * self._batch_size].reshape(self.per_epoch, self._batch_size)


def _checksum(leaves: list[Any]) -> str:
    """Return a short hash of the arrays' shapes and of about a thousand values of each."""
    digest = hashlib.sha256()
    for leaf in leaves:
        flat = leaf.reshape(-1)
        some = np.asarray(flat[:: max(1, len(flat) // 1000)])
        digest.update(f"{tuple(leaf.shape)} {leaf.dtype} {some.tolist()}".encode())
    return digest.hexdigest()[:16]
