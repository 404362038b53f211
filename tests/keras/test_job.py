import functools
import math
import random

import numpy as np
import pytest

import keras
import surefoot as sf
from keras import layers
from surefoot import keras as sk
from surefoot.keras._bench import copy_of

from .jobs import LOSS, X_VAL, Y_VAL, Augmented, X, Y, averaging, compiled, job, noisy, plain

pytestmark = pytest.mark.usefixtures("quick_compilation")

BACKEND = keras.backend.backend()


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


# ---- what a user may do wrong ---------------------------------------------------------------------------------------


class Empty(keras.utils.PyDataset):
    def __len__(self):
        return 0


def uncompiled():
    return keras.Sequential([keras.Input((6,)), layers.Dense(2)])


def without_optimizer():
    model = uncompiled()
    model.compile(optimizer=None, loss="mse")
    return model


def frozen():
    model = plain()
    model.trainable = False
    return model


def scheduled():
    return compiled(optimizer=keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 40)))


def wide(y_true, y_pred):
    return keras.ops.mean(y_pred)


class Several(keras.metrics.Mean):
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_pred)

    def result(self):
        return super().result() * keras.ops.ones((3,))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"validation_data": None}, "validation_data must be data to judge the rates by. Give validation_data="),
        ({"validation_split": 0.5}, "validation_split must be 0 where validation_data is given"),
        ({"validation_data": None, "validation_split": 0.999}, "at least one of the 48 samples"),
        ({"validation_data": None, "validation_split": 1.0}, "validation_split must be a finite number"),
        ({"validation_data": None, "validation_split": 0.2, "x": Augmented(), "y": None}, "0 unless x and y are arrays"),
        ({"validation_data": (X_VAL[:0], Y_VAL[:0])}, "validation_data must be data with at least one sample"),
        ({"validation_data": ()}, "validation_data must be (x_val, y_val) or"),
        ({"validation_data": (X_VAL, Y_VAL[1:])}, "validation_data must be as long as x"),
        ({"x": None}, "x must be data"),
        ({"x": X[:0], "y": Y[:0]}, "x must be data with at least one sample"),
        ({"y": Y[1:]}, "`KerasJob(y='[48, 47] samples')`: y must be as long as x"),
        ({"sample_weight": Y[1:]}, "must be as long as x"),
        ({"x": "digits"}, "x must be an array, or a list or dict of arrays"),
        ({"y": [None] * 48}, "y must be an array"),
        ({"x": np.array(["a"] * 48, dtype=object)}, "x must be an array of numbers"),
        ({"x": ((X, Y) for _ in range(3)), "y": None}, "Put what makes a batch into __getitem__ of a keras.utils.PyDataset"),
        ({"x": Augmented()}, "y must be left out: a dataset brings its own"),
        ({"x": Empty(), "y": None}, "x must be a dataset with at least one batch"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"val_batch_size": 1.5}, "val_batch_size must be a whole number"),
        ({"total_steps": 0}, "total_steps must be a whole number"),
        ({"total_steps": None}, "given, or `epochs`; neither is"),
        ({"total_steps": 40, "epochs": 4}, "given, or `epochs`; both is"),
        ({"epochs": 2.5}, "epochs must be a whole number"),
        ({"schedule": lambda step: 1.0}, "schedule must be a surefoot schedule"),
        ({"metric": keras.metrics.AUC}, "metric must be the name of a metric"),
        ({"goal": "lowest"}, "goal must be one of max, min"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0"),
        ({"model": "mlp"}, "model must be a function that returns a new compiled model, or a compiled model"),
        ({"model": lambda one, two: None}, "without arguments, or with the learning rate as its only one"),
        ({"model": lambda: None}, "model must be a function that returns a compiled keras.Model"),
        ({"model": uncompiled}, "model must be a compiled model. Call model.compile"),
        ({"model": uncompiled()}, "model must be a compiled model. Call model.compile"),
        ({"model": without_optimizer}, "a model compiled with an optimizer"),
        ({"model": scheduled}, "a constant learning rate: the search brings the schedule. Compile it with a number"),
        ({"model": frozen}, "at least one trainable weight"),
        ({"model": functools.cache(plain)}, "returns a new model at each call; it returned weights that an earlier one has"),
        ({"metric": "acuracy", "model": lambda: plain(metrics=["accuracy"])}, "Did you mean 'accuracy'?"),
        ({"metric": "wide", "model": lambda: plain(metrics=[wide])}, "Say whether 'wide' is to be lowered or raised"),
        ({"metric": "m", "goal": "min", "model": lambda: plain(metrics=[Several("m")])}, "a metric that is one number; m has 3"),
        ({"goal": "max"}, "'min' without a metric"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_at_once(changes, words):
    with pytest.raises((sf.ArgumentError, sf.ArgumentTypeError)) as caught:
        job(**{**({"total_steps": None} if "epochs" in changes else {}), **changes})
    assert words in str(caught.value)


def test_an_optimizer_that_cannot_be_copied_is_refused_where_it_must_be():
    class Secret(keras.optimizers.SGD):
        def __init__(self, learning_rate=0.1, strength=1.0, **kwargs):
            super().__init__(learning_rate, **kwargs)
            self.strength = strength

    with pytest.raises(sf.ArgumentError, match="tells all its settings; a copy has another 'strength'"):
        job(plain(Secret(strength=2.0)))
    of = job(lambda: plain(Secret(strength=2.0)))
    assert of._bench.optimizer.strength == 2.0


def test_a_metric_that_cannot_be_copied_is_refused_where_it_must_be_and_nothing_is_changed():
    class Stubborn(keras.metrics.Mean):
        def __init__(self, share):
            super().__init__(name="stubborn")

    model = compiled(metrics=[Stubborn(0.5)])
    before = dict(vars(model))
    with pytest.raises(sf.ArgumentError, match="metrics whose"):
        job(model)
    assert vars(model) == before


def test_several_rates_are_refused():
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("Keras has it from 3.15 on")
    model = plain()
    optimizer = keras.optimizers.MultiOptimizer(lambda variable: keras.optimizers.SGD())
    model.compile(optimizer=optimizer, loss=LOSS)
    with pytest.raises(sf.ArgumentError, match="one learning rate"):
        job(model)


def test_a_function_that_repeats_itself_late_is_refused():
    made = []

    def rotating():
        made.append(plain() if len(made) < 2 else made[0])
        return made[-1]

    of = job(rotating)
    with pytest.raises(sf.ArgumentError, match="a new model at each call"):
        of.start(0.1, seed=5)


def test_a_function_that_ignores_the_seed_is_said():
    own = np.random.default_rng(0)

    def unseeded():
        return compiled(layers.Dense(4, kernel_initializer=keras.initializers.Constant(own.random())))

    with pytest.warns(sf.SurefootWarning, match="different weights under the same seed") as said:
        job(unseeded)
    assert said[0].filename == job.__code__.co_filename


def test_a_metric_to_maximize_must_be_a_share():
    def constant(y_true, y_pred):
        return keras.ops.mean(y_pred) * 0.0 + 40.0

    of = job(lambda: plain(metrics=[constant]), metric="constant", goal="max")
    with pytest.raises(sf.ArgumentError, match=r"not between 0 and 1 \(constant was 40\)"):
        of.evaluate(of.start(0.1, seed=0))


# ---- what must be left alone ----------------------------------------------------------------------------------------


def states():
    found = [random.getstate(), str(np.random.get_state())]  # noqa: NPY002
    if BACKEND == "torch":
        import torch

        found.append(torch.get_rng_state().tolist())
    return found


def test_an_error_in_the_data_leaves_the_randomness_and_the_run_alone():
    class Broken(Augmented):
        is_broken = False

        def __getitem__(self, index):
            np.random.rand(), random.random()  # noqa: NPY002
            if self.is_broken:
                raise ZeroDivisionError
            return super().__getitem__(index)

    data = Broken(workers=1)
    of = job(x=data, y=None)
    run = of.start(0.1, seed=0)
    before, step = states(), run.step
    data.is_broken = True
    with pytest.raises(ZeroDivisionError):
        of.advance(run, [1.0])
    assert states() == before
    assert run.step == step
    data.is_broken = False
    again = of.start(0.1, seed=0)
    assert of.advance(run, [1.0]) == of.advance(again, [1.0])


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_trains_and_evaluates_as_keras_does():
    """Batch by batch, with batch normalization, dropout, momentum, and a rate that changes at every step."""

    def model():
        return noisy(keras.optimizers.SGD(0.1, momentum=0.9))

    factors = [1.0, 0.5, 0.25, 0.0, 2.0]
    of = job(model)
    run = of.start(0.1, seed=3)
    theirs = run.model
    stream = of._train.stream(3, 0)
    keras.utils.set_random_seed(3)  # on torch, dropout draws from its global generator
    want = []
    for factor in factors:
        theirs.optimizer.learning_rate = 0.1 * factor
        x, y = next(stream)
        want.append(theirs.train_on_batch(x, y, return_dict=True)["loss"])
    assert of.advance(run, factors) == pytest.approx([float(v) for v in want], rel=1e-5)
    logs = theirs.evaluate(X_VAL, Y_VAL, batch_size=4, verbose=0, return_dict=True)
    assert of.evaluate(run) == pytest.approx(logs["loss"], rel=1e-5)
    for mine, other in zip(values(run.model.variables), values(theirs.variables), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_accumulated_gradients_and_averaged_weights():
    """A step is an update; what is judged are the averaged weights, as `fit` would leave them."""
    of = job(averaging, epochs=5, metric="accuracy", learning_rate=0.2)
    assert (of.total_steps, of.epochs, of.steps_per_epoch, of.goal) == (15, 5.0, 3, "max")
    run = of.start(0.2, seed=1)
    theirs = run.model
    stream = of._train.stream(1, 0)
    losses = of.advance(run, [1.0, 0.5])
    want = []
    for factor in (1.0, 1.0, 0.5, 0.5):
        theirs.optimizer.learning_rate = 0.2 * factor
        x, y = next(stream)
        want.append(theirs.train_on_batch(x, y, return_dict=True)["loss"])
    assert losses == pytest.approx([(want[0] + want[1]) / 2, (want[2] + want[3]) / 2], rel=1e-5)
    raw = theirs.evaluate(X_VAL, Y_VAL, verbose=0, return_dict=True)["loss"]
    theirs.optimizer.finalize_variable_values(theirs.trainable_variables)
    logs = theirs.evaluate(X_VAL, Y_VAL, verbose=0, return_dict=True)
    assert logs["loss"] != raw
    assert of.evaluate(run) == pytest.approx(1 - logs["accuracy"])


def test_a_run_that_blows_up_tells_so_in_numbers():
    of = job(lambda: compiled(loss="mse"), y=Y[:, None], validation_data=(X_VAL, Y_VAL[:, None]))
    run = of.start(1e30, seed=0)
    losses = of.advance(run, [1.0] * 4)
    assert len(losses) == 4
    assert not math.isfinite(losses[-1])
    assert not math.isfinite(of.evaluate(run))


def test_the_last_samples_are_held_out_as_keras_does():
    of = job(validation_data=None, validation_split=0.25)
    (x, y), *_ = of._val.once()
    assert (x == X[36:]).all()
    assert (y == Y[36:]).all()
    assert of._train.count == 36


def test_a_pass_sees_every_sample_once_in_another_order_each_time():
    of = job(x=np.arange(44.0)[:, None] * np.ones(6), y=Y[:44])
    stream = of._train.stream(0, 0)
    passes = [[next(stream) for _ in range(of.steps_per_epoch)] for _ in range(2)]
    seen = [[float(v) for x, _ in one for v in x[:, 0]] for one in passes]
    assert [len(x) for x, _ in passes[0]] == [8, 8, 8, 8, 8, 4]
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(44))
    assert seen[0] != seen[1]
    late = of._train.stream(0, 7)
    assert (next(late)[0] == passes[1][1][0]).all()


def test_the_optimizers_own_schedule_gives_way_to_the_jobs():
    model = scheduled()
    for source in (scheduled, model):
        of = job(source, schedule=sf.cosine_decay())
        assert of.default_learning_rate == pytest.approx(0.1)
        assert isinstance(of._bench.optimizer.learning_rate, keras.Variable)
    run = of.start(0.0, seed=0)
    one, two, three = (of.evaluate(run) for _ in range(3) if of.advance(run, [1.0]))
    assert one == two == three  # at its own rate it would have moved
    assert isinstance(model.optimizer._learning_rate, keras.optimizers.schedules.CosineDecay)


def test_a_function_may_take_the_learning_rate():
    seen = []

    def build(learning_rate):
        seen.append(learning_rate)
        return plain(keras.optimizers.SGD(learning_rate))

    assert job(build, learning_rate=0.25).default_learning_rate == 0.25
    assert set(seen) == {0.25}


@pytest.mark.slow
def test_scaled_losses():
    def build():
        return compiled(optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=8.0))

    of = job(build)
    assert of.default_learning_rate == 0.1
    run, other = of.start(0.1, seed=0), job(lambda: compiled(optimizer=keras.optimizers.SGD(0.1))).start(0.1, seed=0)
    assert of.advance(run, [1.0, 0.5]) == pytest.approx(other.job.advance(other, [1.0, 0.5]), rel=1e-5)
    given = job(build())._bench.optimizer
    assert (given.initial_scale, given.inner_optimizer.get_config()["learning_rate"]) == (8.0, pytest.approx(0.1))


def test_a_run_is_written_into_a_model():
    mine = compiled(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9))
    of = job(mine)
    run = of.start(0.1, seed=0)
    of.advance(run, [1.0, 1.0])
    assert run.model is None  # there is no function that could build one
    loss = of.evaluate(run)
    run.write_to(mine)
    assert mine.evaluate(X_VAL, Y_VAL, verbose=0) == pytest.approx(loss, rel=1e-5)
    assert int(mine.optimizer.iterations) == 2
    assert float(mine.optimizer.learning_rate) == pytest.approx(1e-3)
    mine.fit(X, Y, verbose=0)
    assert of.evaluate(run) == loss  # what `fit` does to the model is not the run's business
    with pytest.raises(sf.ArgumentTypeError, match="model must be a compiled"):
        run.write_to(None)


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        (keras.optimizers.Adam(0.5), "adam"),
        (sk.Adam(0.5), "adam"),
        (keras.optimizers.SGD(momentum=0.9), "sgd_momentum"),
        (keras.optimizers.SGD(momentum=0.9, nesterov=True), "sgd_nesterov"),
        (keras.optimizers.SGD(momentum=0.8), "SGD(momentum=0.8)"),
        (keras.optimizers.AdamW(clipnorm=1.0), "AdamW(clipnorm=1.0)"),
        (sk.RuleOptimizer(sf.rules.Adam()), "RuleOptimizer"),
    ],
)
def test_the_optimizer_is_named_as_the_report_needs_it(optimizer, name):
    from surefoot.keras._job import _optimizer_name

    assert _optimizer_name(optimizer) == name


