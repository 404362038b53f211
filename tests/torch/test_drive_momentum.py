"""The momentum, which moves with the rate: torch's own cycles are the oracle."""

import io
import json
import warnings

import pytest
from torch.optim import lr_scheduler as of_torch

import surefoot as sf
import surefoot.torch
import torch
from surefoot import ArgumentError, ArgumentTypeError, SurefootWarning
from surefoot.torch import drive

N = 60
SHARE = 0.3
RISE = SHARE * N - 1  # torch counts its phases one step shorter


def weight():
    return torch.nn.Parameter(torch.ones(3))


def sgd(lr=0.5, **more):
    return torch.optim.SGD([weight()], lr=lr, momentum=0.9, **more)


def adam(lr=0.5, **more):
    return torch.optim.Adam([weight()], lr=lr, betas=(0.9, 0.98), **more)


def adam_of_tensors(lr=0.5):
    betas = (torch.tensor(0.9, dtype=torch.float64), torch.tensor(0.98, dtype=torch.float64))
    return torch.optim.Adam(
        [weight()], lr=torch.tensor(lr, dtype=torch.float64), betas=betas, capturable=True, foreach=True
    )


def ours_of_surefoot(lr=0.5):
    return surefoot.torch.Adam([weight()], lr=lr, betas=(0.9, 0.98))


MAKERS = [sgd, adam, ours_of_surefoot]


def values(optimizer):
    group = optimizer.param_groups[0]
    return float(group["lr"]), float(group["betas"][0] if "betas" in group else group["momentum"])


def train(optimizer, scheduler, steps):
    """Return the rate and the momentum that each update is made with."""
    used = []
    for _ in range(steps):
        used.append(values(optimizer))
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = torch.full_like(p, 0.1)
        optimizer.step()
        scheduler.step()
    return used


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("is_linear", [False, True])
@pytest.mark.parametrize("three_phase", [False, True])
def test_rate_and_momentum_are_those_of_torchs_one_cycle(make, three_phase, is_linear):
    theirs = make()
    scheduler = of_torch.OneCycleLR(
        theirs,
        max_lr=0.5,
        total_steps=N,
        pct_start=SHARE,
        anneal_strategy="linear" if is_linear else "cos",
        three_phase=three_phase,
    )
    want = train(theirs, scheduler, N - 1)
    phases = {"warmup_steps": RISE, "shape": "linear" if is_linear else "cosine"}
    phases["down_steps"] = RISE if three_phase else None
    ours = make()
    plan, momentum = sf.one_cycle(N - 1, **phases), sf.one_cycle_momentum(N - 1, **phases)
    got = train(ours, drive(ours, plan, total_steps=N, momentum=momentum), N - 1)
    for mine, torchs in zip(got, want, strict=True):
        assert mine == pytest.approx(torchs, rel=0, abs=1e-12)
    assert torch.allclose(ours.param_groups[0]["params"][0], theirs.param_groups[0]["params"][0], atol=1e-6)
    assert len({round(momentum, 9) for _, momentum in got}) > 10


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("up", "down"), [(10, None), (7, 12)])
@pytest.mark.parametrize(
    ("shape", "theirs"),
    [
        ({}, {}),
        ({"shape": "triangular2"}, {"mode": "triangular2"}),
        ({"shape": "exp_range", "gamma": 0.97}, {"mode": "exp_range", "gamma": 0.97}),
    ],
)
def test_rate_and_momentum_are_those_of_torchs_cycles(make, up, down, shape, theirs):
    other = make()
    want = train(other, of_torch.CyclicLR(other, 0.05, 0.5, step_size_up=up, step_size_down=down, **theirs), N)
    mine = make()
    plan, momentum = sf.cyclic(up, down, start=0.1, **shape), sf.cyclic_momentum(up, down, **shape)
    for a, b in zip(train(mine, drive(mine, plan, total_steps=N, momentum=momentum), N), want, strict=True):
        assert a == pytest.approx(b, rel=0, abs=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_optimizers_of_surefoot_take_a_momentum_that_changes_as_torchs(nesterov):
    """Also one that was built without, as torch's schedulers allow."""
    weights = []
    for kind in (torch.optim.SGD, surefoot.torch.SGD):
        optimizer = kind([weight()], lr=0.5, momentum=0.9 if nesterov else 0.0, nesterov=nesterov)
        lr = drive(optimizer, sf.one_cycle(), total_steps=N, momentum=sf.one_cycle_momentum())
        train(optimizer, lr, 20)
        weights.append(optimizer.param_groups[0]["params"][0].detach())
    assert torch.allclose(*weights, atol=1e-6)


def test_the_first_values_are_written_at_once():
    optimizer = sgd()
    drive(optimizer, sf.one_cycle(), total_steps=N, momentum=sf.one_cycle_momentum())
    assert values(optimizer) == (0.5 * sf.one_cycle(N, warmup_steps=18)(0), 0.95)


def test_the_other_beta_stays():
    optimizer = adam()
    lr = drive(optimizer, sf.one_cycle(), total_steps=N, momentum=sf.one_cycle_momentum())
    train(optimizer, lr, 18)
    assert optimizer.param_groups[0]["betas"] == (0.85, 0.98)
    assert type(optimizer.param_groups[0]["betas"][0]) is float


def test_a_tensor_is_filled_in_place():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = adam_of_tensors()
    held = optimizer.param_groups[0]["betas"]
    momentum = sf.one_cycle_momentum(N, warmup_steps=18)
    lr = drive(optimizer, sf.one_cycle(), total_steps=N, momentum=momentum)
    for step in range(N):
        assert values(optimizer)[1] == momentum(step)
        lr._updates.count = 1  # as after an update; torch has these tensors on CUDA only
        lr.step()
    assert optimizer.param_groups[0]["betas"] is held


def test_factors_of_a_momentum():
    optimizer = sgd()
    lr = drive(optimizer, sf.constant(), total_steps=N, momentum=0.9 * sf.linear_decay(to=0.5))
    assert [momentum for _, momentum in train(optimizer, lr, 3)] == [
        0.9 * sf.linear_decay(N, to=0.5)(t) for t in range(3)
    ]


def test_each_group_may_have_its_own():
    optimizer = torch.optim.SGD([{"params": [weight()]}, {"params": [weight()]}], lr=0.5, momentum=0.9)
    plans = [sf.one_cycle_momentum(), 0.5 * sf.constant()]
    lr = drive(optimizer, sf.one_cycle(), total_steps=N, momentum=plans)
    train(optimizer, lr, 18)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.85, 0.5]
    with pytest.raises(ArgumentError, match=r"momentum must be.*of which there are 2"):
        drive(sgd_of_two(), sf.constant(), total_steps=N, momentum=plans[:1] * 3)


