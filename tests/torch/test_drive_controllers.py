"""`drive` with the controllers that look further: Greedy, TrendPlateau, and members of a Chain."""

import io
import math

import pytest

import torch
from surefoot import ArgumentError, StateError
from surefoot.control import Chain, DivergenceGuard, Greedy, Manual, Plateau, TrendPlateau
from surefoot.run import read_decisions
from surefoot.schedules import constant, cosine_decay
from surefoot.torch import Checkpointer, drive

LOSSES = [
    1.0,
    0.8,
    0.7,
    0.65,
    0.6,
    9.0,
    0.62,
    0.61,
    0.63,
    0.6,
    math.nan,
    0.6,
    0.61,
    0.6,
    0.62,
    0.6,
    0.61,
    0.6,
    0.5,
    0.4,
]
KINDS = {
    "greedy": lambda: Greedy(patience=2, factor=0.5, cooldown=1, window=3, max_lr=0.8),
    "trend": lambda: TrendPlateau(window=3, patience=1, factor=0.5),
    "chain": lambda: Chain(
        DivergenceGuard(action="skip", warmup=4, spike=6.0, attempts=9),
        Chain(Greedy(patience=3, factor=0.9), Plateau("loss", patience=4)),
        TrendPlateau(window=4, patience=1, factor=0.25),
    ),
}


def start(make, lr=0.2, run_dir=None):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=lr, momentum=0.9)
    return optimizer, drive(
        optimizer, cosine_decay(to=0.1), total_steps=20, controllers=[make(), Manual()], run_dir=run_dir
    )


def train(optimizer, rate, losses):
    """Make an update a loss, each shown before `backward`; return the rates and weights after each."""
    found = []
    for loss in losses:
        rate.observe(loss=loss)
        (weight,) = optimizer.param_groups[0]["params"]
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
        rate.step()
        found.append((optimizer.param_groups[0]["lr"], weight.detach().clone().tolist()))
    return found


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_save_kill_resume_at_every_step_gives_the_same_rates_and_decisions(make):
    whole = start(make)
    expected = train(*whole, LOSSES)
    assert whole[1].changes
    for killed_at in range(len(LOSSES) + 1):
        optimizer, rate = start(make)
        done = train(optimizer, rate, LOSSES[:killed_at])
        weight = optimizer.param_groups[0]["params"][0].detach()
        saved, ours = through_a_file(optimizer.state_dict()), through_a_file(rate.state_dict())
        optimizer, rate = start(make, lr=0.7)
        optimizer.param_groups[0]["params"][0].data = weight.clone()
        optimizer.load_state_dict(saved)
        rate.load_state_dict(ours)
        assert done + train(optimizer, rate, LOSSES[killed_at:]) == expected
        assert repr(rate.changes) == repr(whole[1].changes)  # a NaN among the metrics equals nothing


def test_a_guard_within_a_chain_skips_the_update_and_shields_those_behind():
    plateau = Plateau("loss", patience=2)
    optimizer, rate = start(lambda: Chain(DivergenceGuard(action="skip"), plateau))
    found = train(optimizer, rate, [1.0, math.nan, 1.0])
    assert found[1][1] == found[0][1] != found[2][1]
    assert rate.step_count == 2
    assert plateau.wait == 1


def test_a_guard_within_a_chain_stops_the_run():
    rate = start(lambda: Chain(Plateau(), DivergenceGuard(action="stop")))[1]
    rate.observe(loss=math.inf)
    assert rate.should_stop


def test_a_guard_within_a_chain_goes_back():
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    guard = DivergenceGuard(rewind=Checkpointer(model=model, optimizer=optimizer))
    rate = drive(optimizer, constant(), total_steps=9, controllers=[Chain(guard, Plateau("loss", patience=1))])
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.fill_(math.nan)
    (decision,) = rate.observe(loss=math.nan)
    assert decision.action == "rewind"
    assert torch.equal(model.weight, before)
    assert optimizer.param_groups[0]["lr"] == 0.05  # cut by the guard; the plateau has seen nothing


@pytest.mark.parametrize(
    ("member", "text"),
    [(DivergenceGuard(action="rewind"), "able to rewind"), (Plateau(restore_best=True), "asks for nothing but rates")],
)
def test_what_cannot_be_done_is_refused_within_a_chain_too(member, text):
    with pytest.raises(ArgumentError, match=text):
        start(lambda: Chain(Manual(), Chain(member)))


def test_a_controller_within_a_chain_and_beside_it_is_refused():
    manual = Manual()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    with pytest.raises(ArgumentError, match="without repetitions"):
        drive(optimizer, constant(), total_steps=9, controllers=[Chain(Plateau(), manual), manual])


def test_the_state_of_another_chain_is_refused_and_changes_nothing():
    rate = start(KINDS["chain"])[1]
    before = rate.state_dict()
    with pytest.raises(StateError):
        rate.load_state_dict(start(lambda: Chain(Plateau()))[1].state_dict())
    assert rate.state_dict() == before


def test_the_decision_log_names_the_member_that_has_decided(tmp_path):
    optimizer, rate = start(lambda: Chain(DivergenceGuard(action="cut"), Plateau("loss", patience=2)), run_dir=tmp_path)
    train(optimizer, rate, [1.0, math.nan, 1.0])
    entries = [(c["step"], c["controller"], c["cause"]) for c in read_decisions(tmp_path).changes]
    assert entries == [
        (1, "DivergenceGuard", "loss is nan"),
        (2, "Plateau", "loss has not improved on 1 for 2 readings"),
    ]
    assert ", DivergenceGuard 0.5, Plateau 0.1, Manual 1" in rate.why()