def test_a_model_without_a_name_has_the_same_one_each_time():
    assert [job(compiled).name for _ in range(2)] == ["sequential"] * 2
    assert job(lambda: OwnName(name="resnet_50")).name == "resnet_50"


class OwnName(keras.Sequential):
    def __init__(self, name):
        super().__init__([keras.Input((6,)), layers.Dense(2)], name=name)
        self.compile(optimizer="sgd", loss=LOSS)


def test_other_data_and_other_settings_are_another_job():
    def about(**changes):
        return job(**{"model": compiled, **changes}).describe()

    usual = about()
    assert usual["optimizer"] == "sgd"
    clipped = {"model": lambda: compiled(optimizer=keras.optimizers.SGD(clipnorm=1.0))}
    others = [{"x": X + 1}, {"validation_data": (X_VAL + 1, Y_VAL)}, clipped]
    assert all(about(**changes) != usual for changes in others)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="where TensorFlow is there anyway")
def test_a_dataset_of_tensorflow_must_repeat_itself():
    import tensorflow as tf

    from .jobs import tensorflow_data

    of = job(x=tensorflow_data(), y=None)
    assert (of.steps_per_epoch, of.epochs) == (6, 40 / 6)
    late, stream = of._train.stream(0, 8), of._train.stream(0, 0)
    assert (next(late)[0] == [next(stream) for _ in range(9)][8][0]).all()
    restless = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(48).batch(8)
    with pytest.raises(sf.ArgumentError, match="reshuffle_each_iteration=False"):
        job(x=restless, y=None)
    unknown = tensorflow_data().filter(lambda x, y: True)
    with pytest.raises(sf.ArgumentError, match="Give `total_steps` instead"):
        job(x=unknown, y=None, epochs=3)
    of = job(x=unknown, y=None, validation_data=unknown)
    assert (of.epochs, of.steps_per_epoch) == (None, None)
    assert len(of.advance(of.start(0.1, seed=0), [1.0] * 8)) == 8


