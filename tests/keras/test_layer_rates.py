"""Rates per layer: the same as an optimizer for each, with state, frozen layers, and errors that name what fits nothing."""

import numpy as np
import pytest

import keras
import surefoot.keras
from keras import ops
from surefoot import rules
from surefoot._errors import ArgumentError, ArgumentTypeError
from surefoot.keras._layer_rates import LayerRates
from surefoot.rules import Vector

from .driving import path_of, same, variables

NAMES = sorted(kind.__name__ for kind in surefoot.keras.optimizers.OURS.values())
RANDOM = np.random.default_rng(3)
STARTS = [RANDOM.normal(size=3), RANDOM.normal(size=(2, 2)), RANDOM.normal(size=2)]
GRADS = [(RANDOM.normal(size=3), RANDOM.normal(size=(2, 2)), RANDOM.normal(size=2)) for _ in range(4)]
RATES = [0.25 if t < 2 else 0.125 for t in range(4)]
PARTS = [slice(0, 3), slice(3, 7), slice(7, 9)]


def make(name, **options):
    if name == "RuleOptimizer":
        options["rule"] = rules.Complete(rule=rules.NAdam(), weight_decay=0.125)
    return getattr(surefoot.keras, name)(**options)


WHOLE_MODEL = ["DoG", "DoWG", "DAdaptSGD", "DAdaptAdam", "Prodigy"]
REFUSED = ["AdamWScheduleFree", "SGDScheduleFree"]
OPTIONS = [(name, {}) for name in NAMES if name not in (*WHOLE_MODEL, *REFUSED)] + [
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("AdamW", {"weight_decay": 0.25, "decay": 0.5}),
    ("Adam", {"weight_decay": 0.25, "style": "torch", "gradient_accumulation_steps": 2}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_each_variable_takes_the_path_of_an_optimizer_of_its_own(name, options):
    ours = path_of(make(name, multipliers={"w0": 0.5, "w2": 4}, **options), STARTS, GRADS, RATES, is_compiled=False)
    for i, factor in enumerate((0.5, 1.0, 4.0)):
        rates = [rate * factor for rate in RATES]
        alone = path_of(make(name, **options), STARTS[i : i + 1], [(g[i],) for g in GRADS], rates, is_compiled=False)
        same(ours[:, PARTS[i]], alone, 2e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_what_keeps_one_average_for_the_model_takes_no_rates_by_layer(name):
    with pytest.raises(ArgumentError, match="multipliers must be left out"):
        make(name, multipliers={"w0": 0.5})


def test_a_rule_over_the_whole_model_sees_all_of_it():
    """DoG's step is one number for the model; the factors divide it among the layers."""
    ours = path_of(make("DoG", start=0.5, multipliers={"w0": 0.5}), STARTS, GRADS[:1])
    plain = path_of(make("DoG", start=0.5), STARTS, GRADS[:1])
    start = np.concatenate([a.ravel() for a in STARTS])
    np.testing.assert_allclose((ours - start)[:, :3], 0.5 * (plain - start)[:, :3], rtol=1e-4)
    np.testing.assert_allclose(ours[:, 3:], plain[:, 3:], rtol=1e-6)


@pytest.mark.parametrize("name", ["DAdaptSGD", "DAdaptAdam", "Prodigy"])
def test_rates_by_layer_leave_one_estimate_for_the_model(name):
    """It is the estimate of a model whose layers have these rates: the numbers of the rule on a vector of rates."""
    optimizer = make(name, d0=0.01, multipliers={"w0": 0.5, "w2": 4}, weight_decay=0.1)
    ours = path_of(optimizer, STARTS, GRADS, RATES)
    x, path = Vector([np.asarray(a) for a in STARTS]), []
    rule = rules.Complete(rule=optimizer.rule, weight_decay=0.1, is_decoupled=name != "DAdaptSGD")
    slots = rule.init(x)
    for t, (g, rate) in enumerate(zip(GRADS, RATES, strict=True), 1):
        dx, slots = rule.step(x, Vector(g), t, Vector([0.5 * rate, rate, 4.0 * rate]), **slots)
        x = x + dx
        path.append(np.concatenate([a.ravel() for a in x.leaves]))
    same(ours, np.array(path), 2e-6)
    assert [v.shape for v in optimizer.variables if v.name in rule.scalar_slots] == [()] * len(rule.scalar_slots)


def model():
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(4, activation="tanh", name="body"), keras.layers.Dense(1, name="head")]
    return keras.Sequential([keras.Input((3,)), *layers], name="net")


X = RANDOM.normal(size=(32, 3)).astype("float32")
Y = X[:, :1] - X[:, 1:2]


def fitted(optimizer):
    mine = model()
    mine.compile(optimizer=optimizer, loss="mse")
    mine.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return mine


def test_a_model_trains_as_with_one_optimizer_per_layer():
    ours = fitted(surefoot.keras.AdamW(0.01, weight_decay=0.5, multipliers={"body": 0.25}))
    body, head = (keras.optimizers.AdamW(rate, weight_decay=0.5) for rate in (0.0025, 0.01))
    twin = fitted(keras.optimizers.MultiOptimizer(lambda variable: body if "body" in variable.path else head))
    for a, b in zip(ours.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_factor_of_0_freezes_exactly():
    ours = fitted(surefoot.keras.AdamW(0.05, weight_decay=0.5, multipliers={"body": 0}))
    frozen = model()
    frozen.layers[0].trainable = False
    frozen.compile(optimizer=surefoot.keras.AdamW(0.05, weight_decay=0.5), loss="mse")
    frozen.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for before, after in zip(model().layers[0].get_weights(), ours.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    for a, b in zip(ours.layers[1].get_weights(), frozen.layers[1].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_what_is_frozen_neither_breaks_nor_is_clipped():
    optimizer = surefoot.keras.Adam(0.1, global_clipnorm=1.0, multipliers={"w0": 0.0})
    mine = variables(np.ones(2), np.ones(2))
    optimizer.apply([ops.full((2,), float("nan")), ops.ones(2)], mine)
    np.testing.assert_array_equal(ops.convert_to_numpy(mine[0]), 1.0)
    np.testing.assert_allclose(ops.convert_to_numpy(mine[1]), 0.9, rtol=1e-4)
    everything = surefoot.keras.Adam(0.1, multipliers={"*": 0.0})
    everything.apply([ops.ones(2), ops.ones(2)], variables(np.ones(2), np.ones(2)))


# ---- names ---------------------------------------------------------------------------------------------------------------


class Named:
    def __init__(self, path):
        self.path = path


PATHS = ["net/encoder/dense_1/kernel", "net/encoder/dense_2/bias", "net/head/kernel"]


@pytest.mark.parametrize(
    ("given", "factors"),
    [
        ({"encoder": 0.1}, (0.1, 0.1, 1.0)),
        ({"encoder/*": 0.1}, (0.1, 0.1, 1.0)),
        ({"dense_?": 0.1}, (0.1, 0.1, 1.0)),
        ({"dense_1": 0.1}, (0.1, 1.0, 1.0)),
        ({"kernel": 0.1}, (0.1, 1.0, 0.1)),
        ({"encoder/dense_2": 0.1}, (1.0, 0.1, 1.0)),
        ({"net/head/kernel": 10}, (1.0, 1.0, 10.0)),
        ({"*": 0.1, "head": 2}, (0.1, 0.1, 2.0)),
        ({"encoder": 0.1, "bias": 0}, (0.1, 0.0, 1.0)),
    ],
    ids=repr,
)
def test_the_last_name_that_fits_decides(given, factors):
    assert LayerRates.checked("Adam", given).factors_of("Adam", [Named(path) for path in PATHS]) == factors


def test_a_name_that_fits_nothing_is_refused_and_the_nearest_shown():
    optimizer = surefoot.keras.Adam(multipliers={"bdy": 0.1})
    mine = model()
    with pytest.raises(ArgumentError, match=r"`Adam\(multipliers=.*'bdy' fits none. The nearest: .*body/kernel"):
        optimizer.build(mine.trainable_variables)
    assert not optimizer.built


def test_a_name_that_others_hide_is_refused():
    with pytest.raises(ArgumentError, match="after 'head' come others for all it fits"):
        surefoot.keras.Adam(multipliers={"head": 10, "*": 0.1}).build(model().trainable_variables)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ([0.1], ArgumentTypeError, "multipliers must be a mapping"),
        ({"body": -1}, ArgumentError, r"multipliers\['body'\] must be a finite number at least 0"),
        ({"body": float("nan")}, ArgumentError, r"multipliers\['body'\] must be a finite number"),
        ({"body": "slow"}, ArgumentTypeError, r"multipliers\['body'\] must be a finite number"),
        ({1: 0.1}, ArgumentError, "keys are names, which 1 is not"),
        ({"": 0.1}, ArgumentError, "keys are names, which '' is not"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["Adam", "RAdam", "RuleOptimizer"])
def test_wrong_factors_are_refused(name, given, error, said):
    with pytest.raises(error, match=said):
        make(name, multipliers=given)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REFUSED])
def test_factors_are_kept_in_their_order(name):
    optimizer = make(name, multipliers={"w*": 0.5, "w1": 2.0})
    written = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(written)
    assert again.layer_rates == optimizer.layer_rates
    assert list(written["config"]["multipliers"]) == ["w*", "w1"]
    assert "multipliers" not in make(name, multipliers={}).get_config()


def test_a_saved_model_goes_on_with_its_rates(tmp_path):
    options = {"multipliers": {"body": 0.25}, "decay": 0.01, "style": "torch", "weight_decay": 0.01}
    mine = fitted(surefoot.keras.Adam(0.05, **options))
    mine.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.optimizer.get_config() == mine.optimizer.get_config()
    for one in (mine, again):
        one.fit(X, Y, batch_size=8, epochs=1, shuffle=False, verbose=0)
    for a, b in zip(mine.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_under_a_tf_strategy_decay_works_and_what_needs_our_step_is_refused():
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        ours = fitted(surefoot.keras.SGD(0.05, decay=0.5))
        for options in ({"multipliers": {"body": 0.5}}, {"style": "torch"}):
            with pytest.raises(ArgumentError, match=r"without a tf\.distribute strategy"):
                fitted(surefoot.keras.Adam(0.05, **options))
        with pytest.raises(ArgumentError, match=r"weight_decay must be None with a tf\.distribute strategy"):
            fitted(surefoot.keras.SGD(0.05, decay=0.5, weight_decay=0.1))
    for a, b in zip(ours.get_weights(), fitted(surefoot.keras.SGD(0.05, decay=0.5)).get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
