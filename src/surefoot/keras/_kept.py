"""What Keras saves and loads beside the weights, for callbacks: Keras itself keeps no callback's state."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import json
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import numpy as np

import keras
from surefoot._errors import StateError

VERSION = 1

_Saveable: Any = next(kind for kind in keras.optimizers.Optimizer.__mro__ if kind.__name__ == "KerasSaveable")


class Kept(_Saveable):
    """A text that travels with a model: Keras finds it as an attribute, and writes it into the file of the weights.

    A file without it loads as ever, and a model without it ignores the one in the file.

    Attributes:
        write: returns the text to save; None for the text that was loaded, so that loading and saving keeps it.
        loaded: the latest text that was loaded; who uses it sets it to None.
    """

    def __init__(self) -> None:
        self.write: Callable[[], str | None] | None = None
        self.loaded: str | None = None

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Save the text; Keras calls it."""
        text = self.loaded if self.write is None else self.write()
        if text is not None:
            store["state"] = np.frombuffer(text.encode(), dtype=np.uint8)

    def load_own_variables(self, store: Any) -> None:
        """Load the text, if there is one; Keras calls it."""
        if "state" in store.keys():  # noqa: SIM118 - Keras' stores have no `in`
            self.loaded = bytes(np.asarray(store["state"], dtype=np.uint8)).decode()

    def _obj_type(self) -> str:
        return "Loss"  # one of the kinds that Keras knows how to walk through, and none that it would act on


def read(kept: Sequence[Kept]) -> dict[str, Any] | None:
    """Return the state that Keras has loaded, if there is one.

    Raises:
        StateError: it is damaged, or of another version.
    """
    text = next((k.loaded for k in kept if k.loaded is not None), None)
    if text is None:
        return None
    try:
        state = json.loads(text)
        version, _ = state["version"], int(state["trained"])
    except (ValueError, KeyError, TypeError) as error:
        raise StateError(f"The saved state of the learning rate is damaged: {error!r}.") from error
    if version != VERSION:
        raise StateError(f"The saved state of the learning rate has version {version}; this is {VERSION}.")
    return state
