"""Random number generators as a value: taken, given back, so that the user's own are never disturbed."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import torch
from torch import Tensor

CPU = torch.device("cpu")


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
        on_device = None
        if device.type == "cuda":
            on_device = torch.cuda.get_rng_state(device)
        elif device.type == "mps":
            on_device = torch.mps.get_rng_state()
        legacy: Any = np.random.get_state(legacy=True)  # noqa: NPY002 - users' augmentations draw from it
        return cls(torch.get_rng_state(), on_device, random.getstate(), legacy)

    def give(self, device: torch.device) -> None:
        """Make these the present states."""
        torch.set_rng_state(self.cpu)
        if self.device is not None and device.type == "cuda":
            torch.cuda.set_rng_state(self.device, device)
        elif self.device is not None and device.type == "mps":
            torch.mps.set_rng_state(self.device)
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


def seeded(seed: int, device: torch.device = CPU) -> None:
    """Seed torch's (CPU and one device; `torch.manual_seed` would reach them all), Python's and NumPy's generators."""
    torch.default_generator.manual_seed(seed % 2**63)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed % 2**63)
    elif device.type == "mps":
        torch.mps.manual_seed(seed % 2**63)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - as above


@contextmanager
def borrowed(device: torch.device) -> Generator[None]:
    """Let the body use the global generators freely; put the user's states back afterwards."""
    before = Randomness.take(device)
    try:
        yield
    finally:
        before.give(device)


class Noise:
    """The randomness of one stream of data: the global generators of the CPU and the loader's own, seeded together.

    It is kept apart from the model's, so that a stream that is opened again in the middle of an epoch, and has to load
    and throw away what went before, goes on exactly like one that was never closed.
    """

    def __init__(self, seed: int, own: list[torch.Generator]) -> None:
        self._own = own
        with borrowed(CPU):
            seeded(seed)
            self._global = Randomness.take(CPU)
        self._states = [torch.Generator(g.device).manual_seed(seed % 2**63).get_state() for g in own]

    @contextmanager
    def lent(self) -> Generator[None]:
        """Let the body draw from this randomness."""
        before = [g.get_state() for g in self._own]
        with borrowed(CPU):
            self._global.give(CPU)
            for generator, state in zip(self._own, self._states, strict=True):
                generator.set_state(state)
            try:
                yield
            finally:
                self._global = Randomness.take(CPU)
                self._states = [g.get_state() for g in self._own]
                for generator, state in zip(self._own, before, strict=True):
                    generator.set_state(state)
