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
from surefoot.testing import check_job
from surefoot.torch._optimizers import NAMED
from surefoot.torch.bundled import chars, digits

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
        # Of the seeds 100 to 107 this one lands 1.4 octaves away, the other seven within one: a curve as flat as its noise.
        pytest.param(2.0, 100, marks=[pytest.mark.slow, pytest.mark.xfail(reason="one seed of eight misses")]),
    ],
)
def test_find_lands_within_an_octave_of_the_finetunes_best_rate(finetune, budget, seed):
    of, best = finetune
    found = sf.find(of, budget=budget, seed=seed)
    assert abs(math.log2(found.learning_rate / best)) <= 1.0
    assert found.cost <= 1.1 * budget


# ---- methods compared ---------------------------------------------------------------------------------------------


def test_another_optimizer_is_the_job_that_has_it_from_the_start():
    one, two = job(optimizer="sgd").with_optimizer("prodigy"), job(optimizer="prodigy")
    assert one.describe() == two.describe()
    assert (one.default_learning_rate, one.is_learning_rate_free) == (1.0, True)
    (losses, end, _), (others, other_end, _) = (from_scratch(of, 1.0, 3) for of in (one, two))
    assert (losses, end) == (others, other_end)


def test_its_own_optimizer_is_the_job_itself():
    of = job(optimizer="sgd", learning_rate=0.5)
    assert of.with_optimizer("sgd") is of
    assert of.with_optimizer("adam").default_learning_rate == 1e-3
    assert of.default_learning_rate == 0.5
    assert not of.is_learning_rate_free


def test_a_weight_decay_goes_along_where_it_means_the_same():
    def decay(of):
        return of.start(1.0, seed=0).optimizer.param_groups[0]["weight_decay"]

    of = job(optimizer="adamw", weight_decay=0.1)
    decays = {name: decay(of.with_optimizer(name)) for name in ("prodigy", "lion", "dog", "adam", "sgd", "dadapt_adam")}
    assert decays == {"prodigy": 0.1, "lion": 0.1, "dog": 0.1, "adam": 0.0, "sgd": 0.0, "dadapt_adam": 0.0}
    assert decay(job(optimizer="sgd", weight_decay=0.1).with_optimizer("adam")) == 0.1
    assert decay(job(optimizer=grouped).with_optimizer("adamw")) == 0.01


def test_every_name_trains_and_forks():
    for name in NAMED:
        of = job().with_optimizer(name)
        run = of.start(of.default_learning_rate, seed=0)
        of.advance(run, [1.0] * 3)
        twin = of.fork(run)
        assert of.advance(run, [0.5] * 3) == of.advance(twin, [0.5] * 3), name


def test_an_unknown_optimizer_is_said_with_the_nearest():
    with pytest.raises(sf.ArgumentError, match="Did you mean 'prodigy'"):
        sf.find(job(), methods=["adam", "prodgy"])


def test_tuned_and_tuning_free_methods_are_compared(tmp_path):
    of = job(model=noisy, total_steps=240)
    compared = sf.find(of, methods=["adam", "prodigy", "dog"], run_dir=tmp_path, seed=2)
    assert {r.method for r in compared.table} == {"adam", "prodigy", "dog"}
    assert set(compared.found) == {"adam"}
    rate = compared["adam"].learning_rate
    for name, learning_rate in (("adam", rate), ("prodigy", 1.0)):
        _, end, _ = from_scratch(of.with_optimizer(name), learning_rate, 2)
        assert dict(compared[name].val_losses).get(2) in {end, None}
    assert compared.train().val_loss == dict(compared.table[0].val_losses)[2]
    again = sf.find(of, methods=["adam", "prodigy", "dog"], run_dir=tmp_path, seed=2)
    assert again == compared
    assert again.train().val_loss == compared.train().val_loss  # from the checkpoint


def test_a_transformer_blows_up_with_dog_and_that_is_a_line():
    compared = sf.find(chars(total_steps=100), methods=["prodigy", "dog"], budget=0.1)
    assert compared["dog"].outcome == "diverged"
    assert compared.best == "prodigy"


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_schedule_free_is_judged_and_delivered_by_its_average(name):
    of = job(model=noisy, total_steps=240).with_optimizer(name)
    assert repr(of.schedule) == "linear_warmup('5%') >> constant()"
    check_job(lambda: job().with_optimizer(name), steps=11)
    found = sf.find(of, seed=2)
    trained = found.train()
    optimizer = trained.run.optimizer
    assert not optimizer.is_training
    average = {n: v.clone() for n, v in trained.model.state_dict().items()}
    assert of.evaluate(trained.run) == trained.val_loss
    optimizer.train()
    assert of.evaluate(trained.run) == trained.val_loss  # whatever stands in the model
    assert any(not torch.equal(v, average[n]) for n, v in trained.run.model.state_dict().items())


def test_schedule_free_keeps_the_peak_of_a_given_schedule_and_others_get_it_back():
    schedule = sf.linear_warmup("10%") >> sf.linear_decay()
    of = job(schedule=schedule, total_steps=100)
    free = of.with_optimizer("schedule_free_adamw")
    plan = free.schedule.resolve(100)
    assert [plan(s) for s in (0, 5, 10, 50, 99)] == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert free.with_optimizer("adam").schedule == schedule
    assert job(optimizer="schedule_free_sgd", schedule=schedule).schedule == schedule  # what is asked for is done


def test_schedule_free_is_compared():
    compared = sf.find(job(total_steps=240), methods=["adam", "schedule_free_adamw", "prodigy"])
    assert set(compared.found) == {"adam", "schedule_free_adamw"}
    assert compared.train().val_loss == dict(compared.table[0].val_losses)[0]
