"""Schedules as learning rates: ours inside the compiled step, Keras' six with Keras' numbers, and functions."""

import inspect

import numpy as np
import pytest
from keras.src.saving.serialization_lib import SafeModeScope

import keras
import surefoot.keras
from keras import ops
from surefoot import rules
from surefoot._errors import ArgumentError, ArgumentTypeError, SurefootWarning
from surefoot.keras import FromSchedule, _arguments, schedules
from surefoot.keras.schedules import FromFunction
from surefoot.schedules import constant, cosine_decay, from_function, linear_decay, linear_warmup, piecewise

from ..schedules.examples import EXAMPLES
from .driving import path_of, variables

BACKEND = keras.backend.backend()
NAMES = sorted(kind.__name__ for kind in surefoot.keras.optimizers.OURS.values())
STARTS = [np.zeros(2)]
GRADS = [(np.ones(2),)] * 24
SCHEDULE = 0.5 * (linear_warmup(4) >> cosine_decay(12))


def make(name, rate, **options):
    if name == "RuleOptimizer":
        options["rule"] = rules.SGD()
    return getattr(surefoot.keras, name)(learning_rate=rate, **options)


def value(x):
    return float(ops.convert_to_numpy(x))


def rates_of(optimizer, grads=GRADS):
    """Return the rates of an SGD that climbs along gradients of 1."""
    path = path_of(optimizer, STARTS, grads)[:, 0]
    return -np.diff(path, prepend=0.0)


# ---- ours ----------------------------------------------------------------------------------------------------------------


def test_a_schedule_is_the_rate_of_each_update():
    np.testing.assert_allclose(
        rates_of(surefoot.keras.SGD(SCHEDULE)), [SCHEDULE(t) for t in range(24)], rtol=1e-4, atol=2e-6
    )


def test_updates_are_counted_and_not_batches():
    ours = rates_of(surefoot.keras.SGD(SCHEDULE, gradient_accumulation_steps=3))
    np.testing.assert_allclose(ours[2::3], [SCHEDULE(t) for t in range(8)], rtol=1e-4, atol=2e-6)
    np.testing.assert_array_equal(np.delete(ours, slice(2, None, 3)), 0.0)
    batches = keras.optimizers.schedules.PolynomialDecay(0.5, 24, 0.0)
    counted = rates_of(surefoot.keras.SGD(batches, gradient_accumulation_steps=3))[2::3]
    np.testing.assert_allclose(counted, rates_of(keras.optimizers.SGD(batches, gradient_accumulation_steps=3))[2::3])


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_takes_a_schedule_and_says_its_rate(name):
    optimizer, mine = make(name, SCHEDULE), variables(np.ones(2))
    for t in range(3):
        assert value(optimizer.learning_rate) == pytest.approx(SCHEDULE(t))
        optimizer.apply([ops.ones(2)], mine)
    with pytest.raises(TypeError, match="not settable"):
        optimizer.learning_rate = 0.1
    optimizer.learning_rate = 2.0 * SCHEDULE
    assert value(optimizer.learning_rate) == pytest.approx(2.0 * SCHEDULE(3))


def test_in_a_model_it_is_inside_the_compiled_step():
    def train(rate):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        model.compile(optimizer=surefoot.keras.SGD(rate), loss="mse")
        before = model.get_weights()[0].item()
        model.fit(np.ones((24, 1)), np.zeros((24, 1)), batch_size=2, epochs=1, verbose=0)
        return model.get_weights()[0].item() / before

    schedule = 0.25 * (linear_warmup(4) >> cosine_decay(12))
    assert train(schedule) == pytest.approx(np.prod([1.0 - 2.0 * schedule(t) for t in range(12)]), rel=1e-4)


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_every_kind_of_schedule_has_its_values_here_too(schedule):
    rate = FromSchedule(schedule, base=0.5, total_steps=200, steps_per_epoch=20)
    known = schedule.resolve(200, 20)
    ours = [value(rate(ops.convert_to_tensor(step))) for step in range(0, 220, 17)]
    np.testing.assert_allclose(ours, [0.5 * known(step) for step in range(0, 220, 17)], rtol=2e-5, atol=1e-6)


