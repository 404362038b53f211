"""Each broken job is caught, by a sentence that names what is wrong."""

import dataclasses
import math
import random

import pytest

from surefoot import FunctionJob, constant
from surefoot.testing import check_job


@dataclasses.dataclass
class Run:
    rate: float
    seed: int
    noise: random.Random
    weight: float = 1.0
    step: int = 0


class Descent:
    """A weight that falls, with noise; keeps the contract."""

    name, total_steps, schedule, default_learning_rate, can_fork, epochs = "descent", 50, constant(), 0.01, True, None

    def start(self, learning_rate, *, seed):
        return Run(learning_rate, seed, random.Random(seed))

    def advance(self, run, factors):
        losses = []
        for factor in factors:
            run.weight -= run.rate * factor * (run.weight + run.noise.gauss(0, 1))
            run.step += 1
            losses.append(run.weight**2)
        return losses

    def evaluate(self, run):
        return float(run.weight**2)

    def fork(self, run):
        twin = dataclasses.replace(run, noise=random.Random())
        twin.noise.setstate(run.noise.getstate())
        return twin

    def describe(self):
        return {"kind": "descent"}

    def save(self, run, path):
        path.write_text(repr((run.rate, run.seed, run.noise.getstate(), run.weight, run.step)))

    def load(self, path):
        rate, seed, noise, weight, step = eval(path.read_text())
        run = Run(rate, seed, random.Random(), weight, step)
        run.noise.setstate(noise)
        return run


def test_a_job_that_keeps_the_contract_passes():
    check_job(Descent)


def broken(**changes):
    return type("Broken", (Descent,), changes)


def advance_globally(self, run, factors):
    random.random()
    return Descent.advance(self, run, factors)


def evaluate_with_a_step(self, run):
    Descent.advance(self, run, [1.0])
    return Descent.evaluate(self, run)


def fork_with_new_noise(self, run):
    return dataclasses.replace(run, noise=random.Random(1))


def load_without_noise(self, path):
    run = Descent.load(self, path)
    run.noise = random.Random(run.seed)
    return run


counter = iter(range(10**6))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "name is '', not a word"),
        ({"total_steps": 0}, "total_steps is 0"),
        ({"schedule": None}, "schedule is None"),
        ({"default_learning_rate": math.inf}, "default_learning_rate is inf"),
        ({"can_fork": 1}, "can_fork is 1"),
        ({"epochs": 0}, "epochs is 0"),
        ({"fork": property(lambda self: 1 / 0 if False else self.nothing)}, "lacks a verb or an attribute"),
        ({"describe": lambda self: {"model": object()}}, r"describe\(\) is not plain JSON"),
        ({"describe": lambda self: {"number": next(counter)}}, "two jobs made alike describe themselves differently"),
        (
            {"start": lambda self, learning_rate, *, seed: Run(learning_rate, seed, random.Random())},
            "the same seed gives other losses",
        ),
        (
            {"start": lambda self, learning_rate, *, seed: Run(learning_rate, 0, random.Random(0))},
            "another seed gives the same losses",
        ),
        (
            {"advance": lambda self, run, factors: Descent.advance(self, run, factors)[:1]},
            "of 10 factors returned 1 losses",
        ),
        (
            {"advance": lambda self, run, factors: Descent.advance(self, run, factors or [1.0])},
            "of no factors returned 1 losses",
        ),
        ({"advance": advance_globally}, "the global generator of Python was changed"),
        ({"evaluate": evaluate_with_a_step}, "evaluating twice gives two values"),
        ({"evaluate": lambda self, run: None}, r"evaluate\(\) returned None, not a float"),
        ({"fork": lambda self, run: run}, "advancing a fork changes its parent"),
        ({"fork": lambda self, run: dataclasses.replace(run)}, "a fork has another future|a run that was forked"),
        ({"fork": fork_with_new_noise}, "a fork has another future than its parent"),
        ({"fork": lambda self, run: self.start(run.rate, seed=run.seed)}, "a fork has another validation loss"),
        ({"load": lambda self, path: self.start(0.1, seed=7)}, "loaded has another validation loss"),
        ({"load": load_without_noise}, "a run that it loaded has another future than the one that was saved"),
        ({"can_fork": False}, r"fork\(\) does not raise a RuntimeError"),
    ],
)
def test_a_job_that_breaks_the_contract_is_caught(changes, words):
    with pytest.raises(AssertionError, match=words):
        check_job(broken(**changes))


def test_a_function_that_draws_from_nowhere_is_caught():
    values = iter(range(100))
    with pytest.raises(AssertionError, match="the same seed gives other losses the second time"):
        check_job(lambda: FunctionJob(lambda learning_rate, steps, seed: next(values), 100))
