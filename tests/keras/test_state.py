"""State: saved, loaded, copied, exchanged with Keras' own optimizers; and models that train with ours."""

import copy

import numpy as np
import pytest

import keras
import surefoot.keras
from keras import ops
from surefoot import rules
from surefoot._errors import ArgumentError

from .driving import path_of, same, variables

BACKEND = keras.backend.backend()
NAMES = sorted(kind.__name__ for kind in surefoot.keras.optimizers.OURS.values())
KERAS_HAS = [name for name in NAMES if hasattr(keras.optimizers, name)]
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(96, 4)).astype("float32")
Y = (X @ np.array([[1.0], [-2.0], [0.5], [0.0]]) + 0.3).astype("float32")


def make(kind, **options):
    if kind == "RuleOptimizer":
        return surefoot.keras.RuleOptimizer(rules.NAdam(momentum_decay=0.01), **options)
    return getattr(surefoot.keras, kind)(**options)


def model_with(optimizer, seed=1):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)])
    model.compile(optimizer=optimizer, loss="mse")
    return model


def fit(model, epochs=1):
    return model.fit(X, Y, batch_size=16, epochs=epochs, shuffle=False, verbose=0)


def weights(model):
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


def some_steps(optimizer, count=5, seed=0):
    random = np.random.default_rng(seed)
    mine = variables(random.normal(size=3), random.normal(size=(2, 2)))
    for _ in range(count):
        optimizer.apply([ops.convert_to_tensor(random.normal(size=v.shape).astype("float32")) for v in mine], mine)
    return mine


def stored(optimizer):
    store = {}
    optimizer.save_own_variables(store)
    return store


# ---- exchange with Keras -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KERAS_HAS)
def test_state_goes_from_keras_to_ours_and_back(name):
    options = {"momentum": 0.9} if name in {"SGD", "RMSprop"} else {}
    keras_own = getattr(keras.optimizers, name)(**options)
    ours = getattr(surefoot.keras, name)(**options)
    some_steps(keras_own)
    ours.build(variables(np.zeros(3), np.zeros((2, 2))))
    ours.load_own_variables(stored(keras_own))
    names, theirs = ([v.name.rstrip("_0123456789") for v in o.variables] for o in (ours, keras_own))
    assert names == theirs
    # the next step of each, from the same weights and the same state
    start, g = [np.ones(3), np.ones((2, 2))], [(np.full(3, 0.3), np.full((2, 2), -0.2))]
    for first, second in ((keras_own, ours), (ours, keras_own)):
        fresh = [type(o).from_config(o.get_config()) for o in (first, second)]
        for optimizer in fresh:
            optimizer.build(variables(*start))
            optimizer.load_own_variables(stored(first))
        moved = [_one_step(optimizer, g[0]) for optimizer in fresh]
        np.testing.assert_allclose(moved[0], moved[1], rtol=2e-6)


def _one_step(optimizer, g):
    optimizer.apply([ops.convert_to_tensor(a.astype("float32")) for a in g])
    return np.concatenate([np.ravel(np.asarray(ops.convert_to_numpy(v))) for v in optimizer._trainable_variables])


# ---- configuration, copies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_makes_the_same_optimizer(name):
    optimizer = make(name, learning_rate=0.25, clipnorm=1.5)
    written = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(copy.deepcopy(written))
    assert type(again) is type(optimizer)
    assert isinstance(again, keras.optimizers.Optimizer)
    assert again.get_config() == optimizer.get_config()
    assert again.rule == optimizer.rule


@pytest.mark.parametrize("name", KERAS_HAS)
def test_ours_is_one_of_keras(name):
    ours, keras_own = make(name, name="o"), getattr(keras.optimizers, name)(name="o")
    assert isinstance(ours, getattr(keras.optimizers, name))
    assert ours.get_config() == keras_own.get_config()


# ---- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Nadam", "DoG", "Prodigy", "RuleOptimizer"])
def test_a_resumed_run_is_the_unbroken_run(name, tmp_path):
    unbroken, broken = (model_with(make(name)) for _ in range(2))
    fit(unbroken, epochs=2)
    fit(broken)
    broken.save(tmp_path / "model.keras")
    resumed = keras.models.load_model(tmp_path / "model.keras")
    assert type(resumed.optimizer) is type(broken.optimizer)
    assert resumed.optimizer.rule == broken.optimizer.rule
    fit(resumed)
    np.testing.assert_allclose(weights(resumed), weights(unbroken), rtol=1e-6)
    assert int(ops.convert_to_numpy(resumed.optimizer.iterations)) == 12