def test_keras_own_optimizers_take_it_too():
    rate = FromSchedule(linear_warmup("25%") >> cosine_decay(), base=0.5, total_steps=16)
    np.testing.assert_allclose(
        rates_of(keras.optimizers.SGD(rate)), [value(rate(t)) for t in range(24)], rtol=1e-4, atol=2e-6
    )


def test_it_is_saved_with_the_optimizer(tmp_path):
    rate = FromSchedule(linear_warmup("25%") >> cosine_decay("2 epochs"), 0.5, total_steps=16, steps_per_epoch=6)
    for optimizer in (surefoot.keras.Adam(rate), surefoot.keras.RAdam(rate), keras.optimizers.Adam(rate)):
        written = keras.optimizers.serialize(optimizer)
        again = keras.optimizers.deserialize(written)
        assert again._learning_rate.get_config() == rate.get_config()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=surefoot.keras.Adam(SCHEDULE), loss="mse")
    model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert again._learning_rate.schedule == SCHEDULE
    assert value(again.learning_rate) == pytest.approx(SCHEDULE(2))


def test_a_schedule_that_calls_a_function_is_loaded_only_by_who_trusts_it():
    rate = FromSchedule(from_function(keras.activations.relu), 0.1)
    with pytest.raises(ArgumentError, match="load it with safe_mode=False"):
        FromSchedule.from_config(rate.get_config())
    with SafeModeScope(safe_mode=False):
        assert FromSchedule.from_config(rate.get_config()).schedule == rate.schedule
    with pytest.raises(ArgumentError, match="cannot be written as JSON"):
        surefoot.keras.Adam(from_function(lambda step: 0.1)).get_config()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ((0.1,), ArgumentTypeError, "schedule must be a schedule of surefoot.schedules"),
        ((linear_decay(),), ArgumentError, "Give total_steps="),
        ((linear_decay("1 epochs"), 1.0, 10), ArgumentError, "steps_per_epoch"),
        ((linear_decay(5), -1.0), ArgumentError, "base must be a finite number at least 0"),
        ((linear_decay(5), 1.0, 0), ArgumentError, "total_steps must be a whole number"),
        ((linear_decay(5), 1.0, 3), ArgumentError, "longer than `total_steps=3`"),
    ],
    ids=repr,
)
def test_what_is_no_learning_rate_is_refused(arguments, error, said):
    with pytest.raises(error, match=said):
        FromSchedule(*arguments)


@pytest.mark.parametrize("name", ["Adam", "RAdam", "RuleOptimizer"])
def test_open_lengths_are_refused_with_the_cure(name):
    with pytest.raises(ArgumentError, match=rf"`{name}\(learning_rate=.*FromSchedule\(schedule, total_steps=...\)"):
        make(name, linear_warmup("5%") >> cosine_decay())
    assert value(make(name, piecewise({0: 0.5, 3: 0.25}, length=4)).learning_rate) == 0.5
    assert value(make(name, 0.5 * constant(length=10)).learning_rate) == 0.5


# ---- functions -----------------------------------------------------------------------------------------------------------


def falling(step):
    return 0.5 / (1 + step)


def test_a_function_of_one_argument_gets_the_number_of_updates():
    want = 0.5 / (1.0 + np.arange(24.0))
    np.testing.assert_allclose(rates_of(surefoot.keras.SGD(falling)), want, rtol=1e-4, atol=2e-6)
    ours = rates_of(surefoot.keras.SGD(falling, gradient_accumulation_steps=3))[2::3]
    np.testing.assert_allclose(ours, want[:8], rtol=1e-4, atol=2e-6)


def test_a_function_is_kept_as_keras_keeps_functions():
    function = keras.saving.register_keras_serializable(package="tests")(falling)
    again = FromFunction.from_config(FromFunction(function).get_config())
    assert again.function is function
    with pytest.warns(UserWarning, match="includes a `lambda`"):
        written = surefoot.keras.Adam(lambda step: 0.5 / (1 + step)).get_config()
    with pytest.raises(ValueError, match="arbitrary code"):
        surefoot.keras.Adam.from_config({**written})


