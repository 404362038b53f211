"""Pains of torch's schedulers: each is shown by torch's class, so that we notice when torch repairs it, and not by ours.

The others are beside what repairs them: in test_lr_scheduler.py issues 47513 (a metric that stands still), 68978, 82859,
129565, 162591, 119168, 29697 and 79888; in test_lr_scheduler_repairs.py 44511, 20086, 9927, 163093 (a history of
tensors), 22107, changes by hand, one cycle made longer, and a cut that `eps` forbids; in test_ranks.py a plateau on local
losses; in test_drive.py accelerate's 3797.
"""

import math
import warnings

import pytest
from torch.optim import lr_scheduler as theirs

import torch
from surefoot import SurefootWarning
from surefoot.control import DivergenceGuard, Plateau
from surefoot.schedules import constant, linear_decay, linear_warmup, one_cycle
from surefoot.torch import drive
from surefoot.torch import lr_scheduler as ours

from .schedulers import add_group, rates, sgd, walk

pytestmark = pytest.mark.filterwarnings("ignore:`scheduler.step:UserWarning", "ignore:Detected call:UserWarning")


def test_a_negative_metric_that_gets_worse_counts_as_gain():
    """Issues 47513, 38622: with a relative threshold torch's plateau puts `best * (1 - threshold)` on the wrong side."""
    worse = [-1.0 + 0.0039 * epoch for epoch in range(100)]  # each by less than the threshold
    for module, cuts in ((theirs, 0), (ours, 5)):
        optimizer = sgd(1.0)
        plateau = module.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.01, min_lr=2.0**-5)
        for metric in worse:
            plateau.step(metric)
        assert rates(optimizer) == [2.0**-cuts]


def test_nan_cuts_the_rate_without_a_word():
    """Torch's plateau counts NaN as a bad epoch: three of them and the rate is a tenth, and nobody is told."""
    told = {}
    for module in (theirs, ours):
        optimizer = sgd(1.0)
        plateau = module.ReduceLROnPlateau(optimizer, patience=2)
        plateau.step(1.0)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for _ in range(3):
                plateau.step(math.nan)
        assert rates(optimizer) == [0.1]
        told[module] = [w.category for w in said]
    assert told == {theirs: [], ours: [SurefootWarning]}
    optimizer = sgd(1.0)
    lr = drive(optimizer, constant(), total_steps=9, controllers=[DivergenceGuard(), Plateau(patience=9)])
    lr.step(loss=math.nan)
    assert "loss is nan" in lr.why()  # at the first, and with its cause


def test_building_a_schedule_changes_the_rate():
    """Issue 72874: each of torch's constructors takes a first step, before one knows what it is for."""
    optimizer = sgd(1.0)
    first, second = theirs.ConstantLR(optimizer, 0.1), theirs.ConstantLR(optimizer, 0.1)
    assert rates(optimizer) == pytest.approx([0.01])
    del first, second
    optimizer = sgd(1.0)
    schedule = linear_warmup(5, start=0.1) >> linear_decay()
    assert rates(optimizer) == [1.0]
    drive(optimizer, schedule, total_steps=10)
    assert rates(optimizer) == [0.1]


def test_one_cycle_sets_the_betas_at_once():
    """Torch's OneCycleLR writes the betas, and the rate too, when it is built; ours does so under its name only."""

    def adam():
        return torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=1.0, betas=(0.8, 0.999))

    optimizer = adam()
    theirs.OneCycleLR(optimizer, 1.0, total_steps=10)
    assert optimizer.param_groups[0]["betas"] == (0.95, 0.999)
    optimizer = adam()
    drive(optimizer, one_cycle(), total_steps=10)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)
    assert rates(optimizer) == [1 / 25]


@pytest.mark.parametrize(
    ("make", "drift"),
    [
        (lambda m, o: m.ExponentialLR(o, 0.9995), 5e-6),
        (lambda m, o: m.LinearLR(o, 1.0, 0.01, total_iters=2000), 1e-6),
        (lambda m, o: m.CosineAnnealingLR(o, 4000), 1e-6),
    ],
    ids=["ExponentialLR", "LinearLR", "CosineAnnealingLR"],
)
def test_a_float32_tensor_drifts(make, drift):
    """What torch computes from the last rate collects the roundings of a float32 tensor; a function of the step does not."""
    for module, is_fine in ((theirs, False), (ours, True)):
        ends = []
        for lr in (1.0, torch.tensor(1.0)):
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr)
            ends.append(walk(make(module, optimizer), 2000)[-1][0])
        assert (abs(ends[1] / ends[0] - 1) < 1e-7) is is_fine
        assert is_fine or abs(ends[1] / ends[0] - 1) > drift


def test_a_momentum_that_changes_recompiles_the_step():
    """Issues 107076, 120934: OneCycleLR writes new betas at every step, so a compiled step is compiled again."""

    def graphs(drives):
        made = []
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=torch.tensor(0.5))
        scheduler = drives(optimizer)
        optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
        torch.compiler.reset()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own deprecations
            step = torch.compile(optimizer.step, backend=lambda graph, _: made.append(graph) or graph)
            for _ in range(5):
                step()
                scheduler.step()
        return len(made)

    assert graphs(lambda optimizer: theirs.OneCycleLR(optimizer, 0.5, total_steps=10)) > 1
    assert graphs(lambda optimizer: drive(optimizer, one_cycle(), total_steps=10)) == 1


def test_a_group_added_later_breaks_multiplicative_too():
    """Issues 79888, 104361: as LambdaLR, it has a function for each group that was there."""
    for module in (theirs, ours):
        scheduler = module.MultiplicativeLR(sgd(0.4), lambda _: 0.5)
        add_group(scheduler.optimizer, 0.4)
        if module is theirs:
            with pytest.raises(ValueError, match="zip"):
                scheduler.step()
        else:
            scheduler.step()
            assert rates(scheduler.optimizer) == [0.2, 0.2]


def test_nobody_can_be_asked_about_another_step():
    """Issues 49885, 31871: `get_lr` is about the next step, and torch's schedulers have no rate at step t."""
    optimizer = sgd(0.5)
    known = theirs.ExponentialLR(optimizer, 0.5)
    assert not any(hasattr(known, name) for name in ("at", "lr_at", "get_lr_at"))
    with pytest.warns(UserWarning, match="get_last_lr"):
        assert known.get_lr() != known.get_last_lr()
    lr = drive(sgd(0.5), linear_decay(), total_steps=10)
    assert [lr.at(step) for step in (0, 5, 10)] == [0.5, 0.25, 0.0]
    assert lr.get_lr() == lr.get_last_lr() == [0.5]


def test_a_schedule_needs_an_optimizer():
    """Issue 67761: torch's cannot be drawn, compared or saved before there is something to train."""
    with pytest.raises(TypeError, match="is not an Optimizer"):
        theirs.LinearLR(None)
    assert linear_decay().simulate(4) == [1.0, 0.75, 0.5, 0.25]
