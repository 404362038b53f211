"""Random number generators as a value: taken, given back, so that the user's own are never disturbed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import torch
from torch import Tensor


@dataclass(slots=True)
class Randomness:
    """The states of torch's (CPU and one device), Python's and NumPy's global generators."""

    cpu: Tensor
    device: Tensor | None
    python: tuple[Any, ...]
    numpy: tuple[Any, ...]

    @classmethod
    def take(cls, device: torch.device) -> Randomness:
        """Return the present states."""
        on_cuda = device.type == "cuda"
        return cls(
            torch.get_rng_state(),
            torch.cuda.get_rng_state(device) if on_cuda else None,
            random.getstate(),
            np.random.get_state(legacy=True),  # noqa: NPY002 - users' augmentations draw from it  # pyright: ignore[reportArgumentType]
        )

    def give(self, device: torch.device) -> None:
        """Make these the present states."""
        torch.set_rng_state(self.cpu)
        if self.device is not None:
            torch.cuda.set_rng_state(self.device, device)
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002 - as above

    def to_plain(self) -> dict[str, Any]:
        """Return tensors, numbers and lists only, so that torch.load(weights_only=True) reads them."""
        kind, keys, position, has_gauss, gauss = self.numpy
        return {
            "cpu": self.cpu,
            "device": self.device,
            "python": [self.python[0], list(self.python[1]), self.python[2]],
            "numpy": [str(kind), [int(k) for k in keys], int(position), int(has_gauss), float(gauss)],
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Randomness:
        """Return what `to_plain` wrote."""
        version, state, gauss_next = plain["python"]
        kind, keys, *rest = plain["numpy"]
        return cls(
            plain["cpu"],
            plain["device"],
            (version, tuple(state), gauss_next),
            (kind, np.array(keys, dtype=np.uint32), *rest),
        )


def seeded(seed: int) -> None:
    """Seed torch's (all devices), Python's and NumPy's global generators."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - as above


@contextmanager
def borrowed(device: torch.device) -> Iterator[None]:
    """Let the body use the global generators freely; put the user's states back afterwards."""
    before = Randomness.take(device)
    try:
        yield
    finally:
        before.give(device)