@pytest.mark.parametrize(
    "options", [{"decay": 0.0}, {"decay": 0.1}, {"style": "torch"}, {"multipliers": {"kernel": 0.5}}], ids=repr
)
def test_what_our_optimizers_have_beyond_keras_is_copied(options):
    optimizer = sk.Adagrad(0.01, epsilon=1e-8, **options)
    assert copy_of(optimizer).get_config() == optimizer.get_config()


# ---- another optimizer ----------------------------------------------------------------------------------------------


def curve(of, rate, seed=3):
    run = of.start(rate, seed=seed)
    return [*of.advance(run, [1.0, 0.5, 0.25]), of.evaluate(run)]


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("prodigy", "Prodigy"), ("sgd_momentum", None)])
def test_another_optimizer_is_the_one_the_model_could_have_been_compiled_with(name, kind):
    def made():
        return sk.optimizers.SGD(momentum=0.9) if kind is None else getattr(sk.optimizers, kind)()

    with_it, own = job(lambda: noisy("rmsprop")).with_optimizer(name), job(lambda: noisy(made()))
    assert curve(with_it, 0.1) == curve(own, 0.1)
    assert with_it.is_learning_rate_free == (name == "prodigy")
    assert own.is_learning_rate_free == (name == "prodigy")
    assert job(noisy).with_optimizer("adam").name == job(noisy).name