def test_a_model_can_be_copied_in_the_middle():
    model = model_with(surefoot.keras.DoG(start=0.01))
    fit(model)
    again = copy.deepcopy(model)
    fit(model)
    fit(again)
    np.testing.assert_allclose(weights(again), weights(model), rtol=1e-6)


def test_a_run_of_keras_goes_on_with_ours(tmp_path):
    """Its weights and its optimizer's state are loaded into a model that was compiled with ours."""
    unbroken = model_with(keras.optimizers.Adam(0.01))
    fit(unbroken)
    unbroken.save_weights(tmp_path / "run.weights.h5")
    switched = model_with(surefoot.keras.Adam(0.01), seed=2)
    switched.optimizer.build(switched.trainable_variables)
    switched.load_weights(tmp_path / "run.weights.h5")
    fit(unbroken)
    fit(switched)
    np.testing.assert_allclose(weights(switched), weights(unbroken), rtol=1e-4, atol=1e-6)


def test_fit_learns():
    model = model_with(surefoot.keras.Adam(0.02))
    losses = fit(model, epochs=8).history["loss"]
    assert losses[-1] < 0.3 * losses[0]


def test_the_rate_can_be_set_in_the_middle():
    ours, theirs = (model_with(library.Adam(0.01)) for library in (surefoot.keras, keras.optimizers))
    for model in (ours, theirs):
        fit(model)
        model.optimizer.learning_rate = 0.001
        fit(model)
    np.testing.assert_allclose(weights(ours), weights(theirs), rtol=1e-4, atol=1e-6)


def test_constraints_are_kept():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, kernel_constraint=keras.constraints.NonNeg())])
    model.compile(optimizer=surefoot.keras.Adam(0.1), loss="mse")
    fit(model)
    assert model.get_weights()[0].min() >= 0.0


def test_loss_scaling_around_ours_is_that_around_keras():
    wrap = keras.optimizers.LossScaleOptimizer
    ours, theirs = (model_with(wrap(library.Adam(0.01))) for library in (surefoot.keras, keras.optimizers))
    for model in (ours, theirs):
        fit(model)
    np.testing.assert_allclose(weights(ours), weights(theirs), rtol=1e-4, atol=1e-6)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(ours.optimizer))
    assert type(again.inner_optimizer) is surefoot.keras.Adam


def test_some_variables_are_spared_from_decay():
    def path(library):
        optimizer = library.AdamW(0.1, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=["w1"])
        return path_of(optimizer, [np.ones(2), np.ones(2)], [(np.zeros(2), np.zeros(2))] * 3)

    ours = path(surefoot.keras)
    same(ours, path(keras.optimizers), 1e-6)
    assert ours[-1][0] < 0.9
    assert ours[-1][2] == 1.0


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")  # Keras says so, once an update
def test_a_variable_without_gradient_stays_and_the_others_move():
    optimizer = surefoot.keras.Nadam(0.1)
    mine = variables(np.ones(2), np.ones(3))
    optimizer.build(mine)
    for g in ([None, np.ones(3)], [np.ones(2), None], [np.ones(2), np.ones(3)]):
        optimizer.apply([None if a is None else ops.convert_to_tensor(a.astype("float32")) for a in g], mine)
    a, b = (ops.convert_to_numpy(v) for v in mine)
    assert np.isfinite(a).all()
    assert (a < 0.9).all()
    assert (b < a.max()).all()


# ---- half precision --------------------------------------------------------------------------------------------------