def sgd_of_two():
    return torch.optim.SGD([{"params": [weight()]}, {"params": [weight()]}], lr=0.5, momentum=0.9)


def test_a_group_added_later_has_the_momentum_of_the_others():
    optimizer = sgd()
    lr = drive(optimizer, sf.one_cycle(), total_steps=N, momentum=sf.one_cycle_momentum())
    train(optimizer, lr, 17)
    optimizer.add_param_group({"params": [weight()], "lr": 0.1})
    train(optimizer, lr, 1)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.85, 0.85]


def test_a_group_added_where_momenta_differ_must_be_told_its_own():
    optimizer = sgd_of_two()
    plans = [sf.one_cycle_momentum(), 0.5 * sf.constant()]
    lr = drive(optimizer, sf.constant(), total_steps=N, momentum=plans)
    train(optimizer, lr, 4)
    optimizer.add_param_group({"params": [weight()], "lr": 0.1})
    with pytest.raises(ArgumentError, match="group 2 was added"):
        lr.step()
    lr.replace(sf.constant(), momentum=[*plans, 0.7 * sf.constant()])
    train(optimizer, lr, 14)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.85, 0.5, 0.7]


@pytest.mark.parametrize("order", ["ours first", "ours last"])
@pytest.mark.parametrize("make", [sgd, adam])
@pytest.mark.parametrize("killed_at", [0, 1, 18, 40, 59, 65])
def test_save_kill_resume_gives_the_same_momentum_bit_for_bit(killed_at, make, order):
    plans = {"total_steps": N, "momentum": sf.one_cycle_momentum()}
    whole = make()
    want = train(whole, drive(whole, sf.one_cycle(), **plans), N + 10)
    first = make()
    lr = drive(first, sf.one_cycle(), **plans)
    done = train(first, lr, killed_at)
    file = io.BytesIO()
    torch.save([first.state_dict(), lr.state_dict()], file)
    file.seek(0)
    theirs, ours = torch.load(file, weights_only=True)
    assert json.loads(json.dumps(ours)) == ours
    second = make(lr=0.1)
    resumed = drive(second, sf.one_cycle(), **plans)
    if order == "ours first":
        resumed.load_state_dict(ours)
        second.load_state_dict(theirs)
    else:
        second.load_state_dict(theirs)
        resumed.load_state_dict(ours)
    assert done + train(second, resumed, N + 10 - killed_at) == want


def test_going_on_with_another_momentum_or_none_is_said():
    state = drive(sgd(), sf.one_cycle(), total_steps=N, momentum=sf.one_cycle_momentum()).state_dict()
    for momentum in (None, 0.9 * sf.constant()):
        lr = drive(sgd(), sf.one_cycle(), total_steps=N, momentum=momentum)
        with pytest.warns(SurefootWarning, match="saved with the momentum `one_cycle_momentum"):
            lr.load_state_dict(state)


@pytest.mark.parametrize("make", [torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.Rprop])
def test_an_optimizer_without_momentum_is_refused(make):
    optimizer = make([weight()], lr=0.5)
    with pytest.raises(ArgumentError, match=r"this optimizer has no momentum.*neither `momentum` nor `betas`"):
        drive(optimizer, sf.one_cycle(), total_steps=N, momentum=sf.one_cycle_momentum())
    assert optimizer.param_groups[0]["lr"] == 0.5
    drive(optimizer, sf.one_cycle(), total_steps=N)  # it is free


@pytest.mark.parametrize("wrong", [sf.one_cycle(), 2 * sf.one_cycle_momentum(), sf.linear_warmup(5)])
def test_values_that_are_no_momentum_are_refused(wrong):
    with pytest.raises(ArgumentError, match=r"values from 0 to below 1: at step \d+ it is .*0\.9 \* schedule"):
        drive(sgd(), sf.one_cycle(), total_steps=N, momentum=wrong)


@pytest.mark.parametrize("wrong", [0.9, "one_cycle", [0.9]])
def test_what_is_no_schedule_is_refused(wrong):
    with pytest.raises(ArgumentTypeError, match="momentum must be a schedule"):
        drive(sgd(), sf.one_cycle(), total_steps=N, momentum=wrong)


def test_replace_takes_a_momentum_only_where_it_is_driven():
    lr = drive(sgd(), sf.one_cycle(), total_steps=N)
    with pytest.raises(ArgumentError, match="the momentum is not driven"):
        lr.replace(sf.constant(), momentum=sf.one_cycle_momentum())
    assert lr.changes == []
