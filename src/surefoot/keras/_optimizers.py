"""Keras' optimizers by their own names: its arguments, its state, its conventions; the step is a rule's."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import keras
from surefoot import rules
from surefoot.keras._arguments import Bounds, arguments_of, bind
from surefoot.keras._step import RuleStep
from surefoot.rules import Rule

T = TypeVar("T")

registered: Any = keras.saving.register_keras_serializable(package="surefoot")


class DropIn(RuleStep):
    """Mixed into an optimizer of Keras: its state stays in Keras' own variables; its arguments are checked first."""

    slots: ClassVar[dict[str, str]] = {}  # the rule's names -> the attributes in which Keras keeps them
    bounds: ClassVar[dict[str, Bounds]] = {}  # where they differ from what the name usually allows

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if DropIn in cls.__bases__:
            host = super().__init__
            names = arguments_of(cls.__bases__[-1])

            @functools.wraps(host)  # so that it has Keras' signature
            def init(self: DropIn, *args: Any, **kwargs: Any) -> None:
                host(self, **bind(type(self).__name__, names, args, kwargs, cls.bounds))

            cls.__init__ = init

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
        learning_rate: a number, a schedule of Keras, or a function without arguments.
        momentum: 0 for none; in [0, 1].
        nesterov: look ahead along the momentum.
        weight_decay: and all that follow are those of every Keras optimizer.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    >>> SGD(momentum=0.9, nestrov=True)
    Traceback (most recent call last):
    surefoot._errors.ArgumentError: `SGD(nestrov=True)`: nestrov must be left out: there is no such argument. Did you mean 'nesterov'?
    """

    slots: ClassVar[dict[str, str]] = {"m": "momentums"}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return rules.SGD(momentum=self.momentum, nesterov=self.nesterov, rate_in_buffer=True)


@registered
class Adagrad(DropIn, as_keras_makes(keras.optimizers.Adagrad)):
    """Divide by the root of the sum of all squared gradients: `keras.optimizers.Adagrad` on `surefoot.rules.Adagrad`.

    Use it for sparse features and convex problems; in long runs its rate dies away.

    Args:
        learning_rate: a number, a schedule of Keras, or a function without arguments; Keras' default is low.
        initial_accumulator_value: what the sum starts with.
        epsilon: inside the root, as in Keras.
        weight_decay: and all that follow are those of every Keras optimizer.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = {"v": "_accumulators"}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return rules.Adagrad(start=self.initial_accumulator_value, eps=self.epsilon, eps_inside=True)


@registered
class Adadelta(DropIn, as_keras_makes(keras.optimizers.Adadelta)):
    """Scale by past changes over past gradients: `keras.optimizers.Adadelta` on `surefoot.rules.Adadelta`.

    Use it where no rate is known and speed does not matter, with a rate of 1: Keras' default of 0.001 hardly moves.

    Args:
        learning_rate: a number, a schedule of Keras, or a function without arguments.
        rho: of the running means; in [0, 1].
        epsilon: inside the roots; it also decides how fast the start is.
        weight_decay: and all that follow are those of every Keras optimizer.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = {"v": "_accumulated_grads", "u": "_accumulated_delta_vars"}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return rules.Adadelta(rho=self.rho, eps=self.epsilon)


@registered
class RMSprop(DropIn, as_keras_makes(keras.optimizers.RMSprop)):
    """Divide by a running root mean square of gradients: `keras.optimizers.RMSprop` on `surefoot.rules.RMSprop`.

    Use it for recurrent networks and reinforcement learning; Adam is RMSprop with momentum done right.

    Args:
        learning_rate: a number, a schedule of Keras, or a function without arguments.
        rho: of the running mean; in [0, 1].
        momentum: 0 for none; in [0, 1]. The rate is inside it, as in Keras.
        epsilon: inside the root, as in Keras.
        centered: subtract the square of the mean gradient.
        weight_decay: and all that follow are those of every Keras optimizer.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = {"v": "_velocities", "a": "_average_gradients", "m": "_momentums"}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return rules.RMSprop(
            rho=self.rho,
            eps=self.epsilon,
            momentum=self.momentum,
            centered=self.centered,
            eps_inside=True,
            rate_in_buffer=True,
        )


