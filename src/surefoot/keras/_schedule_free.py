"""Schedule-Free SGD and AdamW as Keras optimizers, and the callback that shows each part of a fit the right weights."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from typing import Any

import keras
from surefoot import rules
from surefoot._checks import integer, number, refuse
from surefoot._errors import ArgumentTypeError
from surefoot.keras._arguments import checked, say_once, takes_lr
from surefoot.keras._optimizers import registered
from surefoot.keras._rates import leaves
from surefoot.keras._rule_optimizer import RuleOptimizer
from surefoot.keras._vector_step import compute_dtype, outside_of_graphs, value_of
from surefoot.rules import Rule

ops: Any = keras.ops


class ScheduleFreeOptimizer(RuleOptimizer):
    """Two points: the weights are y while the model trains, and x, the average, after `to_average()`."""

    is_swapped = False  # by a callback or by hand, at least once

    def __init__(self, rule: Rule, learning_rate: Any, **options: Any) -> None:
        super().__init__(rule, learning_rate, **options)
        if self.layer_rates is not None:
            cure = "How much a step counts in the average is one number for the whole model."
            raise refuse(type(self).__name__, "multipliers", options["multipliers"], "left out", cure)
        if self.use_ema:
            cure = "The average of Schedule-Free is better than a second one."
            raise refuse(type(self).__name__, "use_ema", value=True, allowed="False", cure=cure)

    @property
    def inner_decay(self) -> float:
        """None of Keras': the decay is part of the rule."""
        return 0.0

    @property
    def coupled_decay(self) -> float:
        """None of Keras'."""
        return 0.0

    def _apply_weight_decay(self, variables: Any) -> None:
        """Leave it to the rule, which lets y decay and with it all three points."""

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Refuse it: here all weights decay.

        Raises:
            ArgumentError: always.
        """
        cure = "Leave weight_decay out, or use kernel_regularizer on the layers that shall decay."
        raise refuse("exclude_from_weight_decay", "var_names", var_names or var_list, "left out", cure)

    def build(self, variables: Any) -> None:
        """Make the slots; Keras calls it before the first step."""
        if self.built:
            return
        super().build(variables)
        dtype = compute_dtype(variables)
        with outside_of_graphs():
            copies = [ops.copy(value_of(v, dtype)) for v, _ in self._pairs()]  # else both would share their memory
        rows = zip(self._pairs(), copies, strict=True)
        self._kept = [None if z is None else self._slot("y", y, dtype, v) for (v, z), y in rows]
        self._is_average = self._slot("is_average", 0.0, dtype)

    @property
    def is_average(self) -> bool:
        """Whether the weights are the average."""
        return self.built and bool(ops.convert_to_numpy(self._is_average) > 0.5)

    def to_average(self) -> None:
        """Let the weights be the average: before validation, prediction and saving. Again does nothing."""
        self.is_swapped = True
        if not self.built or self.is_average:
            return
        for (v, z), y in zip(self._pairs(), self._kept, strict=True):
            if z is not None and y is not None:
                present, at = value_of(v, y.dtype), value_of(z, y.dtype)
                y.assign(ops.copy(present))
                v.assign(ops.cast(self.rule.average(present, at), v.dtype))  # pyright: ignore[reportAttributeAccessIssue]
        self._is_average.assign(1.0)

    def to_training(self) -> None:
        """Let the weights be those to train again, bit for bit. Again does nothing."""
        if not self.is_average:
            return
        for (v, _), y in zip(self._pairs(), self._kept, strict=True):
            if y is not None:
                v.assign(ops.copy(ops.cast(value_of(y, y.dtype), v.dtype)))
        self._is_average.assign(0.0)

    def save_own_variables(self, store: Any) -> None:
        """Save the variables; Keras calls it."""
        if not self.is_swapped and int(ops.convert_to_numpy(self.iterations)):
            say_once(
                f"`{type(self).__name__}`: what is saved are the weights to train. Those to evaluate and to deploy are "
                "there after `optimizer.to_average()`, or give fit the callback surefoot.keras.EvaluateAverage()."
            )
        super().save_own_variables(store)

    def _pairs(self) -> list[tuple[Any, Any]]:
        return list(zip(self._trainable_variables, self._slots["z"], strict=True))


def _wrapped(where: str, inner: Rule, b1: float, weight_decay: Any, warmup_steps: Any, r: Any, power: Any) -> Rule:
    decay = 0.0 if weight_decay is None else number(where, "weight_decay", weight_decay, at_least=0.0)
    if not b1:
        name = "momentum" if where == "SGDScheduleFree" else "beta_1"
        raise refuse(where, name, b1, "above 0")
    return rules.ScheduleFree(
        rule=inner,
        b1=b1,
        warmup_steps=integer(where, "warmup_steps", warmup_steps, at_least=0),
        weight_lr_power=number(where, "weight_lr_power", power, at_least=0.0),
        r=number(where, "r", r, at_least=0.0),
        decay=decay,
    )


@registered
class SGDScheduleFree(ScheduleFreeOptimizer):
    """SGD whose iterates are averaged in the place of a schedule: `surefoot.rules.ScheduleFree`.

    Use it where the length of the run is open, with a constant rate 10 to 50 times that of SGD with a schedule, and
    with the callback `EvaluateAverage`. It keeps two arrays as large as the model.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        momentum: how far gradients are taken from what is averaged to the average; in (0, 1].
        weight_decay: at least 0; None for none. It is taken at the weights that train; all weights decay.
        warmup_steps: the rate grows linearly over so many updates.
        r: the average weighs by this power of the step; at least 0.
        weight_lr_power: and by this power of the highest rate so far; at least 0.
        options: `clipnorm` and so on, as in `keras.optimizers.Optimizer`; `decay`, see `surefoot.keras`. No
            `multipliers`: how much a step counts in the average is one number for the whole model.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    @takes_lr
    def __init__(
        self,
        learning_rate: Any = 1.0,
        momentum: float = 0.9,
        *,
        weight_decay: float | None = None,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        **options: Any,
    ) -> None:
        (momentum,) = checked("SGDScheduleFree", momentum=momentum)
        rule = _wrapped("SGDScheduleFree", rules.SGD(), momentum, weight_decay, warmup_steps, r, weight_lr_power)
        super().__init__(rule, learning_rate, weight_decay=weight_decay, **options)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras saves them."""
        return _config(super().get_config(), {"momentum": "b1"}, {})


@registered
class AdamWScheduleFree(ScheduleFreeOptimizer):
    """AdamW whose iterates are averaged in place of momentum and schedule: `surefoot.rules.ScheduleFree`.

    Use it where the length of the run is open, with a constant rate 1 to 10 times that of AdamW with a schedule, and
    with the callback `EvaluateAverage`. It keeps three arrays as large as the model.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        beta_1: how far gradients are taken from what is averaged to the average; in (0, 1).
        beta_2: of the mean square; in [0, 1).
        epsilon: at least 0; None is 1e-8.
        weight_decay: at least 0; None for none. It is taken at the weights that train; all weights decay.
        warmup_steps: the rate grows linearly over so many updates.
        r: the average weighs by this power of the step; at least 0.
        weight_lr_power: and by this power of the highest rate so far; at least 0.
        options: `clipnorm` and so on, as in `keras.optimizers.Optimizer`; `decay`, see `surefoot.keras`. No
            `multipliers`: how much a step counts in the average is one number for the whole model.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    @takes_lr
    def __init__(
        self,
        learning_rate: Any = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        *,
        weight_decay: float | None = None,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        **options: Any,
    ) -> None:
        where, epsilon = "AdamWScheduleFree", 1e-8 if epsilon is None else epsilon
        b1, b2, eps = checked(where, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
        inner = rules.RMSprop(rho=b2, eps=eps, unbiased=True)
        rule = _wrapped(where, inner, b1, weight_decay, warmup_steps, r, weight_lr_power)
        super().__init__(rule, learning_rate, weight_decay=weight_decay, **options)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras saves them."""
        return _config(super().get_config(), {"beta_1": "b1"}, {"beta_2": "rho", "epsilon": "eps"})


def _config(config: dict[str, Any], outer: dict[str, str], inner: dict[str, str]) -> dict[str, Any]:
    """Return a configuration with the optimizer's own arguments in place of the rule."""
    fields = config.pop("rule")["fields"]
    outer = {**outer, **{name: name for name in ("warmup_steps", "r", "weight_lr_power")}}
    within = fields["rule"]["fields"]
    return {
        **{name: fields[field] for name, field in outer.items()},
        **{name: within[field] for name, field in inner.items()},
        **config,
    }


class EvaluateAverage(keras.callbacks.Callback):
    """Show validation, prediction and what is saved the average of a Schedule-Free optimizer; train what is to train.

    Give it to every `fit` with `SGDScheduleFree` or `AdamWScheduleFree`, before `ModelCheckpoint`, so that what that
    saves is the average too; and to `evaluate` and `predict` between two fits, unless the last fit has ended: it leaves
    the average in the model. A run that is resumed from either kind of weights goes on exactly, as the optimizer keeps
    the others. Batch normalization has seen the weights that train, not their average; its statistics are left alone.

    Args:
        on_epoch_end: let callbacks behind this one see the average at the end of an epoch.

    Raises:
        ArgumentTypeError: when training begins and no optimizer of the model is Schedule-Free.
    """

    def __init__(self, *, on_epoch_end: bool = True) -> None:
        super().__init__()
        self._at_epoch_end = on_epoch_end
        self._was_training = False

    def _optimizers(self) -> list[ScheduleFreeOptimizer]:
        model: Any = self.model
        found = [leaf for leaf in leaves(model.optimizer) if isinstance(leaf, ScheduleFreeOptimizer)]
        if not found:
            raise ArgumentTypeError(
                f"`EvaluateAverage`: the optimizer is a {type(model.optimizer).__name__}, which keeps no average. Compile "
                "the model with SGDScheduleFree or AdamWScheduleFree of surefoot.keras, or leave the callback out."
            )
        return found

    def _show(self, *, average: bool) -> None:
        for optimizer in self._optimizers():
            optimizer.to_average() if average else optimizer.to_training()

    def on_train_begin(self, logs: Any = None) -> None:
        """Train what is to train."""
        del logs
        self._show(average=False)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Train what is to train."""
        del epoch, logs
        self._show(average=False)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show what comes behind the average."""
        del epoch, logs
        if self._at_epoch_end:
            self._show(average=True)

    def on_train_end(self, logs: Any = None) -> None:
        """Leave the average in the model."""
        del logs
        self._show(average=True)

    def on_test_begin(self, logs: Any = None) -> None:
        """Evaluate the average."""
        del logs
        self._was_training = not all(o.is_average for o in self._optimizers())
        self._show(average=True)

    def on_test_end(self, logs: Any = None) -> None:
        """Go on with what was there."""
        del logs
        if self._was_training:
            self._show(average=False)

    def on_predict_begin(self, logs: Any = None) -> None:
        """Predict with the average."""
        self.on_test_begin(logs)

    def on_predict_end(self, logs: Any = None) -> None:
        """Go on with what was there."""
        self.on_test_end(logs)
