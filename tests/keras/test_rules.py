"""Any rule as a Keras optimizer: all of `surefoot.rules`, whole-model rules, and one made up on the spot."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import keras
from surefoot import rules
from surefoot._errors import ArgumentError
from surefoot.keras import (
    AdaBelief,
    Adan,
    AdEMAMix,
    DAdaptAdam,
    DAdaptSGD,
    DoG,
    DoWG,
    Prodigy,
    RAdam,
    RuleOptimizer,
)
from surefoot.rules._math import norm, sqrt, zeros_like
from surefoot.testing import check_rule
from surefoot.testing._rules import SETTINGS, follow

from ..rules.examples import RULES
from .driving import path_of, same, variables

RANDOM = np.random.default_rng(5)
STARTS = [RANDOM.normal(size=3), RANDOM.normal(size=(2, 2))]
GRADS = [(RANDOM.normal(size=3), RANDOM.normal(size=(2, 2))) for _ in range(30)]


@pytest.fixture
def float64_rates(float64):
    """Let Keras keep the learning rate in double precision."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def train(rule, start, gradients, learning_rates, *, interrupt, settings):
    def fresh(arrays):
        mine = variables(*arrays, dtype=str(start[0].dtype))
        optimizer = RuleOptimizer(rules.Complete(rule=rule, **settings), 1.0)
        optimizer.build(mine)
        return mine, optimizer

    mine, optimizer = fresh(start)
    for step, (row, lr) in enumerate(zip(gradients, learning_rates, strict=True)):
        if step == interrupt:
            store = {}
            optimizer.save_own_variables(store)
            mine, optimizer = fresh([np.array(keras.ops.convert_to_numpy(v)) for v in mine])
            optimizer.load_own_variables({name: np.array(value) for name, value in store.items()})
        optimizer.learning_rate = lr
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in row], mine)
    return [np.array(keras.ops.convert_to_numpy(v)) for v in mine]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_rule_keeps_to_the_contract(rule, float64_rates):
    settings = SETTINGS if rule in (rules.SGD(momentum=0.9), rules.NAdam()) else ("plain",)
    check_rule(rule, train, settings=tuple(settings))


def by_hand(rule, lr):
    x = [np.concatenate([a.ravel() for a in row]) for row in follow(rule, STARTS, GRADS, [lr] * len(GRADS))]
    return np.array(x[1:])


def test_radam_and_dog_are_their_rules():
    same(path_of(RAdam(0.1, 0.8, 0.9, 1e-3), STARTS, GRADS), by_hand(rules.RAdam(b1=0.8, b2=0.9, eps=1e-3), 0.1), 1e-5)
    dog = DoG(start=0.01, is_start_absolute=True, epsilon=1e-3)
    same(path_of(dog, STARTS, GRADS), by_hand(rules.DoG(start=0.01, is_start_absolute=True, eps=1e-3), 1.0), 1e-5)


def test_later_relatives_of_adam_are_their_rules():
    belief = rules.AdaBelief(b1=0.8, b2=0.9, eps=1e-8, eps_root=1e-8)
    same(path_of(AdaBelief(0.1, 0.8, 0.9, 1e-8), STARTS, GRADS), by_hand(belief, 0.1), 1e-5)
    adan = rules.Adan(b1=0.9, b2=0.8, b3=0.7, eps=1e-3)
    same(path_of(Adan(0.1, 0.9, 0.8, 0.7, 1e-3), STARTS, GRADS), by_hand(adan, 0.1), 1e-5)
    mix = rules.AdEMAMix(b1=0.8, b2=0.9, b3=0.99, alpha=2.0, b3_warmup=20, alpha_warmup=10, eps=1e-3)
    ours = AdEMAMix(0.1, 0.8, 0.9, 0.99, 2.0, beta_3_warmup=20, alpha_warmup=10, epsilon=1e-3)
    same(path_of(ours, STARTS, GRADS), by_hand(mix, 0.1), 1e-5)
    for optimizer in (AdaBelief(0.1), Adan(0.1), ours):
        assert type(optimizer).from_config(optimizer.get_config()).rule == optimizer.rule


