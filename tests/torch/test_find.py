"""`find` on small torch jobs, end to end."""

import importlib.util
import itertools
import json
import math
from pathlib import Path

import pytest

import surefoot as sf
import torch
from surefoot import datasets
from surefoot.torch.bundled import digits

from .jobs import Augmented, X, Y, grouped, job, loader, noisy

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def from_scratch(of, rate, seed):
    run = of.start(rate, seed=seed)
    losses = of.advance(run, of.schedule.resolve(of.total_steps, of.steps_per_epoch).simulate(of.total_steps))
    return losses, of.evaluate(run), run


@pytest.mark.parametrize(
    "changes",
    [
        {"model": noisy, "train": loader(Augmented())},
        {"optimizer": grouped, "model": noisy},
        {"optimizer": "rmsprop", "clip_norm": 1.0},
    ],
    ids=["augmented", "groups", "clipped"],
)
@pytest.mark.parametrize("budget", [0.3, 1.0, 2.0])
def test_train_is_the_run_trained_from_scratch_bit_for_bit(changes, budget, tmp_path):
    def make():
        return job(**changes, total_steps=240)

    found = sf.find(make(), budget=budget, seed=3, run_dir=tmp_path)
    trained = found.train()
    _, val_loss, run = from_scratch(make(), found.learning_rate, 3)
    assert trained.val_loss == val_loss
    assert trained.model is trained.run.model
    weights = run.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in trained.model.state_dict().items())
    resumed = sf.find(make(), budget=budget, seed=3, run_dir=tmp_path)  # from the log, and the winner's checkpoint
    assert resumed == found
    assert resumed.train().val_loss == val_loss


def test_two_searches_give_the_same_answer_bit_for_bit():
    one, two = (sf.find(job(model=noisy, total_steps=240), seed=1).to_dict() for _ in range(2))
    assert one == two


def test_a_rate_that_is_nan_from_the_first_step_is_refused():
    def nan(model, batch):
        return model(batch[0]).sum() * (math.nan if model.training else 1.0)

    with pytest.raises(sf.JobError, match="diverged or failed"):
        sf.find(job(loss=nan, total_steps=240))


def test_a_loss_of_another_model_is_refused():
    other = noisy()

    def detached(model, batch):
        return torch.nn.functional.cross_entropy(other(batch[0]), batch[1]) + 0.0 * next(model.parameters()).sum()

    with pytest.raises(sf.JobError, match="training changes nothing"):
        sf.find(job(loss=detached, total_steps=240, val=(X, Y)))


@pytest.mark.slow
def test_finds_a_rate_for_the_digits_that_a_full_run_confirms():
    of = digits()
    found = sf.find(of, seed=0)
    assert found.cost <= 1.1
    _, at_found, _ = from_scratch(of, found.learning_rate, 0)
    worse = [from_scratch(of, found.learning_rate * factor, 0)[1] for factor in (1 / 16, 16)]
    assert at_found < min(worse)
    assert len(datasets.digits().x) == 1200


# ---- a fine-tune whose best rate is a hundred times below the default ------------------------------------------------


@pytest.fixture(scope="module")
def finetune():
    """Return the job of benchmarks/finetune.py and its measured best rate."""
    spec = importlib.util.spec_from_file_location("finetune", BENCHMARKS / "finetune.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    records = sorted((BENCHMARKS / "records").glob("*-finetune.json"))
    return module.job(), json.loads(records[-1].read_text())["best"]


def test_the_default_rate_is_a_hundred_times_too_high_for_the_finetune(finetune):
    of, best = finetune
    assert best * 100 < of.default_learning_rate


@pytest.mark.parametrize(
    ("budget", "seed"),
    [
        (1.0, 100),
        *(pytest.param(b, s, marks=pytest.mark.slow) for b, s in itertools.product((1.0, 2.0), (101, 102))),
        pytest.param(2.0, 100, marks=pytest.mark.slow),
    ],
)
def test_find_lands_within_an_octave_of_the_finetunes_best_rate(finetune, budget, seed):
    of, best = finetune
    found = sf.find(of, budget=budget, seed=seed)
    assert abs(math.log2(found.learning_rate / best)) <= 1.0
    assert found.cost <= 1.1 * budget
