"""The one driver: a rule takes the step of a Keras optimizer, on every backend.

Keras calls `_backend_update_step` with all gradients and variables at once, when it has unscaled, accumulated and
clipped the gradients and let the weights decay; moving averages and constraints come after. The method is private, and
the only one that sees the whole model on every backend.
"""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
from surefoot.keras._kept import Kept
from surefoot.keras._vector_step import is_distributed, is_sparse
from surefoot.rules import Rule
from surefoot.schedules import Schedule

if keras.backend.backend() == "torch":
    from surefoot.keras._torch_step import take_torch_step as take_step
else:
    from surefoot.keras._vector_step import take_vector_step as take_step


@dataclass(frozen=True, slots=True)
class InStep:
    """A schedule that is computed inside the step: the variable of the rate then holds everything but its factor.

    Attributes:
        schedule: with lengths in updates.
        origin: how many updates had been made where the schedule begins.
    """

    schedule: Schedule
    origin: int

    def factor_at(self, updates: Any) -> Any:
        """Return the factor of the update after so many."""
        return self.schedule(updates - self.origin)


class RuleStep(keras.optimizers.Optimizer):
    """Mixed into a Keras optimizer: a rule takes its step."""

    in_step: InStep | None = None  # set by surefoot.keras' callbacks

    @cached_property
    def learning_rate_state(self) -> Kept:
        """What callbacks know of the learning rate; saved and loaded with the optimizer, also before there are any."""
        return Kept()

    @property
    def learning_rate(self) -> Any:
        """The rate of the next update. What is written holds for that update; a schedule in the step goes on from it."""
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        setter: Any = keras.optimizers.Optimizer.learning_rate.fset
        if self.in_step is not None and not callable(value):
            present: Any = keras.ops.convert_to_numpy(self._factor_in_step())
            factor = float(present)
            value = value / factor if factor else value
        setter(self, value)

    def _get_current_learning_rate(self) -> Any:
        rate: Any = super()._get_current_learning_rate()
        return rate if self.in_step is None else keras.ops.convert_to_tensor(rate) * self._factor_in_step()

    def _factor_in_step(self) -> Any:
        assert self.in_step is not None
        updates: Any = keras.ops.convert_to_tensor(self.iterations)
        if keras.backend.backend() == "torch" and not sys.modules["torch"].compiler.is_compiling():
            updates = int(updates)  # a schedule of Python numbers takes 1 us, of tensors 50
        return keras.ops.cast(self.in_step.factor_at(updates), keras.backend.floatx())

    @property
    def rule(self) -> Rule:
        """The rule with the present settings; every step asks anew."""
        raise NotImplementedError

    def slots_for(self, variables: Sequence[Any]) -> dict[str, Any]:
        """Return by the rule's names the Keras variables of the slots: a list, or for a number a single one."""
        raise NotImplementedError

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        is_ours = not is_distributed() and not any(is_sparse(g) for g in grads)
        if not (is_ours and take_step(self, grads, trainable_variables, learning_rate)):
            self._host_step(grads, trainable_variables, learning_rate)

    def _host_step(self, grads: Any, variables: Any, learning_rate: Any) -> None:
        """Take Keras' own step, where ours cannot be taken."""
        super()._backend_update_step(grads, variables, learning_rate)
