"""Weights to go back to: those of the best reading, and those of the last epoch without trouble. In memory."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from surefoot.control import Controller, flat
from surefoot.keras._rates import leaves


class Snapshots:
    """Copies of a model's variables, made only for controllers that may ask for them."""

    def __init__(self) -> None:
        self._wants_best = self._wants_good = False
        self._copies: dict[str, tuple[list[Any], list[Any]]] = {}

    def begin(self, model: Any, controllers: Sequence[Controller]) -> None:
        """Find out what may be asked for; the weights of the start are good ones."""
        self._copies = {}
        self._wants_best = any(getattr(c, "restore_best", False) for c in flat(controllers))
        self._wants_good = any(getattr(c, "action", None) == "rewind" for c in flat(controllers))
        if self._wants_good and not model.optimizer.built:  # on TensorFlow the first batch does it
            model.optimizer.build(model.trainable_variables)
        self.keep_good(model)

    def watch(self, controllers: Sequence[Controller]) -> Callable[[], bool]:
        """Return a function that says later whether a best value has changed since."""
        asking = [c for c in flat(controllers) if getattr(c, "restore_best", False)]
        before = [getattr(c, "best", None) for c in asking]
        return lambda: before != [getattr(c, "best", None) for c in asking]

    def keep_best(self, model: Any) -> None:
        """Copy the weights of the best reading."""
        if self._wants_best:
            self._copies["restore_best"] = self._copy(model.variables), []

    def keep_good(self, model: Any) -> None:
        """Copy weights and optimizer after an epoch without trouble."""
        if self._wants_good:
            self._copies["rewind"] = self._copy(model.variables), self._copy(_slots(model))

    def restore(self, model: Any, action: str) -> bool:
        """Go back, and return True; or return False where there is no copy."""
        if action not in self._copies:
            return False
        weights, slots = self._copies[action]
        for variables, values in ((model.variables, weights), (_slots(model), slots)):
            for variable, value in zip(variables, values, strict=False):  # no slots go back with the best weights
                variable.assign(value)
        return True

    def _copy(self, variables: Sequence[Any]) -> list[Any]:
        to_numpy: Any = keras.ops.convert_to_numpy
        return [to_numpy(v).copy() for v in variables]


def _slots(model: Any) -> list[Any]:
    """Return the optimizer's variables but its clocks and rates: time goes on, and the rate has its one owner."""
    optimizer = model.optimizer
    found = {id(optimizer): optimizer, **{id(leaf): leaf for leaf in leaves(optimizer)}}
    kept = {id(v) for o in found.values() for v in (o._iterations, o._learning_rate)}  # noqa: SLF001
    return [v for v in optimizer.variables if id(v) not in kept]