@registered
class Adam(DropIn, as_keras_makes(keras.optimizers.Adam)):
    """Momentum over the running root mean square: `keras.optimizers.Adam` on `surefoot.rules.Adam`.

    Use it when in doubt; `AdamW` for anything large.

    Args:
        learning_rate: a number, a schedule of Keras, or a function without arguments.
        beta_1: of the momentum; in [0, 1).
        beta_2: of the mean square; in [0, 1).
        epsilon: the paper's "epsilon hat", added before the correction, as in Keras: at the first step it weighs 30
            times as much as torch's.
        amsgrad: divide by the largest mean square so far.
        weight_decay: and all that follow are those of every Keras optimizer.

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

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return _adam(self)


@registered
class AdamW(DropIn, as_keras_makes(keras.optimizers.AdamW)):
    """Adam with weights that decay beside it: `keras.optimizers.AdamW` on `surefoot.rules.Adam`.

    Use it for anything large. In Keras every optimizer's decay is decoupled: this is `Adam` with another default.

    Args:
        learning_rate: a number, a schedule of Keras, or a function without arguments.
        weight_decay: of a rate of 1; each step takes `learning_rate * weight_decay` of the weights.
        beta_1: of the momentum; in [0, 1).
        beta_2: of the mean square; in [0, 1).
        epsilon: "epsilon hat", as in `Adam`.
        amsgrad: divide by the largest mean square so far.
        clipnorm: and all that follow are those of every Keras optimizer.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = Adam.slots

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return _adam(self)


def _adam(optimizer: Adam | AdamW) -> Rule:
    o = optimizer
    return rules.Adam(b1=o.beta_1, b2=o.beta_2, eps=o.epsilon, amsgrad=o.amsgrad, eps_hat=True)


@registered
class Nadam(DropIn, as_keras_makes(keras.optimizers.Nadam)):
    """Adam that looks ahead: `keras.optimizers.Nadam` on `surefoot.rules.NAdam`.

    Use it as Adam, where a little speed at the start counts.

    Args:
        learning_rate: a number, a schedule of Keras, or a function without arguments.
        beta_1: of the momentum, in [0, 1); it grows from half of it, 250 times as fast as torch's.
        beta_2: of the mean square; in [0, 1).
        epsilon: at least 0.
        weight_decay: and all that follow are those of every Keras optimizer.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = {"m": "_momentums", "v": "_velocities", "mu_product": "_u_product"}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return rules.NAdam(b1=self.beta_1, b2=self.beta_2, eps=self.epsilon, momentum_decay=1.0)


@registered
class Adamax(DropIn, as_keras_makes(keras.optimizers.Adamax)):
    """Momentum over the largest recent gradient: `keras.optimizers.Adamax` on `surefoot.rules.Adamax`.

    Use it where single large gradients disturb Adam: embeddings, sparse features.

    Args:
        learning_rate: a number, a schedule of Keras, or a function without arguments.
        beta_1: of the momentum; in [0, 1).
        beta_2: by which the largest gradient is forgotten; in [0, 1).
        epsilon: added to the largest gradient.
        weight_decay: and all that follow are those of every Keras optimizer.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = {"m": "_m", "u": "_u"}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return rules.Adamax(b1=self.beta_1, b2=self.beta_2, eps=self.epsilon, eps_outside=True)


@registered
class Lion(DropIn, as_keras_makes(keras.optimizers.Lion)):
    """Step by the sign of momentum: `keras.optimizers.Lion` on `surefoot.rules.Lion`.

    Use it with a rate 3 to 10 times smaller than Adam's, and a larger weight decay; it needs large batches.

    Args:
        learning_rate: a number, a schedule of Keras, or a function without arguments.
        beta_1: of the step; in (0, 1].
        beta_2: of the momentum; in [0, 1).
        weight_decay: and all that follow are those of every Keras optimizer.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    slots: ClassVar[dict[str, str]] = {"m": "_momentums"}
    bounds: ClassVar[dict[str, Bounds]] = {"beta_1": {"above": 0.0, "at_most": 1.0}}

    @property
    def rule(self) -> Rule:
        """The rule with the present settings."""
        return rules.Lion(b1=self.beta_1, b2=self.beta_2)
