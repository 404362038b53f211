"""`surefoot.keras.find`, end to end, and what it leaves alone."""

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import keras
import surefoot as sf
from keras import layers
from surefoot.keras import KerasJob, find

from .jobs import LOSS, X_VAL, Y_VAL, X, Y, compiled, job, noisy

pytestmark = pytest.mark.usefixtures("quick_compilation")

BACKEND = keras.backend.backend()
EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = {"validation_data": (X_VAL, Y_VAL), "batch_size": 8}


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(v.value)).tobytes() for v in variables]


def everything_of(model):
    """Return all that a search might have changed."""
    optimizer, metrics = model.optimizer, model.metrics
    state = {
        "attributes": {name: id(value) for name, value in vars(model).items()},
        "weights": values(model.variables),
        "optimizer": values(optimizer.variables),
        "is built": (optimizer.built, model._compile_metrics and model._compile_metrics.built),
        "metrics": [m.name for m in metrics],
        "metric values": values(model.metrics_variables),
        "Python": random.getstate(),
        "NumPy": str(np.random.get_state()),  # noqa: NPY002
        "Keras": keras.src.random.seed_generator.global_seed_generator().state.value.tolist()
        if BACKEND == "jax"
        else None,
        "seed": keras.src.utils.rng_utils.get_random_seed(),
    }
    if BACKEND == "torch":
        import torch

        state["torch"] = torch.get_rng_state().tolist()
        state["gradients"] = [id(v.value.grad) for v in model.trainable_variables]
    if BACKEND == "tensorflow":
        from tensorflow.python.eager import context

        state["TensorFlow"] = (context.context()._seed, context.context()._rng.getstate())
    return state


@pytest.mark.parametrize("is_used", [False, True], ids=["new", "used"])
def test_the_model_and_all_randomness_are_as_they_were(is_used):
    keras.utils.set_random_seed(5)
    keras.random.normal((2,))  # so that the global generator is there
    model = noisy(
        keras.optimizers.SGD(0.05, momentum=0.9), metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(1)]
    )
    if is_used:
        model.fit(X, Y, batch_size=8, verbose=0)
    before = everything_of(model)
    found = find(model, X, Y, epochs=6, budget=0.5, **DATA)
    after = everything_of(model)
    assert [name for name in before if before[name] != after[name]] == []
    trained = found.train()
    after = everything_of(model)
    assert [name for name in before if before[name] != after[name]] == []
    assert trained.model is None
    assert trained.val_loss == trained.run.job.evaluate(trained.run)


def test_an_interrupted_search_leaves_the_model_alone_too():
    model = compiled(optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
    before = everything_of(model)

    def stop(progress):
        if progress.spent > 0.1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        find(model, X, Y, total_steps=240, on_progress=stop, **DATA)
    after = everything_of(model)
    assert [name for name in before if before[name] != after[name]] == []


def test_a_model_without_weights_is_built_as_fit_would_build_it():
    def fresh():
        keras.utils.set_random_seed(7)
        model = keras.Sequential([layers.Dense(3), layers.Dense(2)])
        model.compile(optimizer=keras.optimizers.SGD(0.0), loss=LOSS)
        return model

    one, two = fresh(), fresh()
    find(one, X, Y, total_steps=40, budget=0.5, **DATA)
    two.fit(X, Y, batch_size=8, verbose=0)
    assert values(one.weights) == values(two.weights)
    assert not one.optimizer.built


def test_two_searches_give_the_same_answer_and_a_run_directory_repeats_it(tmp_path):
    def make():
        return job(lambda: compiled(layers.Dropout(0.2)), total_steps=240)

    found = sf.find(make(), seed=3, run_dir=tmp_path)
    again = make()
    resumed = sf.find(again, seed=3, run_dir=tmp_path)  # from the log and the winner's checkpoint
    assert resumed == found
    assert {**sf.find(again, seed=3).to_dict(), "run_dir": str(tmp_path)} == found.to_dict()
    run = again.start(found.learning_rate, seed=3)
    again.advance(run, again.schedule.resolve(240, again.steps_per_epoch).simulate(240))
    trained = resumed.train()
    assert trained.val_loss == again.evaluate(run)
    model = trained.model
    assert model.evaluate(X_VAL, Y_VAL, verbose=0) == pytest.approx(trained.val_loss, rel=1e-5)


def test_a_fine_tune_starts_from_the_present_weights():
    model = compiled(optimizer=keras.optimizers.SGD(0.05))
    loss = model.evaluate(X_VAL, Y_VAL, verbose=0)
    of = KerasJob(model, X, Y, epochs=3, **DATA)
    for seed in (0, 1):
        assert of.evaluate(of.start(0.1, seed=seed)) == pytest.approx(loss, rel=1e-5)
    assert of.default_learning_rate == 0.05


def test_a_rate_that_is_nan_from_the_first_step_is_refused():
    def nan(y_true, y_pred):
        return keras.ops.mean(y_pred) / 0.0 * 0.0

    with pytest.raises(sf.JobError, match="before any training"):
        find(compiled(loss=nan), X, Y, total_steps=240, **DATA)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": compiled}, "For a function that builds one, use surefoot.find(KerasJob"),
        ({"model": None}, "model must be a compiled keras.Model"),
        ({"budget": 0.0}, "budget must be a finite number above 0"),
        ({"bounds": (1.0, 0.1)}, "Swap them"),
        ({"learning_rate": -1.0}, "learning_rate must be a finite number above 0"),
    ],
)
def test_wrong_arguments_are_refused(changes, words):
    settings = {"model": compiled(), "x": X, "y": Y, "total_steps": 240, **DATA, **changes}
    with pytest.raises((sf.ArgumentError, sf.ArgumentTypeError)) as caught:
        find(**settings)
    assert words in str(caught.value)