@pytest.mark.parametrize("kind", [DoG, DoWG, DAdaptAdam, Prodigy], ids=lambda kind: kind.__name__)
def test_weights_decay_with_the_rate_that_was_found_and_only_those_that_shall(kind):
    """By learning_rate = 1 a decay of 0.5 would take half of the weights at every step."""
    optimizer = kind(weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["w1"])
    decayed = rules.Complete(rule=optimizer.rule, weight_decay=0.5)
    object.__setattr__(decayed, "weight_decay", rules.Vector([0.5, 0.0]))
    x, path = rules.Vector(STARTS), []
    slots = decayed.init(x)
    for t, g in enumerate(GRADS, 1):
        dx, slots = decayed.step(x, rules.Vector(g), t, 1.0, **slots)
        x = x + dx
        path.append(np.concatenate([a.ravel() for a in x.leaves]))
    same(path_of(optimizer, STARTS, GRADS), np.array(path), 1e-4)
    assert np.abs(path[0][:3] - STARTS[0]).max() < 0.01


def test_decay_of_d_adapted_sgd_is_in_the_gradient():
    ours = path_of(DAdaptSGD(weight_decay=0.1, d0=0.01, momentum=0.5), STARTS, GRADS)
    rule = rules.DAdaptSGD(d0=0.01, momentum=0.5)
    x = follow(rule, STARTS, GRADS, [1.0] * len(GRADS), weight_decay=0.1, is_decoupled=False)
    same(ours, np.array([np.concatenate([a.ravel() for a in row]) for row in x[1:]]), 1e-5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calm(rules.Rule):
    """Momentum that takes steps no longer than the weights are far from zero: made up, and needs the whole model."""

    beta: float = 0.9
    scalar_slots: ClassVar[tuple[str, ...]] = ("longest",)
    is_global: ClassVar[bool] = True

    def init(self, x: Any) -> dict[str, Any]:
        return {"m": zeros_like(x), "longest": 0.0}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, dict[str, Any]]:
        m = self.beta * slots["m"] + (1.0 - self.beta) * g
        size = norm(m)
        return -(lr * (1.0 + norm(x)) / sqrt(1.0 + size * size)) * m, {"m": m, "longest": slots["longest"] + size}


def test_a_made_up_rule_trains_a_model():
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    y = x @ np.array([[1.0], [-1.0], [2.0]], "float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer=RuleOptimizer(Calm(beta=0.8), 0.1), loss="mse")
    losses = model.fit(x, y, batch_size=16, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < 0.05 * losses[0]


def test_a_rule_of_ones_own_is_loaded_once_keras_knows_it():
    written = keras.optimizers.serialize(RuleOptimizer(rules.Complete(rule=Calm(beta=0.5), clip_norm=1.0), 0.1))
    again = keras.optimizers.deserialize(written, custom_objects={"Calm": Calm})
    assert again.rule == rules.Complete(rule=Calm(beta=0.5), clip_norm=1.0)
    with pytest.raises(ArgumentError, match="register_keras_serializable"):
        RuleOptimizer.from_config(RuleOptimizer(Calm(), 0.1).get_config())


def test_scalar_slots_are_one_variable_each_for_the_whole_model():
    optimizer = RuleOptimizer(Calm(), 0.1)
    path_of(optimizer, STARTS, GRADS[:3])
    assert [v.shape for v in optimizer.variables[2:]] == [(3,), (2, 2), ()]
    assert [v.name for v in optimizer.variables[2:]] == ["w0_m", "w1_m", "longest"]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="variables of TensorFlow")
def test_variables_of_tensorflow_train_beside_those_of_keras():
    import tensorflow as tf

    mine, theirs = keras.Variable([1.0, 2.0]), tf.Variable([1.0, 2.0])
    optimizer = RuleOptimizer(rules.Adam(), 0.5)
    optimizer.apply([tf.constant([1.0, -3.0])] * 2, [mine, theirs])
    np.testing.assert_array_equal(theirs.numpy(), keras.ops.convert_to_numpy(mine))
    np.testing.assert_allclose(theirs.numpy(), [0.5, 2.5], rtol=1e-6)