def test_what_all_optimizers_have_goes_along():
    from surefoot.keras._named import instead_of

    old = keras.optimizers.AdamW(weight_decay=0.1, clipnorm=0.5, gradient_accumulation_steps=2)
    new = instead_of(old, "prodigy")
    assert (new.weight_decay, new.clipnorm, new.gradient_accumulation_steps) == (0.1, 0.5, 2)
    assert instead_of(keras.optimizers.AdamW(), "adam").weight_decay is None  # a default is nobody's wish


def test_its_own_optimizer_is_the_job_itself_and_an_unknown_one_is_refused():
    of = job(lambda: plain("adam"))
    assert of.with_optimizer("adam") is of
    with pytest.raises(sf.ArgumentError, match="Did you mean 'prodigy'"):
        of.with_optimizer("prodgy")


def test_a_given_model_lends_itself_to_all_methods_and_is_left_as_it_was():
    model = noisy()
    before, optimizer = values(model.weights), model.optimizer
    of = sk.KerasJob(model, X, Y, validation_data=(X_VAL, Y_VAL), batch_size=8, total_steps=240)
    compared = sf.find(of, methods=["sgd", "prodigy", "dog"])
    assert {r.method for r in compared.table} == {"sgd", "prodigy", "dog"}
    assert set(compared.found) == {"sgd"}
    assert compared.cost <= 1.12 * compared.allowed
    assert model.optimizer is optimizer
    assert all(np.array_equal(a, b) for a, b in zip(values(model.weights), before, strict=True))


def test_methods_are_compared_and_resumed(tmp_path):
    def compare():
        of = job(lambda: plain("adam"), total_steps=240)
        return sf.find(of, methods=["adam", "prodigy"], run_dir=tmp_path)

    compared = compare()
    again = compare()
    assert again.table == compared.table
    assert again.train().val_loss == compared.train().val_loss
