import functools
import math

import numpy as np
import pytest

import surefoot as sf
from surefoot.search import FunctionJob, Job, TrialFailed


def evaluated(job, *, learning_rate=0.1, steps=10, seed=3):
    run = job.start(learning_rate, seed=seed)
    assert job.advance(run, [1.0] * steps) == ()
    return job.evaluate(run)


def returning(value):
    return FunctionJob(lambda learning_rate, steps, seed: value, 10)


def test_is_a_job_that_cannot_fork():
    job = returning(1.0)
    assert isinstance(job, Job)
    assert not job.can_fork
    with pytest.raises(RuntimeError, match="cannot fork"):
        job.fork(job.start(0.1, seed=0))


def test_calls_by_keyword_when_the_names_are_there():
    def train(seed, learning_rate, steps):
        return learning_rate * 1000 + steps * 10 + seed

    assert evaluated(FunctionJob(train, 10), learning_rate=0.5, steps=20, seed=7) == 707.0


def test_calls_by_position_when_the_names_differ():
    def train(lr, count, rng):
        return lr * 1000 + count * 10 + rng

    assert evaluated(FunctionJob(train, 10), learning_rate=0.5, steps=20, seed=7) == 707.0


def test_keyword_only_and_keyword_tunnels_work():
    def train(*, learning_rate, steps, seed):
        return learning_rate + steps + seed

    def tunnel(**settings):
        return settings["learning_rate"] + settings["steps"] + settings["seed"]

    assert evaluated(FunctionJob(train, 10), learning_rate=0.5, steps=2, seed=1) == 3.5
    assert evaluated(FunctionJob(tunnel, 10), learning_rate=0.5, steps=2, seed=1) == 3.5


def test_partials_and_callable_objects_work():
    def train(model, learning_rate, steps, seed):
        return len(model) + learning_rate

    class Trainer:
        def __call__(self, learning_rate, steps, seed):
            return learning_rate

    job = FunctionJob(functools.partial(train, "abc"), 10)
    assert evaluated(job, learning_rate=0.5) == 3.5
    assert job.name == "train"
    assert evaluated(FunctionJob(Trainer(), 10), learning_rate=0.5) == 0.5


@pytest.mark.parametrize(
    "train",
    [
        lambda learning_rate: 1.0,
        lambda learning_rate, steps, seed, model: 1.0,
        lambda lr, seed, steps: 1.0,  # by position this would train for `seed` steps
        "train",
        None,
    ],
)
def test_a_function_that_cannot_be_called_is_refused_at_once(train):
    with pytest.raises(sf.ArgumentTypeError, match="learning_rate, steps, seed"):
        FunctionJob(train, 10)


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"total_steps": 0}, "total_steps"),
        ({"total_steps": 10, "learning_rate": -1.0}, "learning_rate"),
        ({"total_steps": 10, "learning_rate": math.nan}, "learning_rate"),
        ({"total_steps": 10, "epochs": 0}, "epochs"),
    ],
)
def test_bad_numbers_are_refused_at_once(settings, argument):
    with pytest.raises(sf.ArgumentError, match=argument):
        FunctionJob(lambda learning_rate, steps, seed: 1.0, **settings)


def test_a_schedule_must_be_one():
    with pytest.raises(sf.ArgumentTypeError, match="schedule must be a schedule"):
        FunctionJob(lambda learning_rate, steps, seed: 1.0, 10, schedule="cosine")


def test_the_function_is_called_once_per_run():
    calls = []

    def train(learning_rate, steps, seed):
        calls.append((learning_rate, steps, seed))
        return 1.0

    job = FunctionJob(train, 10)
    run = job.start(0.1, seed=3)
    job.advance(run, [1.0, 0.5])
    assert calls == []
    assert job.evaluate(run) == job.evaluate(run) == 1.0
    assert calls == [(0.1, 2, 3)]


def test_no_steps_give_nan_without_a_call():
    job = FunctionJob(lambda learning_rate, steps, seed: 1 / 0, 10)
    assert math.isnan(job.evaluate(job.start(0.1, seed=0)))


@pytest.mark.parametrize("value", [0.25, np.float32(0.25), np.array(0.25), np.array([0.25])[0]])
def test_numbers_and_scalars_are_losses(value):
    assert evaluated(returning(value)) == 0.25
    assert type(evaluated(returning(value))) is float


def test_zero_dimensional_tensors_are_losses():
    torch = pytest.importorskip("torch")
    assert evaluated(returning(torch.tensor(0.25, requires_grad=True))) == 0.25


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_returned_as_they_are(value):
    assert repr(evaluated(returning(value))) == repr(value)


@pytest.mark.parametrize("value", [None, "0.25", True, [0.1, 0.2], {"val_loss": 0.1}, np.array([0.1, 0.2]), 1j])
def test_a_result_that_is_no_number_says_what_came_and_what_is_wanted(value):
    with pytest.raises(TrialFailed, match=r"returned .*wanted is one number, the validation loss"):
        evaluated(returning(value))


def test_an_exception_in_the_function_is_a_failed_trial():
    def train(learning_rate, steps, seed):
        raise ZeroDivisionError("no rows")

    with pytest.raises(TrialFailed, match=r"`train` raised ZeroDivisionError: no rows") as caught:
        evaluated(FunctionJob(train, 10))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interrupts_pass(kind):
    def train(learning_rate, steps, seed):
        raise kind

    with pytest.raises(kind):
        evaluated(FunctionJob(train, 10))


def test_describe_is_plain_and_tells_the_schedule():
    import json

    def train(learning_rate, steps, seed):
        return 1.0

    own = FunctionJob(train, 10)
    assert own.describe()["schedule"] == "own"
    assert own.schedule == sf.constant()
    told = FunctionJob(train, 10, schedule=sf.cosine_decay(), name="mine", epochs=2)
    assert told.describe()["schedule"] == "cosine_decay()"
    assert (told.name, told.epochs) == ("mine", 2.0)
    json.dumps([own.describe(), told.describe()])