def test_mixed_precision_keeps_float32_variables_and_trains():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = model_with(surefoot.keras.Adam(0.02))
        losses = fit(model, epochs=5).history["loss"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_variables_take_the_step_of_float32_rounded(name):
    start, g = np.array([1.0, -0.5, 0.25]), np.array([0.5, -0.25, 1.0])  # exact in bfloat16
    options = {"learning_rate": 0.125}
    half, full = (path_of(make(name, **options), [start], [(g,)], dtype=d) for d in ("bfloat16", "float32"))
    np.testing.assert_allclose(half, full, rtol=2**-8)  # half a unit of bfloat16 is 2^-9; torch's foreach rounds twice


def test_slots_of_our_own_are_float32_where_variables_are_of_half_precision():
    optimizer = surefoot.keras.RAdam()
    optimizer.build(variables(np.ones(3), dtype="bfloat16"))
    assert {v.dtype for v in optimizer.variables[2:]} == {"float32"}


# ---- sparse gradients ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow has sparse gradients in Keras' own training")
@pytest.mark.parametrize("name", NAMES)
def test_an_embedding_takes_the_step_of_a_dense_gradient(name):
    import tensorflow as tf

    def path(is_dense):
        optimizer, table = make(name, learning_rate=0.1), variables(np.ones((4, 2)))
        for rows in ([0, 2], [2, 3]):
            g = tf.IndexedSlices(tf.constant([[0.5, -1.0]] * 2), tf.constant(rows), dense_shape=tf.constant([4, 2]))
            optimizer.apply([tf.convert_to_tensor(g) if is_dense else g], table)
        return ops.convert_to_numpy(table[0])

    np.testing.assert_allclose(path(is_dense=False), path(is_dense=True), rtol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_a_tf_strategy_takes_keras_own_step_and_refuses_rules_that_keras_lacks():
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        fit(model_with(surefoot.keras.Adam(0.01)))
        with pytest.raises(ArgumentError, match="without a tf"):
            fit(model_with(surefoot.keras.RAdam(0.01)))


# ---- torch -----------------------------------------------------------------------------------------------------------

on_torch = pytest.mark.skipif(BACKEND != "torch", reason="torch's own tensors")


@on_torch
@pytest.mark.parametrize("name", ["Adam", "RAdam"])
def test_without_a_compiler_the_numbers_are_the_same_and_it_is_said_once(name, monkeypatch):
    from surefoot._errors import SurefootWarning
    from surefoot.keras import _torch_step

    def refuse(*args):
        raise _torch_step.CannotBuild("there is no compiler in this test")

    fused = np.concatenate([np.ravel(ops.convert_to_numpy(v)) for v in some_steps(make(name))])
    monkeypatch.setattr(_torch_step, "Kernel", refuse)
    _torch_step.say_slow.cache_clear()
    with pytest.warns(SurefootWarning, match="no compiler in this test") as said:
        slow = np.concatenate([np.ravel(ops.convert_to_numpy(v)) for v in some_steps(make(name))])
    assert sum(w.category is SurefootWarning for w in said) == 1
    np.testing.assert_allclose(fused, slow, rtol=1e-5)


@on_torch
def test_tensors_that_are_not_contiguous_take_the_same_step():
    import torch

    def step(is_turned):
        optimizer, mine = surefoot.keras.Adam(0.1), variables(np.ones((2, 3)))
        optimizer.build(mine)
        g = torch.arange(6.0).reshape(2, 3)
        if is_turned:
            mine[0]._value.data = torch.ones(3, 2).t()
        optimizer.apply([torch.arange(6.0).reshape(2, 3).t().contiguous().t() if is_turned else g], mine)
        return mine[0].value.detach().numpy()

    np.testing.assert_allclose(step(is_turned=True), step(is_turned=False), rtol=1e-5)


@on_torch
def test_a_backward_pass_through_old_values_fails():
    import torch

    optimizer, mine = surefoot.keras.SGD(0.1), variables(np.ones(3))
    optimizer.build(mine)
    loss = (mine[0].value ** 2).sum()
    optimizer.apply([torch.ones(3)], mine)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@on_torch
def test_the_stateless_way_leaves_its_inputs_alone():
    import torch

    optimizer, mine = surefoot.keras.Adam(0.1), variables(np.ones(3))
    optimizer.build(mine)
    given = [torch.ones(3)], [torch.ones(3)]
    state = [v.value.detach().clone() for v in optimizer.variables]
    new, _ = optimizer.stateless_apply(state, *given)
    assert float(given[1][0].sum()) == 3.0
    np.testing.assert_allclose(new[0].detach().numpy(), 0.9, rtol=1e-5)


# ---- TensorFlow ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(BACKEND != "tensorflow", reason="graphs are TensorFlow's")
@pytest.mark.parametrize("name", ["Nadam", "DoG", "Prodigy"])
def test_an_optimizer_can_be_built_inside_of_a_graph(name):
    import tensorflow as tf

    optimizer, mine = make(name), variables(np.ones(3))
    update = tf.function(lambda g: optimizer.apply([g], mine))
    for _ in range(3):
        update(tf.constant([1.0, -1.0, 0.5]))
    np.testing.assert_allclose(ops.convert_to_numpy(mine[0]), _eager_twin(name), rtol=1e-6)


def _eager_twin(name):
    optimizer, mine = make(name), variables(np.ones(3))
    for _ in range(3):
        optimizer.apply([ops.convert_to_tensor(np.array([1.0, -1.0, 0.5], "float32"))], mine)
    return ops.convert_to_numpy(mine[0])
