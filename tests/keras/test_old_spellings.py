"""What was written for Keras 2 runs as it was meant: lr, decay, epsilon=None, optimizer.lr, and numbers of any kind."""

import numpy as np
import pytest

import keras
import surefoot.keras
from keras import ops
from surefoot import rules
from surefoot._errors import ArgumentError, SurefootWarning
from surefoot.keras import _arguments
from surefoot.schedules import linear_decay

from .driving import path_of, same, variables

NAMES = sorted(kind.__name__ for kind in surefoot.keras.optimizers.OURS.values())
RANDOM = np.random.default_rng(3)
STARTS = [RANDOM.normal(size=3), RANDOM.normal(size=(2, 2))]
GRADS = [(RANDOM.normal(size=3), RANDOM.normal(size=(2, 2))) for _ in range(12)]


@pytest.fixture(autouse=True)
def nothing_said():
    _arguments.say_once.cache_clear()


def make(name, **options):
    if name == "RuleOptimizer":
        options["rule"] = rules.Adam()
    return getattr(surefoot.keras, name)(**options)


def value(x):
    return float(ops.convert_to_numpy(x))


# ---- the four lines of the tutorials ---------------------------------------------------------------------------------

TUTORIAL = [
    ("Adagrad", {"epsilon": 1e-08}, 0.01),
    ("Adadelta", {"rho": 0.95, "epsilon": 1e-08}, 1.0),
    ("RMSprop", {"rho": 0.9, "epsilon": 1e-08}, 0.001),
    ("Adam", {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-08}, 0.001),
]


@pytest.mark.parametrize(("name", "options", "rate"), TUTORIAL)
def test_the_lines_of_the_tutorials_work_as_written(name, options, rate):
    with pytest.warns(SurefootWarning, match="write `learning_rate=`") as said:
        old = getattr(surefoot.keras, name)(lr=rate, **options, decay=0.0)
    assert len(said) == 1
    assert said[0].filename == __file__
    new = getattr(keras.optimizers, name)(learning_rate=rate, **options)
    same(path_of(old, STARTS, GRADS, is_compiled=False), path_of(new, STARTS, GRADS, is_compiled=False), 2e-5)


# ---- lr ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:`lr=` is the old spelling")
def test_lr_is_the_learning_rate_and_both_are_too_many(name):
    assert value(make(name, lr=0.25).learning_rate) == 0.25
    with pytest.raises(ArgumentError, match=rf"`{name}\(lr=0.25\)`: lr must be left out beside learning_rate"):
        make(name, lr=0.25, learning_rate=0.25)


def test_lr_beside_a_rate_by_position_is_too_many():
    for make_one in (lambda: surefoot.keras.Adam(0.1, lr=0.1), lambda: surefoot.keras.DoG(1.0, lr=1.0)):
        with pytest.raises(ArgumentError, match="lr must be left out beside learning_rate"):
            make_one()


def test_each_old_spelling_is_said_once():
    def use(name):
        optimizer = make(name, lr=0.5)
        optimizer.lr = 0.25
        assert value(optimizer.lr) == value(optimizer.learning_rate) == 0.25

    with pytest.warns(SurefootWarning) as said:
        _ = [use(name) for name in NAMES]
    assert [str(w.message).split("`")[1] for w in said if w.category is SurefootWarning] == ["lr=", "optimizer.lr"]


# ---- decay -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_decay_lowers_the_rate_of_each_update(name):
    """The twin has its rate set by hand."""
    rates = [0.1 / (1.0 + 0.5 * t) for t in range(4)]
    ours = path_of(make(name, learning_rate=0.1, decay=0.5), STARTS, GRADS[:4], is_compiled=False)
    twin = path_of(make(name, learning_rate=0.1), STARTS, GRADS[:4], rates, is_compiled=False)
    same(ours, twin, 2e-6)


def test_decay_goes_with_momentum_that_has_the_rate_inside():
    ours = path_of(surefoot.keras.SGD(0.1, momentum=0.9, decay=0.5), STARTS, GRADS)
    rates = [0.1 / (1.0 + 0.5 * t) for t in range(12)]
    same(ours, path_of(keras.optimizers.SGD(0.1, momentum=0.9), STARTS, GRADS, rates), 2e-6)


