"""skorch estimators as jobs: the contract of jobs, skorch's own training as the oracle, and what is refused."""

import numpy as np
import pytest

import surefoot as sf
import torch
from surefoot.testing import check_job

skorch = pytest.importorskip("skorch", reason="skorch is not installed: pip install skorch")
from skorch.helper import predefined_split  # noqa: E402

from surefoot.integrations.skorch import SkorchJob  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4)).astype(np.float32)
Y = np.sin(X.sum(1, keepdims=True)).astype(np.float32)
CLASSES = (X[:, 0] > 0).astype(np.int64)


class Net(torch.nn.Module):
    def __init__(self, width=8, outputs=1, softmax=False, drop=0.1):
        super().__init__()
        layers = [torch.nn.Linear(4, width), torch.nn.BatchNorm1d(width), torch.nn.Tanh(), torch.nn.Dropout(drop)]
        self.body = torch.nn.Sequential(*layers, torch.nn.Linear(width, outputs))
        self.softmax = softmax

    def forward(self, x):
        out = self.body(x)
        return out.softmax(-1) if self.softmax else out


def regressor(**changes):
    settings = {"max_epochs": 6, "batch_size": 8, "lr": 0.05, "iterator_train__shuffle": True, "verbose": 0}
    return skorch.NeuralNetRegressor(Net, **{**settings, **changes})


def classifier(**changes):
    settings = {"module__outputs": 2, "module__softmax": True, "optimizer": torch.optim.Adam, "lr": 0.003}
    return skorch.NeuralNetClassifier(Net, **{**settings, "batch_size": 8, "verbose": 0, **changes})


@pytest.mark.parametrize("make", [
    lambda: SkorchJob(regressor(), X, Y),
    lambda: SkorchJob(classifier(), X, CLASSES),
    lambda: SkorchJob(regressor(train_split=None), X, Y, val=(X[:9], Y[:9])),
    lambda: SkorchJob(regressor(optimizer__param_groups=[("body.0*", {"lr": 0.5})], optimizer__momentum=0.9), X, Y, clip_norm=1.0),
], ids=["regressor", "classifier", "val", "groups"])  # fmt: skip
def test_keeps_the_contract(make):
    check_job(make, steps=11)


@pytest.mark.parametrize("make", [regressor, classifier])
def test_it_trains_as_skorch_does(make):
    """skorch's own loop, the same order, no schedule: the same weights after the same epochs."""
    y = Y if make is regressor else CLASSES
    valid = skorch.dataset.Dataset(X[:9], y[:9])
    net = make(module__drop=0.0, max_epochs=4, iterator_train__shuffle=False, train_split=predefined_split(valid))
    job = SkorchJob(net, X, y)
    run = job.start(net.lr, seed=3)
    net.initialize()
    net.module_.load_state_dict(run.model.state_dict())
    net.partial_fit(X, y, epochs=4)
    job.advance(run, [1.0] * 4 * 8)
    for name, value in net.module_.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    assert job.evaluate(run) == pytest.approx(net.history[-1, "valid_loss"], rel=1e-5)


def test_the_estimator_is_left_as_it_was():
    net = regressor()
    job = SkorchJob(net, X, Y)
    job.advance(job.start(0.1, seed=0), [1.0])
    assert not net.initialized_
    net.initialize()
    before = {name: value.clone() for name, value in net.module_.state_dict().items()}
    again = SkorchJob(net, X, Y)
    again.advance(again.start(0.1, seed=0), [1.0] * 3)
    assert all(torch.equal(value, before[name]) for name, value in net.module_.state_dict().items())


def test_lengths_rates_and_settings_are_the_estimators():
    job = SkorchJob(regressor(optimizer__momentum=0.9), X, Y)
    assert job.total_steps == 6 * 6  # 48 samples are left of 60
    assert (job.default_learning_rate, job.optimizer_name) == (0.05, "sgd")
    group = job.start(0.2, seed=0).optimizer.param_groups[0]
    assert (group["lr"], group["momentum"]) == (pytest.approx(0.2), 0.9)
    groups = SkorchJob(regressor(optimizer__param_groups=[("body.0*", {"lr": 0.5})]), X, Y).start(1.0, seed=0)
    rates = sorted(g["lr"] for g in groups.optimizer.param_groups)
    assert rates == pytest.approx([0.1, 1.0])


def test_a_search_and_a_comparison():
    job = SkorchJob(classifier(), X, CLASSES, total_steps=240)
    found = sf.find(job)
    assert found == sf.find(SkorchJob(classifier(), X, CLASSES, total_steps=240))
    assert 1e-4 < found.learning_rate < 1.0
    net = classifier().set_params(lr=found.learning_rate)
    assert net.lr == found.learning_rate
    compared = sf.find(job, methods=["adam", "prodigy"])
    assert {r.method for r in compared.table} == {"adam", "prodigy"}


class Weighted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, out, y):
        return ((out - y) * self.weight).square().mean()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SkorchJob(Net(), X, Y), "a skorch estimator; this has no initialize"),
        (lambda: SkorchJob(skorch.NeuralNetRegressor, X, Y), "not its class"),
        (lambda: SkorchJob(regressor(train_split=None), X, Y), "given where the estimator splits nothing off"),
        (lambda: SkorchJob(regressor(), X, Y, val=X), r"a pair \(X, y\)"),
        (lambda: SkorchJob(regressor(), X, Y, total_steps=0), "total_steps must be"),
        (lambda: SkorchJob(regressor(lr=0.0), X, Y), "one with a rate above 0"),
        (lambda: SkorchJob(regressor(criterion=Weighted), X, Y), "a criterion without weights"),
        (lambda: SkorchJob(regressor(), X, Y, goal="max"), "'min' without a metric"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused_when_the_job_is_made(make, words):
    with pytest.raises((sf.ArgumentError, sf.ArgumentTypeError), match=words):
        make()
