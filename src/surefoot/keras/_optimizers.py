"""Keras' optimizers by their own names: its arguments, its state, its conventions; the step is a rule's."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# Its classes do not agree on how the argument of `build` is called.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import keras
from surefoot import rules
from surefoot._checks import refuse
from surefoot.keras._arguments import OURS, Bounds, arguments_of, bind, say_once, signature_of, with_ours
from surefoot.keras._step import RuleStep
from surefoot.rules import Rule

T = TypeVar("T")

registered: Any = keras.saving.register_keras_serializable(package="surefoot")


class DropIn(RuleStep):
    """Mixed into an optimizer of Keras: its state stays in Keras' own variables; its arguments are checked first."""

    slots: ClassVar[dict[str, str]] = {}  # the rule's names -> the attributes in which Keras keeps them
    bounds: ClassVar[dict[str, Bounds]] = {}  # where they differ from what the name usually allows
    of_torch: ClassVar[dict[str, float] | None] = (
        None  # torch's defaults where they differ; None: torch has no such class
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if DropIn in cls.__bases__:
            host, signature = super().__init__, signature_of(cls.__bases__[-1])
            names = arguments_of(cls.__bases__[-1])

            @functools.wraps(host)
            def init(self: DropIn, *args: Any, **kwargs: Any) -> None:
                values = bind(type(self).__name__, names, args, kwargs, cls.bounds)
                self._begin(host, values)

            init.__signature__ = with_ours(signature)  # pyright: ignore[reportAttributeAccessIssue] - functions have it
            cls.__init__ = init

    def _begin(self, host: Any, values: dict[str, Any]) -> None:
        """Call the `__init__` of Keras, with torch's defaults in place of its own where that is asked for."""
        where = type(self).__name__
        ours = {name: values.pop(name) for name in OURS if name in values}
        if ours.get("style") == "torch":
            if self.of_torch is None:
                cure = f"torch has no {where}; Keras' is as its authors wrote it."
                raise refuse(where, "style", "torch", "'keras'", cure)
            values = {**self.of_torch, **values}
        if values.get("nesterov") and not values.get("momentum"):
            say_once(f"`{where}(nesterov=True)` does nothing without momentum: give `momentum=0.9`, or leave it out.")
        host(self, **values)
        self.decay = ours.get("decay", self.decay)
        self.style = ours.get("style", self.style)
        self.layer_rates = ours.get("multipliers")

    def slots_for(self, variables: Sequence[Any]) -> dict[str, Any]:
        """Return by the rule's names the Keras variables of the slots."""
        index = [self._get_variable_index(v) for v in variables]
        found: dict[str, Any] = {}
        for name, attribute in self.slots.items():
            kept = getattr(self, attribute, [])
            if not isinstance(kept, list):
                found[name] = kept
            elif kept:
                found[name] = [kept[i] for i in index]
        return found


def as_keras_makes(kind: type[T]) -> type[T]:
    """Return the class of what a call of Keras' own returns: on torch, one that uses foreach."""
    return type(kind.__new__(kind))


@registered
class SGD(DropIn, as_keras_makes(keras.optimizers.SGD)):
    """Step against the gradient, or against a running sum of steps: `keras.optimizers.SGD` on `surefoot.rules.SGD`.

    Use it for convolutional networks and wherever a well-tuned rate is at hand; not where the rate is a guess.
    The rate is inside the momentum, as in Keras: a lower rate does not rescale earlier steps, so momentum outlasts it.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        momentum: 0 for none; in [0, 1].
        nesterov: look ahead along the momentum.
        weight_decay: and all that follow are those of every Keras optimizer.
        style: "torch": the rate outside of the momentum, weight decay as L2 penalty, and torch's default rate of 0.001.
        lr, decay, multipliers: see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    >>> SGD(momentum=0.9, nestrov=True)
    Traceback (most recent call last):
    surefoot._errors.ArgumentError: `SGD(nestrov=True)`: nestrov must be left out: there is no such argument. Did you mean 'nesterov'?
    """

    slots: ClassVar[dict[str, str]] = {"m": "momentums"}
    of_torch: ClassVar[dict[str, float] | None] = {"learning_rate": 0.001}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        is_keras = self.style == "keras"
        return rules.SGD(momentum=self.momentum, nesterov=self.nesterov, rate_in_buffer=is_keras)


@registered
class Adagrad(DropIn, as_keras_makes(keras.optimizers.Adagrad)):
    """Divide by the root of the sum of all squared gradients: `keras.optimizers.Adagrad` on `surefoot.rules.Adagrad`.

    Use it for sparse features and convex problems; in long runs its rate dies away.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates; Keras' default is low.
        initial_accumulator_value: what the sum starts with.
        epsilon: inside the root, as in Keras.
        weight_decay: and all that follow are those of every Keras optimizer.
        style: "torch": epsilon outside of the root, weight decay as L2 penalty, and torch's defaults: a rate of 0.01,
            initial_accumulator_value 0 and epsilon 1e-10.
        lr, decay, multipliers: see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = {"v": "_accumulators"}
    of_torch: ClassVar[dict[str, float] | None] = {
        "learning_rate": 0.01,
        "initial_accumulator_value": 0.0,
        "epsilon": 1e-10,
    }

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        is_keras = self.style == "keras"
        return rules.Adagrad(start=self.initial_accumulator_value, eps=self.epsilon, eps_inside=is_keras)


@registered
class Adadelta(DropIn, as_keras_makes(keras.optimizers.Adadelta)):
    """Scale by past changes over past gradients: `keras.optimizers.Adadelta` on `surefoot.rules.Adadelta`.

    Use it where no rate is known and speed does not matter, with a rate of 1: Keras' default of 0.001 hardly moves.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        rho: of the running means; in [0, 1].
        epsilon: inside the roots; it also decides how fast the start is.
        weight_decay: and all that follow are those of every Keras optimizer.
        style: "torch": weight decay as L2 penalty, and torch's defaults: a rate of 1, rho 0.9 and epsilon 1e-6.
        lr, decay, multipliers: see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = {"v": "_accumulated_grads", "u": "_accumulated_delta_vars"}
    of_torch: ClassVar[dict[str, float] | None] = {"learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-6}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return rules.Adadelta(rho=self.rho, eps=self.epsilon)


@registered
class RMSprop(DropIn, as_keras_makes(keras.optimizers.RMSprop)):
    """Divide by a running root mean square of gradients: `keras.optimizers.RMSprop` on `surefoot.rules.RMSprop`.

    Use it for recurrent networks and reinforcement learning; Adam is RMSprop with momentum done right.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        rho: of the running mean; in [0, 1].
        momentum: 0 for none; in [0, 1]. The rate is inside it, as in Keras.
        epsilon: inside the root, as in Keras.
        centered: subtract the square of the mean gradient.
        weight_decay: and all that follow are those of every Keras optimizer.
        style: "torch": epsilon outside of the root, the rate outside of the momentum, weight decay as L2 penalty, and
            torch's defaults: a rate of 0.01, rho 0.99 and epsilon 1e-8.
        lr, decay, multipliers: see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = {"v": "_velocities", "a": "_average_gradients", "m": "_momentums"}
    of_torch: ClassVar[dict[str, float] | None] = {"learning_rate": 0.01, "rho": 0.99, "epsilon": 1e-8}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        is_keras = self.style == "keras"
        return rules.RMSprop(
            rho=self.rho,
            eps=self.epsilon,
            momentum=self.momentum,
            centered=self.centered,
            eps_inside=is_keras,
            rate_in_buffer=is_keras,
        )


@registered
class Adam(DropIn, as_keras_makes(keras.optimizers.Adam)):
    """Momentum over the running root mean square: `keras.optimizers.Adam` on `surefoot.rules.Adam`.

    Use it when in doubt; `AdamW` for anything large.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        beta_1: of the momentum; in [0, 1).
        beta_2: of the mean square; in [0, 1).
        epsilon: the paper's "epsilon hat", added before the correction, as in Keras: at the first step it weighs 30
            times as much as torch's.
        amsgrad: divide by the largest mean square so far.
        weight_decay: and all that follow are those of every Keras optimizer.
        style: "torch": epsilon added after the correction, weight decay as L2 penalty, and torch's epsilon of 1e-8.
        lr, decay, multipliers: see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    >>> optimizer = Adam(learning_rate=0.01)
    >>> weight = keras.Variable([1.0, -2.0])
    >>> optimizer.apply([keras.ops.convert_to_tensor([0.5, 0.1])], [weight])
    >>> print(keras.ops.convert_to_numpy(weight).round(4))
    [ 0.99 -2.01]
    """

    slots: ClassVar[dict[str, str]] = {"m": "_momentums", "v": "_velocities", "v_max": "_velocity_hats"}
    of_torch: ClassVar[dict[str, float] | None] = {"epsilon": 1e-8}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return _adam(self)


@registered
class AdamW(DropIn, as_keras_makes(keras.optimizers.AdamW)):
    """Adam with weights that decay beside it: `keras.optimizers.AdamW` on `surefoot.rules.Adam`.

    Use it for anything large. In Keras every optimizer's decay is decoupled: this is `Adam` with another default.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        weight_decay: of a rate of 1; each step takes `learning_rate * weight_decay` of the weights.
        beta_1: of the momentum; in [0, 1).
        beta_2: of the mean square; in [0, 1).
        epsilon: "epsilon hat", as in `Adam`.
        amsgrad: divide by the largest mean square so far.
        clipnorm: and all that follow are those of every Keras optimizer.
        style: "torch": epsilon added after the correction, and torch's defaults: weight_decay 0.01 and epsilon 1e-8.
        lr, decay, multipliers: see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = Adam.slots
    of_torch: ClassVar[dict[str, float] | None] = {"weight_decay": 0.01, "epsilon": 1e-8}
    is_decoupled: ClassVar[bool] = True

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return _adam(self)


def _adam(optimizer: Adam | AdamW) -> Rule:
    o = optimizer
    return rules.Adam(b1=o.beta_1, b2=o.beta_2, eps=o.epsilon, amsgrad=o.amsgrad, eps_hat=o.style == "keras")


@registered
class Nadam(DropIn, as_keras_makes(keras.optimizers.Nadam)):
    """Adam that looks ahead: `keras.optimizers.Nadam` on `surefoot.rules.NAdam`.

    Use it as Adam, where a little speed at the start counts.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        beta_1: of the momentum, in [0, 1); it grows from half of it, 250 times as fast as torch's.
        beta_2: of the mean square; in [0, 1).
        epsilon: at least 0.
        weight_decay: and all that follow are those of every Keras optimizer.
        style: "torch": a momentum that grows 250 times as slowly, weight decay as L2 penalty, and torch's defaults: a rate
            of 0.002 and epsilon 1e-8.
        lr, decay, multipliers: see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = {"m": "_momentums", "v": "_velocities", "mu_product": "_u_product"}
    of_torch: ClassVar[dict[str, float] | None] = {"learning_rate": 0.002, "epsilon": 1e-8}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        growth = 1.0 if self.style == "keras" else 0.004
        return rules.NAdam(b1=self.beta_1, b2=self.beta_2, eps=self.epsilon, momentum_decay=growth)


@registered
class Adamax(DropIn, as_keras_makes(keras.optimizers.Adamax)):
    """Momentum over the largest recent gradient: `keras.optimizers.Adamax` on `surefoot.rules.Adamax`.

    Use it where single large gradients disturb Adam: embeddings, sparse features.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        beta_1: of the momentum; in [0, 1).
        beta_2: by which the largest gradient is forgotten; in [0, 1).
        epsilon: added to the largest gradient.
        weight_decay: and all that follow are those of every Keras optimizer.
        style: "torch": epsilon added to each gradient's size, weight decay as L2 penalty, and torch's defaults: a rate of
            0.002 and epsilon 1e-8.
        lr, decay, multipliers: see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = {"m": "_m", "u": "_u"}
    of_torch: ClassVar[dict[str, float] | None] = {"learning_rate": 0.002, "epsilon": 1e-8}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return rules.Adamax(b1=self.beta_1, b2=self.beta_2, eps=self.epsilon, eps_outside=self.style == "keras")


@registered
class Lion(DropIn, as_keras_makes(keras.optimizers.Lion)):
    """Step by the sign of momentum: `keras.optimizers.Lion` on `surefoot.rules.Lion`.

    Use it with a rate 3 to 10 times smaller than Adam's, and a larger weight decay; it needs large batches.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        beta_1: of the step; in (0, 1). Keras takes 1 too, with which a step would not see its gradient.
        beta_2: of the momentum; in [0, 1).
        weight_decay: and all that follow are those of every Keras optimizer.
        style: torch has no Lion, so "keras" only.
        lr, decay, multipliers: see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = {"m": "_momentums"}
    bounds: ClassVar[dict[str, Bounds]] = {"beta_1": {"above": 0.0, "below": 1.0}}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return rules.Lion(b1=self.beta_1, b2=self.beta_2)
