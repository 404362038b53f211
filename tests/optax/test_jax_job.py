"""`JaxJob`: what its losses, rates and validation are, against slow obvious twins; what it refuses; `find` on it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest

import optax
import surefoot as sf
from surefoot import ArgumentError, ArgumentTypeError, datasets
from surefoot.optax import JaxJob
from surefoot.optax._functions import called
from surefoot.optax._named import LEARNING_RATE_FREE, NAMED
from surefoot.torch import TorchJob, _optimizers
from surefoot.torch.bundled import digits

from .jobs import X_VAL, Y_VAL, X, Y, accuracy, conv, conv_loss, error_rate, job, logits, loss, mlp, noisy


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True))


def twin(of, rate, factors, seed, optimizer=optax.adam):
    """Train as the job should, one plain step after another."""
    params = of.start(rate, seed=seed).model
    state, losses, per_epoch = optimizer(rate).init(params), [], len(X) // 8
    for step, factor in enumerate(factors):
        order = np.random.default_rng([seed, step // per_epoch]).permutation(len(X))
        rows = order[step % per_epoch * 8 :][:8]
        value, gradients = jax.value_and_grad(loss)(params, (X[rows], Y[rows]))
        updates, state = optimizer(rate * factor).update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(float(value))
    return losses, params


def test_a_run_is_that_of_a_plain_loop():
    of = job()
    factors = sf.cosine_decay().simulate(8)  # an epoch has 6
    run = of.start(0.01, seed=5)
    losses, params = twin(of, 0.01, factors, 5)
    np.testing.assert_allclose(of.advance(run, factors), losses, rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), run.params, params)


def test_each_step_has_base_times_factor_computed_in_double_precision():
    steep = job(init=lambda key: jnp.zeros(70), loss=lambda params, batch: params.sum(), optimizer="sgd")
    factors, seen = sf.rex().simulate(70), []
    run = steep.start(0.3, seed=0)
    for factor in factors:
        run.params = jnp.zeros(70)
        steep.advance(run, [factor])
        seen.append(-run.params[0])
    assert np.array_equal(seen, np.array([0.3 * factor for factor in factors]).astype(np.float32))
    run = steep.start(0.3, seed=0)
    steep.advance(run, factors)  # longer than one call of the loop
    assert run.params[0] == pytest.approx(-sum(0.3 * factor for factor in factors), rel=1e-5)


def test_one_program_serves_all_rates_and_lengths_and_the_bits_do_not_depend_on_them():
    of = job(loss=noisy)
    whole, parts = of.start(0.01, seed=2), of.start(0.01, seed=2)
    losses = of.advance(whole, [1.0] * 150)
    pieces = [value for steps in (1, 63, 64, 5, 17) for value in of.advance(parts, [1.0] * steps)]
    assert pieces == losses
    assert same(whole.params, parts.params)
    of.advance(of.start(0.5, seed=3), [0.1] * 9)
    assert of._compiled_stretch._cache_size() == 1


def test_validation_is_the_mean_over_all_samples_also_those_that_are_left_over():
    whole = loss(job().start(0.1, seed=0).params, (X_VAL, Y_VAL)).item()
    for size in (8, 20, 100):
        of = job(val_batch_size=size)
        assert of.evaluate(of.start(0.1, seed=0)) == pytest.approx(whole, rel=1e-6)


def test_a_metric_judges_instead_of_the_loss_and_one_to_raise_is_turned_round():
    down, up = job(metric=error_rate), job(metric=accuracy, goal="max")
    wrong = np.mean(logits(down.start(0.1, seed=0).params, X_VAL).argmax(1) != Y_VAL)
    assert down.evaluate(down.start(0.1, seed=0)) == pytest.approx(wrong)
    assert up.evaluate(up.start(0.1, seed=0)) == pytest.approx(wrong)
    beyond = job(metric=lambda params, batch: 7.0 + loss(params, batch), goal="max")
    with pytest.raises(ArgumentError, match=r"between 0 and 1 \(it was"):
        beyond.evaluate(beyond.start(0.1, seed=0))


def test_noise_is_for_training_only():
    quiet, loud = job(), job(loss=noisy)
    runs = quiet.start(0.01, seed=1), loud.start(0.01, seed=1)
    assert quiet.evaluate(runs[0]) == loud.evaluate(runs[1])
    assert quiet.advance(runs[0], [1.0]) != loud.advance(runs[1], [1.0])


def test_a_tree_of_any_form_is_data():
    of = job(
        train={"x": X, "y": [Y]},
        val={"x": jnp.asarray(X_VAL), "y": [Y_VAL]},
        loss=lambda params, batch: loss(params, (batch["x"], batch["y"][0])),
    )
    plain = job()
    assert of.advance(of.start(0.1, seed=0), [1.0] * 3) == plain.advance(plain.start(0.1, seed=0), [1.0] * 3)
    job(train=jnp.asarray(X), val=X_VAL, loss=lambda params, x: logits(params, x).var())


def test_convolutions_are_stepped_one_by_one_on_a_cpu_with_the_same_numbers():
    of = job(init=conv, loss=conv_loss)
    assert of._is_slow_in_loops == (jax.default_backend() == "cpu")
    assert not job()._is_slow_in_loops
    losses = of.advance(of.start(0.01, seed=0), [1.0] * 20)
    of._is_slow_in_loops = not of._is_slow_in_loops
    np.testing.assert_allclose(of.advance(of.start(0.01, seed=0), [1.0] * 20), losses, rtol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"init": conv}], ids=["in a loop", "one by one"])
def test_a_run_ends_where_its_loss_is_not_finite(changes, tmp_path):
    def exploding(params, batch):
        return sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(params)) + (
            conv_loss(params, batch) if changes else 0.0
        )

    of = job(loss=exploding, optimizer="sgd", **changes)
    run = of.start(1e4, seed=0)
    losses = of.advance(run, [1.0] * 30)
    first = next(i for i, value in enumerate(losses) if not math.isfinite(value))
    assert 1 < first < 20
    assert all(map(math.isnan, losses[first + 1 :]))
    parts = of.start(1e4, seed=0)
    np.testing.assert_array_equal([value for _ in range(10) for value in of.advance(parts, [1.0] * 3)], losses)
    of.save(run, tmp_path / "run")
    for other in (run, of.fork(run), of.load(tmp_path / "run")):
        assert math.isnan(of.evaluate(other))
        assert np.isnan(of.advance(other, [1.0, 1.0])).all()


def test_given_parameters_and_what_was_asked_for_stay_when_training_goes_on():
    given = mlp(jax.random.key(0))
    before = jax.tree.map(np.array, given)
    of = job(init=lambda key: given)
    run = of.start(0.1, seed=0)
    of.advance(run, [1.0] * 3)
    model = run.model
    after = jax.tree.map(np.array, model)
    of.advance(run, [1.0] * 3)
    assert same(given, before)
    assert same(model, after)


def test_the_names_and_their_usual_rates_are_those_of_torch_jobs():
    torchs = {
        name: rate for name, (_, rate) in _optimizers.NAMED.items() if not name.startswith(("dadapt", "schedule_free"))
    }
    assert {name: rate for name, (_, rate) in NAMED.items()} == {
        **torchs,
        "dadapt_adamw": 1.0,
    }  # optax has only this one


def theirs(name):
    more = {"sgd_momentum": {"momentum": 0.9}, "sgd_nesterov": {"momentum": 0.9, "nesterov": True}}
    settings = more.get(name, {})
    make = getattr(optax.contrib if name in LEARNING_RATE_FREE else optax, "sgd" if settings else name)
    return lambda rate: make(rate, **settings)


@pytest.mark.parametrize("name", NAMED)
def test_a_name_stands_for_the_optimizer_of_optax(name):
    x, updates = jnp.array([1.0, -2.0]), []
    for make in (NAMED[name][0], theirs(name)):
        optimizer = make(0.1)
        state = optimizer.init(x)
        for gradient in (jnp.array([1.0, 0.5]), jnp.array([-0.5, 2.0])):
            update, state = optimizer.update(gradient, state, x)
            updates.append(update)
    np.testing.assert_allclose(updates[:2], updates[2:], rtol=1e-4)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (lambda params, batch: (params, batch), (1, 2)),
        (lambda params, batch, key: (params, batch, key), (1, 2, 3)),
        (lambda params, batch, rng: (params, batch, rng), (1, 2, 3)),
        (lambda params, batch, key=None: (params, batch, key), (1, 2, 3)),
        (lambda params, batch, *, key: (params, batch, key), (1, 2, 3)),
        (lambda params, batch, scale=5: (params, batch, scale), (1, 2, 5)),
        (lambda *arguments: arguments, (1, 2)),
    ],
)
def test_a_loss_gets_a_key_where_it_asks_for_one(function, arguments):
    assert called(function)(1, 2, 3) == arguments


def fixed(rate):
    del rate
    return optax.sgd(0.1)


def numpy_loss(params, batch):
    return float(loss(params, batch))


CHANGING = iter(range(100))

REFUSED = [
    ({"init": {"w": X}}, ArgumentTypeError, r"init must be a function of a key.*lambda key: params"),
    ({"init": lambda key: {"w": X, "n": 3}}, ArgumentTypeError, "init must be a function that returns a tree of floating"),
    ({"init": lambda key: jnp.full(6, next(CHANGING), float)}, ArgumentError, "init must be a function of its key"),
    ({"loss": None}, ArgumentTypeError, "loss must be a function"),
    ({"loss": lambda params: 0.0}, ArgumentTypeError, "loss must be a function loss"),
    ({"loss": numpy_loss}, ArgumentTypeError, r"numpy_loss.*JAX can trace.*leave out float\(\)"),
    ({"loss": lambda params, batch: logits(params, batch[0])}, ArgumentTypeError, "shape .8, 2.*Take the mean"),
    ({"loss": lambda params, batch: None}, ArgumentTypeError, "returned a NoneType.*Return the loss alone"),
    ({"loss": lambda params, batch: batch[1].sum()}, ArgumentTypeError, "type int32.*differentiated"),
    ({"loss": lambda p, b, key: jax.random.normal(key) * loss(p, b)}, ArgumentError, "key=None.*give a `metric`"),
    ({"val": (X_VAL[:, :3], Y_VAL)}, TypeError, "(?s)^(?!.*key=None).*3.*6"),  # JAX's own words, of the shapes
    ({"metric": "accuracy"}, ArgumentTypeError, "metric must be a function"),
    ({"metric": lambda params, batch: logits(params, batch[0])}, ArgumentTypeError, "metric must be a function that returns one"),
    ({"goal": "up"}, ArgumentError, "one of max, min"),
    ({"goal": "max"}, ArgumentError, "'min' without a metric"),
    ({"optimizer": "adm"}, ArgumentError, "Did you mean 'adam'"),
    ({"optimizer": optax.adam(1e-3)}, ArgumentTypeError, "a name, or a factory"),
    ({"optimizer": fixed}, ArgumentError, "fixed.*whose first update follows the rate"),
    ({"optimizer": lambda rate: rate}, ArgumentTypeError, "a factory of an optax.GradientTransformation"),
    ({"optimizer": lambda rate: optax.sgd(math.sqrt(rate))}, ArgumentTypeError, "that JAX can trace"),
    ({"optimizer": lambda rate: optax.sgd(optax.linear_schedule(0.0, rate, 9))}, ArgumentError, "follows the rate"),
    ({"optimizer": lambda rate: optax.MultiSteps(optax.sgd(rate), 4).gradient_transformation()}, ArgumentError, "follows"),
    ({"schedule": lambda step: 1.0}, ArgumentTypeError, "from_function"),
    ({"total_steps": 0}, ArgumentError, "at least 1"),
    ({"batch_size": 53}, ArgumentError, "at most the number of training samples, 52"),
    ({"learning_rate": 0.0}, ArgumentError, "above 0"),
    ({"train": None}, ArgumentTypeError, "train must be an array"),
    ({"train": (X, Y[:-1])}, ArgumentError, "equal length"),
    ({"train": (X[:1], Y[:1])}, ArgumentError, "at least 2 samples"),
    ({"val": (X[:0], Y[:0])}, ArgumentError, "at least 1 sample"),
    ({"val": (np.array(["a"]),)}, ArgumentTypeError, "types that JAX has"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "error", "words"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_refuses(changes, error, words):
    with pytest.raises(error, match=words):
        job(**changes)


# ---- find --------------------------------------------------------------------------------------------------------------


def from_scratch(of, rate, seed):
    run = of.start(rate, seed=seed)
    of.advance(run, of.schedule.resolve(of.total_steps, of.steps_per_epoch).simulate(of.total_steps))
    return of.evaluate(run), run


def test_train_is_the_run_trained_from_scratch_bit_for_bit_and_a_search_is_resumed(tmp_path):
    def make():
        return job(loss=noisy, optimizer="rmsprop", total_steps=240)

    found = sf.find(make(), budget=2.0, seed=3, run_dir=tmp_path)
    trained = found.train()
    val_loss, run = from_scratch(make(), found.learning_rate, 3)
    assert trained.val_loss == val_loss
    assert same(trained.model, run.params)
    resumed = sf.find(make(), budget=2.0, seed=3, run_dir=tmp_path)  # from the log, and the winner's checkpoint
    assert resumed == found
    assert resumed.train().val_loss == val_loss
    again = sf.find(make(), budget=2.0, seed=3)
    assert (again.learning_rate, again.trials) == (found.learning_rate, found.trials)


def test_a_search_that_was_stopped_goes_on_from_the_checkpoints(tmp_path, monkeypatch):
    of, calls, load = job(loss=noisy, total_steps=320), [], JaxJob.load
    advance = of.advance

    def counted(run, factors):
        calls.append(run.step)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return advance(run, factors)

    def loaded(self, path):
        calls.append("loaded")
        return load(self, path)

    monkeypatch.setattr(of, "advance", counted)
    monkeypatch.setattr(JaxJob, "load", loaded)
    stop_at = math.inf
    whole = sf.find(of, seed=1)
    stop_at = 2 * len(calls) - 2  # near the end of the second search
    assert sf.find(of, seed=1, run_dir=tmp_path).trials != whole.trials
    assert "loaded" not in calls
    assert sf.find(of, seed=1, run_dir=tmp_path).trials == whole.trials
    assert "loaded" in calls
    assert len(calls) < stop_at + 20


def test_a_loss_that_is_nan_from_the_first_step_is_refused():
    def nan(params, batch, key):
        return loss(params, batch) * (1.0 if key is None else math.nan)

    with pytest.raises(sf.JobError, match="diverged or failed"):
        sf.find(job(loss=nan, total_steps=240))


# ---- the sister ---------------------------------------------------------------------------------------------------------


def relu_net(params, x):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    return x @ params[-1][0] + params[-1][1]


def net_loss(params, batch):
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(relu_net(params, x), y).mean()


def test_the_same_network_on_the_same_batches_has_the_losses_and_the_rate_of_a_torch_job():
    from torch.nn import functional

    import torch

    data, count = datasets.digits(), 128
    x, y = data.x[:count], data.y[:count]  # all in one batch: both see the same, in whatever order
    common = {"batch_size": count, "total_steps": 240, "optimizer": "adam"}
    theirs = TorchJob(
        model=lambda: torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)),
        loss=lambda model, batch: functional.cross_entropy(model(batch[0]), batch[1]),
        train=(x, y), val=(data.x_val, data.y_val), device="cpu", **common,
    )  # fmt: skip
    start = [p.detach().numpy().copy() for p in theirs.start(0.01, seed=0).model.parameters()]
    ours = JaxJob(
        init=lambda key: [(w.T, b) for w, b in zip(start[::2], start[1::2], strict=True)],
        loss=net_loss, train=(x, y), val=(data.x_val, data.y_val), **common,
    )  # fmt: skip
    runs = ours.start(0.01, seed=0), theirs.start(0.01, seed=0)
    np.testing.assert_allclose(ours.advance(runs[0], [1.0] * 30), theirs.advance(runs[1], [1.0] * 30), rtol=1e-3)
    assert ours.evaluate(runs[0]) == pytest.approx(theirs.evaluate(runs[1]), rel=1e-3)
    rates = [sf.find(of, seed=0).learning_rate for of in (ours, theirs)]
    assert abs(math.log2(rates[0] / rates[1])) < 0.5


@pytest.mark.slow
def test_the_bundled_digits_have_the_rate_that_they_have_in_torch():
    data = datasets.digits()

    def init(key):
        keys, sides = jax.random.split(key, 6), [(64, 96), (96, 96), (96, 10)]
        uniform = [
            (jax.random.uniform(one, (m, n), minval=-1.0, maxval=1.0), jax.random.uniform(two, (n,), minval=-1.0, maxval=1.0))
            for one, two, (m, n) in zip(keys[:3], keys[3:], sides, strict=True)
        ]  # fmt: skip
        return [(w / m**0.5, b / m**0.5) for (w, b), (m, _) in zip(uniform, sides, strict=True)]  # as torch's Linear

    ours = JaxJob(init=init, loss=net_loss, train=(data.x, data.y), val=(data.x_val, data.y_val), total_steps=400)
    medians = [np.median([sf.find(of, seed=seed).learning_rate for seed in range(5)]) for of in (ours, digits())]
    assert abs(math.log2(medians[0] / medians[1])) < 0.5  # single seeds differ by more: the job over-fits


def test_another_optimizer_is_the_job_that_has_it_from_the_start():
    given = job(optimizer="sgd")
    one, two = given.with_optimizer("prodigy"), job(optimizer="prodigy")
    assert one.describe() == two.describe()
    assert (one.default_learning_rate, one.is_learning_rate_free) == (1.0, True)
    assert one.advance(one.start(1.0, seed=3), [1.0] * 9) == two.advance(two.start(1.0, seed=3), [1.0] * 9)
    assert given.with_optimizer("sgd") is given
    assert given.advance(given.start(0.1, seed=3), [1.0] * 9) != one.advance(one.start(0.1, seed=3), [1.0] * 9)


def test_methods_are_compared():
    compared = sf.find(job(total_steps=240), methods=["adam", "dadapt_adamw", "prodigy"])
    assert set(compared.found) == {"adam"}
    assert compared.cost <= 1.12 * compared.allowed
    assert compared.train().val_loss == dict(compared.table[0].val_losses)[0]
    with pytest.raises(ArgumentError, match=r"with_optimizer\(optimizer='muon'\)"):
        sf.find(job(), methods=["adam", "muon"])