def test_the_report_begins_with_code_for_keras(tmp_path):
    found = sf.find(job(compiled), budget=0.5)
    from surefoot.report._snippets import snippets

    assert found.optimizer == "sgd"
    first = snippets(found)[0]
    assert first.framework == "keras"
    assert "keras.optimizers.SGD(learning_rate=FoundRate())" in first.code


# ---- slow ones ------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
import keras
import surefoot as sf
from surefoot.keras import KerasJob
folder, pieces = Path(sys.argv[1]), int(sys.argv[2])
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
y = np.sin(x.sum(1, keepdims=True))
def net():
    parts = keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Dropout(0.1), keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile(optimizer="adam", loss="mse")
    return model
def watch(progress):
    file = folder / "pieces.jsonl"
    if file.exists() and file.read_bytes().count(b"\\n") >= pieces:
        os.kill(os.getpid(), signal.SIGKILL)
job = KerasJob(net, x, y, validation_data=(x[:16], y[:16]), batch_size=16, total_steps=320)
found = sf.find(job, budget=1.4, seed=1, run_dir=folder, on_progress=watch)
found.save(folder / "found.json")
"""


def run(*words, cwd=None):
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=300, env=os.environ, cwd=cwd)


@pytest.mark.slow
def test_a_search_that_is_killed_gives_the_answer_of_an_unbroken_one(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(sys.executable, "-c", KILLED, str(whole), "1000000").returncode == 0
    for pieces in (5, 13):
        assert run(sys.executable, "-c", KILLED, str(broken), str(pieces)).returncode == -signal.SIGKILL
    assert run(sys.executable, "-c", KILLED, str(broken), "1000000").returncode == 0
    want, got = (json.loads((folder / "found.json").read_text()) for folder in (whole, broken))
    assert {**got, "run_dir": want["run_dir"]} == want


@pytest.mark.slow
def test_the_command_line_finds_the_job_in_a_file(tmp_path):
    main = [sys.executable, "-c", "from surefoot.cli import main; main()"]
    done = run(*main, "find", "--json", "--quiet", f"{EXAMPLES / 'find_keras.py'}:make_job", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["job"] == "two_layers"
    assert answer["details"]["job"]["kind"] == "KerasJob"


@pytest.mark.slow
def test_the_found_rate_is_nearly_as_good_as_the_best_of_a_grid():
    """On the digits, with Adam, half an octave from rate to rate, all with the same seed."""
    spec = importlib.util.spec_from_file_location("find_keras", EXAMPLES / "find_keras.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    of = example.make_job()
    plan = of.schedule.resolve(of.total_steps, of.steps_per_epoch).simulate(of.total_steps)

    def loss(rate):
        run = of.start(rate, seed=0)
        of.advance(run, plan)
        return of.evaluate(run)

    grid = {rate: loss(rate) for rate in 2e-3 * 2.0 ** (np.arange(11) / 2)}
    found = sf.find(of, budget=1.0, seed=0)
    assert found.cost <= 1.1
    assert found.train().val_loss <= 1.25 * min(grid.values()), (found, grid)
