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
from typing import Any, ClassVar

import keras
from surefoot._checks import refuse
from surefoot.keras._arguments import say_once
from surefoot.keras._kept import Kept
from surefoot.keras._layer_rates import LayerRates
from surefoot.keras._schedules import PerUpdate, as_rate
from surefoot.keras._vector_step import dense, is_distributed, is_sparse, take_vector_step
from surefoot.rules import Complete, Rule
from surefoot.schedules import Schedule

if keras.backend.backend() == "torch":
    from surefoot.keras._torch_step import take_torch_step as take_step
else:
    take_step = take_vector_step

ops: Any = keras.ops


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
    """Mixed into a Keras optimizer: a rule takes its step, and what Keras lacks around the step is here.

    Attributes:
        decay: of the rate: update t is taken with `learning_rate / (1 + decay * t)`, t from 0, as in Keras 2.
        style: "keras" or "torch", whose conventions are followed.
        layer_rates: factors of the rate by layer.
    """

    decay: float = 0.0
    style: str = "keras"
    layer_rates: LayerRates | None = None
    in_step: InStep | None = None  # set by our callbacks
    is_decoupled: ClassVar[bool] = False  # whether weights decay beside the rule in torch's class too
    has_keras_step: ClassVar[bool] = True  # whether Keras' own step can take ours' place
    _factors: tuple[float, ...] = ()  # of each variable's rate, once they are known

    @property
    def rule(self) -> Rule:
        """The rule with the present settings; every step asks anew."""
        raise NotImplementedError

    @property
    def whole_rule(self) -> Rule:
        """The rule, with weight decay inside where that goes through the gradient, or with a rate that the rule finds."""
        if not self.inner_decay:
            return self.rule
        return Complete(rule=self.rule, weight_decay=self.inner_decay, is_decoupled=not self.coupled_decay)

    @property
    def coupled_decay(self) -> float:
        """The weight decay that is added to the gradient, as torch does but for AdamW."""
        return self.weight_decay or 0.0 if self.style == "torch" and not self.is_decoupled else 0.0

    @property
    def inner_decay(self) -> float:
        """The weight decay that is part of our step: Keras', before it, knows no rate that the rule finds."""
        return self.coupled_decay or (self.weight_decay or 0.0 if self.rule.finds_rate else 0.0)

    def slots_for(self, variables: Sequence[Any]) -> dict[str, Any]:
        """Return by the rule's names the Keras variables of the slots: a list, or for a number a single one."""
        raise NotImplementedError

    def factors_of(self, variables: Sequence[Any]) -> list[float] | None:
        """Return for each variable the factor of its rate; None where all have the same."""
        return [self._factors[self._get_variable_index(v)] for v in variables] if self._factors else None

    def are_decayed(self, variables: Sequence[Any]) -> list[bool]:
        """Return for each variable whether its weights decay."""
        return [self._use_weight_decay(v) for v in variables]

    # ---- the rate ----------------------------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> Any:
        """The rate, before `decay` and factors of layers: a variable, or what a schedule says now."""
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, Schedule) or callable(value):
            value = as_rate(type(self).__name__, value, say_once)
        elif self.in_step is not None:  # what is written is the rate of the next update; the schedule goes on from it
            present: Any = ops.convert_to_numpy(self._factor_in_step())
            value = value / float(present) if present else value
        theirs: Any = keras.optimizers.Optimizer.learning_rate
        theirs.fset(self, value)

    @property
    def lr(self) -> Any:
        """The old spelling of `learning_rate`."""
        say_once("`optimizer.lr` is the old spelling: write `optimizer.learning_rate`.")
        return self.learning_rate

    @lr.setter
    def lr(self, value: Any) -> None:
        say_once("`optimizer.lr` is the old spelling: write `optimizer.learning_rate`.")
        self.learning_rate = value

    def __dir__(self) -> list[str]:
        """Leave out the old spelling: Keras' saving reads every attribute that is listed, and would be told of it."""
        return [name for name in super().__dir__() if name != "lr"]

    @property
    def current_learning_rate(self) -> Any:
        """The rate of the next update: `learning_rate`, lowered by `decay`."""
        lr = self._get_current_learning_rate()
        return lr / (1.0 + self.decay * ops.cast(self.iterations, keras.config.floatx())) if self.decay else lr

    def _get_current_learning_rate(self) -> Any:
        if isinstance(self._learning_rate, PerUpdate):
            return self._learning_rate(self.iterations)  # Keras hands out the number of batches
        rate: Any = super()._get_current_learning_rate()
        return rate if self.in_step is None else ops.convert_to_tensor(rate) * self._factor_in_step()

    def _factor_in_step(self) -> Any:
        assert self.in_step is not None
        updates: Any = ops.convert_to_tensor(self.iterations)
        if keras.backend.backend() == "torch" and not sys.modules["torch"].compiler.is_compiling():
            updates = int(updates)  # a schedule of Python numbers takes 1 us, of tensors 50
        return ops.cast(self.in_step.factor_at(updates), keras.config.floatx())

    @cached_property
    def learning_rate_state(self) -> Kept:
        """What callbacks know of the learning rate; saved and loaded with the optimizer, also before there are any."""
        return Kept()

    # ---- the step ----------------------------------------------------------------------------------------------------

    def build(self, variables: Any) -> None:
        """Make the slots; Keras calls it before the first step."""
        if not self.built and self.layer_rates is not None:
            self._factors = self.layer_rates.factors_of(type(self).__name__, variables)
        super().build(variables)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras saves them; where nothing was asked that Keras lacks, they are Keras' own."""
        config: dict[str, Any] = dict(super().get_config())
        if self.decay:
            config["decay"] = self.decay
        if self.style != "keras":
            config["style"] = self.style
        if self.layer_rates is not None:
            config["multipliers"] = dict(self.layer_rates.entries)
        return config

    def _filter_empty_gradients(self, grads: Any, variables: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        grads, variables = super()._filter_empty_gradients(grads, variables)
        if 0.0 not in self._factors:
            return grads, variables
        # Out of sight: what is frozen neither decays nor is clipped, and no NaN comes in.
        moving = [(g, v) for g, v in zip(grads, variables, strict=True) if self._factors[self._get_variable_index(v)]]
        return [g for g, _ in moving], [v for _, v in moving]

    def _apply_weight_decay(self, variables: Any) -> None:
        if self.weight_decay is None or self.inner_decay:
            return
        factors = self.factors_of(variables)
        if factors is None and not self.decay and self.style == "keras":
            super()._apply_weight_decay(variables)
            return
        if is_distributed():
            cure = "Give a schedule, such as schedules.InverseTimeDecay, in place of decay, and no multipliers."
            raise refuse(
                type(self).__name__, "weight_decay", self.weight_decay, "None with a tf.distribute strategy", cure
            )
        lr = self.current_learning_rate
        for v, factor in zip(variables, factors or [1.0] * len(variables), strict=True):
            if self._use_weight_decay(v):
                self.assign(v, v - v * (ops.cast(lr, v.dtype) * (factor * self.weight_decay)))

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        is_ours = not is_distributed() and not any(is_sparse(g) for g in grads)
        if is_ours and take_step(self, grads, trainable_variables, learning_rate):
            return
        if self.has_keras_step and self.style == "keras" and not self._factors:
            super()._backend_update_step(grads, trainable_variables, self.current_learning_rate)
            return
        if is_distributed():
            cure = "What Keras lacks (this rule, style or multipliers) sees all variables at once."
            raise refuse(type(self).__name__, "rule", self.rule, "used without a tf.distribute strategy", cure)
        take_vector_step(self, [dense(g) for g in grads], trainable_variables, learning_rate)
