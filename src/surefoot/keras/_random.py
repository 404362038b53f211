"""Global random number generators as a value: taken, given back, so that the user's own are never disturbed.

TensorFlow's own global seed is neither used nor changed: what Keras draws comes from its seed generators.
"""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras.src.backend.common import global_state

import keras

_KERAS = ("global_random_seed", "global_seed_generator")  # what keras.utils.set_random_seed changes


@dataclass(frozen=True, slots=True)
class Randomness:
    """The states of Python's and NumPy's global generators, and, where torch is the backend, of torch's."""

    python: tuple[Any, ...]
    numpy: tuple[Any, ...]
    torch: tuple[Any, ...] = ()

    @classmethod
    def take(cls) -> Randomness:
        """Return the present states."""
        legacy: Any = np.random.get_state(legacy=True)  # noqa: NPY002 - users' layers and data draw from it
        return cls(random.getstate(), legacy, tuple(get() for get, _ in _torch()))

    def give(self) -> None:
        """Make these the present states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002 - as above
        for (_, give), state in zip(_torch(), self.torch, strict=False):
            give(state)

    def to_plain(self) -> dict[str, Any]:
        """Return numbers, strings and lists only."""
        kind, keys, position, has_gauss, gauss = self.numpy
        return {
            "python": [self.python[0], list(self.python[1]), self.python[2]],
            "numpy": [str(kind), [int(k) for k in keys], int(position), int(has_gauss), float(gauss)],
            "torch": [state.tolist() for state in self.torch],
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Randomness:
        """Return what `to_plain` wrote."""
        version, state, gauss_next = plain["python"]
        kind, keys, *rest = plain["numpy"]
        torch_states: list[Any] = []
        if plain["torch"]:
            import torch  # noqa: PLC0415 - only where it is the backend

            torch_states = [torch.tensor(state, dtype=torch.uint8) for state in plain["torch"]]
        python = (version, tuple(state), gauss_next)
        return cls(python, (kind, np.array(keys, dtype=np.uint32), *rest), tuple(torch_states))


def _torch() -> list[tuple[Any, Any]]:
    """Return how torch's global states are read and written, if torch is the backend."""
    if keras.backend.backend() != "torch":
        return []
    import torch  # noqa: PLC0415 - only where it is the backend

    on_device = [(torch.cuda.get_rng_state, torch.cuda.set_rng_state)] if torch.cuda.is_available() else []
    return [(torch.get_rng_state, torch.set_rng_state), *on_device]


def seeded(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators; Keras takes its own seeds from Python's."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - as above
    if keras.backend.backend() == "torch":
        import torch  # noqa: PLC0415 - only where it is the backend

        torch.manual_seed(seed % 2**63)


@contextmanager
def borrowed(generator: Any = None) -> Generator[None]:
    """Let the body use the global generators freely; put the user's states back afterwards.

    Keras' global one is `generator` meanwhile; None for a new one, made when it is first needed.
    """
    before = Randomness.take()
    kept = {name: global_state.get_global_attribute(name) for name in _KERAS}
    global_state.set_global_attribute("global_random_seed", None)
    global_state.set_global_attribute("global_seed_generator", generator)
    try:
        yield
    finally:
        before.give()
        for name, value in kept.items():
            global_state.set_global_attribute(name, value)