def test_decay_counts_updates_and_not_batches():
    ours = path_of(surefoot.keras.SGD(0.1, decay=0.5, gradient_accumulation_steps=3), STARTS, GRADS)
    merged = [tuple(np.mean([g[i] for g in GRADS[j : j + 3]], axis=0) for i in range(2)) for j in range(0, 12, 3)]
    twin = path_of(surefoot.keras.SGD(0.1, decay=0.5), STARTS, merged)
    same(ours[2::3], twin, 2e-6)


def test_weight_decay_goes_with_the_lowered_rate():
    rates = [0.1 / (1.0 + 0.5 * t) for t in range(12)]
    ours = path_of(surefoot.keras.AdamW(0.1, weight_decay=0.5, decay=0.5), STARTS, GRADS)
    same(ours, path_of(keras.optimizers.AdamW(0.1, weight_decay=0.5), STARTS, GRADS, rates), 2e-5)


def test_decay_lowers_what_a_schedule_says_as_in_keras_2():
    ours = path_of(surefoot.keras.SGD(0.1 * linear_decay(20), decay=0.5), STARTS, GRADS)
    rates = [0.1 * (1.0 - t / 20) / (1.0 + 0.5 * t) for t in range(12)]
    same(ours, path_of(keras.optimizers.SGD(0.1), STARTS, GRADS, rates), 2e-6)


def test_the_rate_that_is_read_and_set_is_the_one_before_decay():
    optimizer, mine = surefoot.keras.SGD(0.5, decay=1.0), variables(np.ones(2))
    for _ in range(3):
        optimizer.apply([ops.ones(2)], mine)
    assert value(optimizer.learning_rate) == 0.5
    assert value(optimizer.current_learning_rate) == 0.125
    optimizer.learning_rate = 0.25
    assert value(optimizer.current_learning_rate) == 0.0625
    assert value(surefoot.keras.SGD(0.5).current_learning_rate) == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_decay_is_kept_in_a_configuration_and_nothing_is_without_it(name):
    written = keras.optimizers.serialize(make(name, decay=0.125))
    assert written["config"]["decay"] == 0.125
    assert keras.optimizers.deserialize(written).decay == 0.125
    assert "decay" not in make(name, decay=0.0).get_config()


@pytest.mark.parametrize("decay", [-0.1, float("nan"), float("inf")])
def test_a_wrong_decay_is_refused(decay):
    with pytest.raises(ArgumentError, match=r"`Adam\(decay=.*\)`: decay must be a finite number at least 0"):
        surefoot.keras.Adam(decay=decay)


# ---- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if "epsilon" in make(name).get_config()])
def test_no_epsilon_is_the_default(name):
    assert make(name, epsilon=None).get_config()["epsilon"] == make(name).get_config()["epsilon"]


KINDS = {
    "int": int,
    "np.float32": np.float32,
    "np.int64": np.int64,
    "np.ndarray": np.array,
    "tensor": ops.convert_to_tensor,
    "variable": lambda x: keras.Variable(float(x)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rates_and_momenta_are_numbers_of_any_kind(kind):
    one = KINDS[kind](1)
    assert value(surefoot.keras.RAdam(one).learning_rate) == 1.0
    optimizer = surefoot.keras.SGD(one, momentum=one, clipnorm=one, decay=one)
    assert value(optimizer.learning_rate) == optimizer.momentum == optimizer.clipnorm == optimizer.decay == 1.0
    assert type(optimizer.momentum) is float
    optimizer.learning_rate = KINDS[kind](2)
    assert value(optimizer.learning_rate) == 2.0


def test_tensors_of_other_libraries_are_numbers_too():
    torch = pytest.importorskip("torch")
    jnp = pytest.importorskip("jax.numpy")
    for half in (torch.tensor(0.5), jnp.asarray(0.5)):
        assert value(surefoot.keras.Adam(half).learning_rate) == 0.5


def test_an_array_of_several_is_no_number():
    with pytest.raises(TypeError, match="learning_rate must be a finite number"):
        surefoot.keras.Adam(np.ones(2))
    with pytest.raises(TypeError, match="learning_rate must be a finite number"):
        surefoot.keras.Adam(np.array(True))


def test_momentum_is_needed_to_look_ahead():
    with pytest.warns(SurefootWarning, match="does nothing without momentum"):
        surefoot.keras.SGD(nesterov=True)