def test_a_function_without_arguments_is_as_in_keras_and_on_jax_it_is_said():
    _arguments.say_once.cache_clear()
    if BACKEND == "jax":
        with pytest.warns(SurefootWarning, match="JAX calls a learning_rate without arguments once"):
            optimizer = surefoot.keras.SGD(lambda: 0.5)
    else:
        optimizer = surefoot.keras.SGD(lambda: 0.5)
    np.testing.assert_allclose(rates_of(optimizer, GRADS[:3]), 0.5)


def test_what_cannot_be_called_so_is_refused():
    with pytest.raises(ArgumentError, match="a function of at most one argument"):
        surefoot.keras.Adam(lambda epoch, rate: rate)
    with pytest.raises(ArgumentTypeError, match="learning_rate must be a finite number"):
        surefoot.keras.Adam(keras.optimizers.schedules.CosineDecay)
    with pytest.raises(ArgumentTypeError, match="a function of the number of updates"):
        FromFunction(0.1)


# ---- Keras' six ------------------------------------------------------------------------------------------------------------

SIX = [
    ("ExponentialDecay", (0.5, 7, 0.5), {}),
    ("ExponentialDecay", (0.5, 7, 0.5, True), {}),
    ("InverseTimeDecay", (0.5, 7, 0.5), {}),
    ("InverseTimeDecay", (0.5, 7, 0.5), {"staircase": True}),
    ("PiecewiseConstantDecay", ([5, 9, 30], [0.5, 0.25, 0.125, 0.0]), {}),
    ("PiecewiseConstantDecay", ([5], [0.5, 0.25]), {}),
    ("PolynomialDecay", (0.5, 20), {}),
    ("PolynomialDecay", (0.5, 20, 0.25, 2.0), {}),
    ("PolynomialDecay", (0.5, 20, 0.25, 0.5), {"cycle": True}),
    ("CosineDecay", (0.5, 20), {}),
    ("CosineDecay", (0.5, 20, 0.25), {}),
    ("CosineDecay", (0.125, 20, 0.25), {"warmup_target": 0.5, "warmup_steps": 10}),
    ("CosineDecayRestarts", (0.5, 10), {}),
    ("CosineDecayRestarts", (0.5, 10, 1.0, 0.5, 0.25), {}),
    ("CosineDecayRestarts", (0.5, 10, 1.5, 0.5, 0.25), {}),
]


def curve(rate, steps=50):
    """Return the rates at the first steps; compiled, for Keras' conditions cost a second each otherwise."""
    if BACKEND == "jax":
        import jax

        rate = jax.jit(rate.__call__)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        rate = tf.function(rate.__call__)
    return [value(rate(ops.convert_to_tensor(step))) for step in range(steps)]


@pytest.mark.parametrize(("name", "arguments", "options"), SIX)
def test_the_six_of_keras_have_its_values_at_every_step(name, arguments, options):
    ours, theirs = (
        getattr(library, name)(*arguments, **options) for library in (schedules, keras.optimizers.schedules)
    )
    assert curve(ours) == curve(theirs)
    assert isinstance(ours, getattr(keras.optimizers.schedules, name))
    again = schedules.deserialize(schedules.serialize(ours))
    assert type(again) is type(ours)
    assert again.get_config() == ours.get_config() == theirs.get_config()
    assert type(schedules.deserialize(keras.optimizers.schedules.serialize(theirs))) is type(ours)
    assert inspect.signature(type(ours)) == inspect.signature(type(theirs))


def test_whole_numbers_are_rates_too():
    """Keras computes in the type of the first: with 0 all of its rates are whole numbers."""
    ours = schedules.CosineDecay(0, 20, warmup_target=1, warmup_steps=10)
    theirs = keras.optimizers.schedules.CosineDecay(0.0, 20, warmup_target=1.0, warmup_steps=10)
    assert curve(ours) == curve(theirs)
    assert curve(ours)[5] == 0.5


