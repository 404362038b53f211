"""Schedule-Free in torch: the numbers of its authors' package, and two points that are never confused."""

import copy
import io

import pytest

import torch
from surefoot import ArgumentError, OrderError, SurefootWarning
from surefoot.torch import AdamWScheduleFree, SGDScheduleFree

schedulefree = pytest.importorskip("schedulefree")

OPTIONS = [
    {},
    {"warmup_steps": 50},
    {"weight_decay": 0.1},
    {"warmup_steps": 20, "weight_decay": 0.05, "r": 1.0, "weight_lr_power": 1.0},
    {"weight_lr_power": 0.0, "r": 2.0},
]
OURS = [
    pytest.param(SGDScheduleFree, schedulefree.SGDScheduleFree, {"lr": 0.05}, id="sgd"),
    pytest.param(SGDScheduleFree, schedulefree.SGDScheduleFree, {"lr": 0.02, "momentum": 0.6}, id="sgd-0.6"),
    pytest.param(AdamWScheduleFree, schedulefree.AdamWScheduleFree, {"lr": 0.01}, id="adamw"),
    pytest.param(
        AdamWScheduleFree,
        schedulefree.AdamWScheduleFree,
        {"lr": 0.01, "betas": (0.95, 0.99), "eps": 1e-4},
        id="adamw-betas",
    ),
]
both = pytest.mark.parametrize(
    "make", [lambda w: SGDScheduleFree(w, lr=0.1), lambda w: AdamWScheduleFree(w, lr=0.1)], ids=["sgd", "adamw"]
)
pytestmark = pytest.mark.filterwarnings("ignore:.*nothing has been evaluated yet:surefoot.SurefootWarning")


