"""The one driver: a rule takes the step of a Keras optimizer, on every backend.

Keras calls `_backend_update_step` with all gradients and variables at once, when it has unscaled, accumulated and
clipped the gradients and let the weights decay; moving averages and constraints come after. The method is private, and
the only one that sees the whole model on every backend.
"""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from surefoot.keras._vector_step import is_distributed, is_sparse
from surefoot.rules import Rule

if keras.backend.backend() == "torch":
    from surefoot.keras._torch_step import take_torch_step as take_step
else:
    from surefoot.keras._vector_step import take_vector_step as take_step


class RuleStep(keras.optimizers.Optimizer):
    """Mixed into a Keras optimizer: a rule takes its step."""

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