WRONG = [
    ("ExponentialDecay", (-0.1, 10, 0.5), "initial_learning_rate"),
    ("ExponentialDecay", (0.1, 0, 0.5), "decay_steps"),
    ("ExponentialDecay", (0.1, 10, float("nan")), "decay_rate"),
    ("ExponentialDecay", ("0.1", 10, 0.5), "initial_learning_rate"),
    ("ExponentialDecay", (0.1, 10, 0.5, 1), "staircase"),
    ("InverseTimeDecay", (0.1, 10, -0.5), "decay_rate"),
    ("PiecewiseConstantDecay", ([10, 10], [1.0, 0.5, 0.1]), "boundaries"),
    ("PiecewiseConstantDecay", ([], [1.0]), "boundaries"),
    ("PiecewiseConstantDecay", (10, [1.0]), "boundaries"),
    ("PiecewiseConstantDecay", ([10], [1.0, -0.5]), "values"),
    ("PolynomialDecay", (0.1, 10, 0.0, -1.0), "power"),
    ("PolynomialDecay", (0.1, 10, 0.0, 1.0, "yes"), "cycle"),
    ("CosineDecay", (0.1, -10), "decay_steps"),
    ("CosineDecay", (0.1, 10, -0.1), "alpha"),
    ("CosineDecayRestarts", (0.1, 10, 0.5), "t_mul"),
    ("CosineDecayRestarts", (0.1, 10, 2.0, -1.0), "m_mul"),
    ("CosineDecayRestarts", (0.1, 10, 2.0, 1.0, 0.0, 3), "name"),
]


@pytest.mark.parametrize(("name", "arguments", "argument"), WRONG)
def test_a_wrong_argument_of_the_six_is_refused_by_name(name, arguments, argument):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=rf"`{name}\({argument}=.*\)`: {argument} must be "):
        getattr(schedules, name)(*arguments)


def test_what_keras_refuses_stays_refused():
    with pytest.raises(ValueError, match="length of boundaries should be 1 less"):
        schedules.PiecewiseConstantDecay([10], [1.0])


def test_warmup_steps_need_a_target():
    _arguments.say_once.cache_clear()
    with pytest.warns(SurefootWarning, match="does nothing without warmup_target"):
        schedules.CosineDecay(0.1, 10, warmup_steps=5)


# ---- by name -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if name != "RuleOptimizer"])
def test_get_returns_ours_by_name(name):
    kind = getattr(surefoot.keras, name)
    assert type(surefoot.keras.get(name)) is type(surefoot.keras.get(name.lower())) is kind
    one = surefoot.keras.get(name)
    assert surefoot.keras.get(one) is one
    assert type(surefoot.keras.get(surefoot.keras.serialize(one))) is kind
    assert type(surefoot.keras.get({"class_name": name, "config": {}})) is kind
    if hasattr(keras.optimizers, name):
        assert type(surefoot.keras.deserialize(keras.optimizers.serialize(getattr(keras.optimizers, name)()))) is kind


def test_the_rest_is_that_of_keras():
    assert type(surefoot.keras.get("ftrl")) is keras.optimizers.Ftrl
    assert surefoot.keras.get(None) is None
    assert surefoot.keras.optimizers.Muon is keras.optimizers.Muon
    assert surefoot.keras.optimizers.Adam is surefoot.keras.Adam
    assert surefoot.keras.optimizers.schedules is surefoot.keras.schedules
    assert surefoot.keras.schedules.LearningRateSchedule is keras.optimizers.schedules.LearningRateSchedule
    with pytest.raises(ArgumentError, match=r"`get\(identifier='rmsprp'\)`: .* Did you mean 'rmsprop'"):
        surefoot.keras.get("rmsprp")
    with pytest.raises(ValueError, match="Could not interpret"):
        surefoot.keras.get(3)
    with pytest.raises(AttributeError):
        _ = surefoot.keras.optimizers.Adma
    with pytest.raises(AttributeError):
        _ = surefoot.keras.schedules.CosineDcay


def test_a_class_of_ones_own_by_the_same_name_wins():
    class Adam(keras.optimizers.SGD):
        pass

    config = {"module": None, "class_name": "Adam", "config": {}, "registered_name": "Adam"}
    assert type(surefoot.keras.deserialize(config, custom_objects={"Adam": Adam})) is Adam