def weights(dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    return [
        torch.nn.Parameter(torch.randn(size, generator=draw, dtype=torch.float64).to(dtype)) for size in ((3, 2), (2,))
    ]


def train(optimizer, parameters, steps, start=0):
    """Take noisy steps toward 3; the noise of a step is always the same."""
    for t in range(start, start + steps):
        draw = torch.Generator().manual_seed(t)
        for p in parameters:
            noise = torch.randn(p.shape, generator=draw, dtype=torch.float64)
            p.grad = (2.0 * (p.detach().double() - 3.0) + noise).to(p.dtype)
        optimizer.step()


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: ",".join(o) or "none")
@pytest.mark.parametrize(("ours", "theirs", "settings"), OURS)
def test_500_steps_are_those_of_the_authors_package(ours, theirs, settings, options):
    mine, other = weights(torch.float64), weights(torch.float64)
    optimizer = ours(mine, **settings, **options)
    reference = theirs(other, **settings, **options)
    reference.train()
    for start in (0, 250):
        train(optimizer, mine, 250, start)
        train(reference, other, 250, start)
        for a, b in zip(mine, other, strict=True):
            torch.testing.assert_close(
                a, b, rtol=1e-10, atol=1e-12
            )  # no ratio of sums feeds back: only rounding adds up
        optimizer.eval()
        reference.eval()
        for a, b in zip(mine, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
        optimizer.train()
        reference.train()


def test_arguments_and_defaults_are_the_packages():
    import inspect

    for ours, theirs in (
        (SGDScheduleFree, schedulefree.SGDScheduleFree),
        (AdamWScheduleFree, schedulefree.AdamWScheduleFree),
    ):
        names = {n: p.default for n, p in inspect.signature(theirs).parameters.items() if n != "foreach"}
        assert {n: p.default for n, p in inspect.signature(ours).parameters.items()} == names


@both
def test_training_goes_on_bit_for_bit_after_an_evaluation(make):
    parameters, twins = weights(), weights()
    optimizer, twin = make(parameters), make(twins)
    for start in range(0, 60, 20):
        train(optimizer, parameters, 20, start)
        train(twin, twins, 20, start)
        with optimizer.evaluation():
            average = [p.detach().clone() for p in parameters]
            assert not any(torch.equal(a, b) for a, b in zip(average, twins, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(parameters, twins, strict=True))
        optimizer.eval()
        optimizer.eval()  # twice is once
        assert all(torch.equal(a, p) for a, p in zip(average, parameters, strict=True))
        optimizer.train()
        optimizer.train()
        assert all(torch.equal(a, b) for a, b in zip(parameters, twins, strict=True))


@both
def test_the_average_is_nearer_than_what_is_averaged(make):
    parameters = weights()
    optimizer = make(parameters)
    train(optimizer, parameters, 400)
    far = sum((optimizer.state[p]["z"] - 3.0).square().sum() for p in parameters)
    with optimizer.evaluation():
        near = sum((p.detach() - 3.0).square().sum() for p in parameters)
    assert near < 0.5 * far


@both
@pytest.mark.parametrize("is_training", [True, False])
def test_a_checkpoint_of_either_mode_resumes_bit_for_bit(make, is_training):
    parameters, twins = weights(), weights()
    optimizer, twin = make(parameters), make(twins)
    train(optimizer, parameters, 30)
    train(twin, twins, 60)
    if not is_training:
        optimizer.eval()
    file = io.BytesIO()
    torch.save({"weights": [p.detach() for p in parameters], "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    others = [torch.nn.Parameter(w.clone()) for w in saved["weights"]]
    resumed = make(others)
    resumed.load_state_dict(saved["optimizer"])
    assert resumed.is_training == is_training
    resumed.train()
    train(resumed, others, 30, 30)
    assert all(torch.equal(a, b) for a, b in zip(others, twins, strict=True))
    with resumed.evaluation(), twin.evaluation():
        assert all(torch.equal(a, b) for a, b in zip(others, twins, strict=True))


@both
def test_a_step_on_the_average_is_refused_and_changes_nothing(make):
    parameters = weights()
    optimizer = make(parameters)
    train(optimizer, parameters, 3)
    optimizer.eval()
    before = copy.deepcopy(parameters)
    with pytest.raises(OrderError, match=r"Call `train\(\)`"):
        train(optimizer, parameters, 1)
    assert all(torch.equal(a, b) for a, b in zip(parameters, before, strict=True))


@both
@pytest.mark.filterwarnings("default:.*nothing has been evaluated yet:surefoot.SurefootWarning")
def test_a_state_that_is_saved_without_an_evaluation_is_said_once(make):
    parameters = weights()
    optimizer = make(parameters)
    optimizer.state_dict()  # nothing has been trained
    train(optimizer, parameters, 3)
    with pytest.warns(SurefootWarning, match="nothing has been evaluated yet"):
        optimizer.state_dict()
    optimizer.state_dict()
    evaluated = make(parameters)
    train(evaluated, parameters, 3)
    with evaluated.evaluation():
        pass
    evaluated.state_dict()


def test_statistics_of_batch_norm_are_those_of_the_average_within():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))
    optimizer = AdamWScheduleFree(model.parameters(), lr=0.1)
    batches = [torch.randn(16, 4) for _ in range(8)]
    for x in batches * 5:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    before = {name: b.clone() for name, b in model.named_buffers()}
    with optimizer.evaluation(model, batches):
        hidden = torch.cat([model[0](x) for x in batches])
        torch.testing.assert_close(model[1].running_mean, hidden.mean(0), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[name], b) for name, b in model.named_buffers())
    assert model.training


def test_groups_and_late_groups_have_their_own_points():
    parameters = weights()
    optimizer = AdamWScheduleFree(parameters[:1], lr=0.1)
    train(optimizer, parameters[:1], 5)
    optimizer.add_param_group({"params": parameters[1:], "lr": 0.01, "betas": (0.5, 0.9), "warmup_steps": 4})
    train(optimizer, parameters, 5, 5)
    assert optimizer.effective_learning_rates() == [0.1, 0.01]
    y = [p.detach().clone() for p in parameters]
    optimizer.eval()
    z = [optimizer.state[p]["z"] for p in parameters]
    for x, start, end, b1 in zip(parameters, y, z, (0.9, 0.5), strict=True):
        torch.testing.assert_close(b1 * x.detach() + (1 - b1) * end, start)


def test_the_rate_says_the_warm_up():
    parameters = weights()
    optimizer = SGDScheduleFree(parameters, lr=0.1, warmup_steps=4)
    train(optimizer, parameters, 2)
    assert optimizer.effective_learning_rates() == [0.05]


@pytest.mark.parametrize(
    ("kind", "arguments", "name"),
    [
        (SGDScheduleFree, {"momentum": 1.0}, "momentum"),
        (SGDScheduleFree, {"momentum": 0.0}, "momentum"),
        (SGDScheduleFree, {"lr": -1.0}, "lr"),
        (SGDScheduleFree, {"weight_decay": float("nan")}, "weight_decay"),
        (SGDScheduleFree, {"warmup_steps": -1}, "warmup_steps"),
        (AdamWScheduleFree, {"betas": (0.0, 0.9)}, "betas"),
        (AdamWScheduleFree, {"betas": (0.9, 1.0)}, "betas"),
        (AdamWScheduleFree, {"eps": -1.0}, "eps"),
        (AdamWScheduleFree, {"r": -1.0}, "r"),
        (AdamWScheduleFree, {"weight_lr_power": float("inf")}, "weight_lr_power"),
    ],
)
def test_wrong_arguments_are_refused_by_name(kind, arguments, name):
    with pytest.raises(ArgumentError, match=rf"{kind.__name__}\({name}"):
        kind(weights(), **arguments)
