"""Schedulers under torch's names: order of calls, tensors, ends, odd values, state and lifetime."""

import copy
import gc
import math
import warnings
import weakref

import pytest
from torch.optim import lr_scheduler as theirs

import torch
from surefoot import ArgumentError, ArgumentTypeError, StateError, SurefootWarning
from surefoot.torch import lr_scheduler as ours

from .schedulers import BY_STEP, MAKERS, halve, leaves, rates, same, sgd, through_a_file, walk

pytestmark = pytest.mark.filterwarnings("ignore:`scheduler.step:UserWarning", "ignore:Detected call:UserWarning")


# https://github.com/pytorch/pytorch/issues/44511
def test_a_step_that_amp_skips_is_no_false_alarm():
    for module, alarms in ((theirs, 1), (ours, 0)):
        parameter = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([parameter], lr=0.1)
        scheduler = module.StepLR(optimizer, 3)
        scaler = torch.amp.GradScaler("cpu")
        scaler.scale((parameter * math.inf).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            scheduler.step()
        assert len(said) == alarms


def test_the_wrong_order_of_calls_is_said():
    scheduler = ours.StepLR(sgd(), 3)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()


def test_a_tensor_is_filled_in_place_and_its_history_is_of_floats():
    for module, kind in ((theirs, torch.Tensor), (ours, float)):
        lr = torch.tensor(0.5)
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr)
        scheduler = module.ExponentialLR(optimizer, 0.5)
        scheduler.step()
        assert optimizer.param_groups[0]["lr"] is lr
        assert float(lr) == 0.25
        assert type(scheduler.get_last_lr()[0]) is kind
        assert optimizer.param_groups[0]["initial_lr"] == 0.5


def test_a_tensor_that_all_groups_share_is_not_taken_for_a_new_groups_base():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=torch.tensor(0.5))
    scheduler = ours.ExponentialLR(optimizer, 0.5)
    scheduler.step()
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    scheduler.step()
    assert rates(optimizer) == [0.125, 0.125]


# https://github.com/pytorch/pytorch/issues/20086
def test_the_cosine_does_not_rise_again():
    known, mine = theirs.CosineAnnealingLR(sgd(), 4), ours.CosineAnnealingLR(sgd(), 4)
    assert walk(known, 8)[-1] == pytest.approx([0.3, 0.7])
    walk(mine, 4)
    with pytest.warns(SurefootWarning, match="T_max=4") as said:
        seen = walk(mine, 4)
    assert seen == [[0.0, 0.0]] * 5
    assert len(said) == 1


def test_one_cycle_can_be_extended_and_stepped_past_its_end():
    def saved(module):
        scheduler = module.OneCycleLR(sgd(), 0.5, total_steps=10)
        walk(scheduler, 5)
        return scheduler.state_dict()

    known, mine = theirs.OneCycleLR(sgd(), 0.5, total_steps=20), ours.OneCycleLR(sgd(), 0.5, total_steps=20)
    known.load_state_dict(saved(theirs))
    mine.load_state_dict(saved(ours))
    assert (known.total_steps, mine.total_steps) == (10, 20)
    assert walk(mine, 0) == [walk(ours.OneCycleLR(sgd(), 0.5, total_steps=20), 5)[-1]]
    with pytest.raises(ValueError, match="Tried to step"):
        walk(known, 6)
    walk(mine, 15)
    with pytest.warns(SurefootWarning, match="total_steps=20"):
        seen = walk(mine, 3)
    assert all(rate == pytest.approx([0.5 / 25 / 1e4] * 2) for rate in seen)


def test_a_cut_that_eps_forbids_is_said():
    for module in (theirs, ours):
        optimizer = sgd(1e-8)
        plateau = module.ReduceLROnPlateau(optimizer, patience=0)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for _ in range(3):
                plateau.step(1.0)
        assert rates(optimizer) == [1e-8]
        assert [w.category for w in said] == ([] if module is theirs else [SurefootWarning])


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_and_infinity_are_said_and_never_become_the_best(mode):
    plateau = ours.ReduceLROnPlateau(sgd(), mode=mode)
    with pytest.warns(SurefootWarning, match="without gain"):
        plateau.step(math.nan)
    for metric in (math.inf, -math.inf, 1.0):  # said once
        plateau.step(metric)
    assert plateau.best == 1.0


def test_a_change_by_hand_stays():
    for make in (MAKERS["LambdaLR"], MAKERS["OneCycleLR"], MAKERS["StepLR"], MAKERS["CosineAnnealingLR"]):
        plain, edited, known = make(ours, sgd()), make(ours, sgd()), make(theirs, sgd())
        for scheduler in (edited, known):
            scheduler.optimizer.param_groups[0]["lr"] *= 0.5
        wanted = [[a / 2, b] for a, b in walk(plain, 3)]
        assert same(walk(edited, 3), wanted)
        if make in {MAKERS["LambdaLR"], MAKERS["OneCycleLR"]}:
            assert not same(walk(known, 3)[1:], wanted[1:])


def test_a_change_by_hand_of_a_tensor_stays():
    lr = torch.tensor(0.5)
    scheduler = ours.ExponentialLR(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr), 0.5)
    lr.mul_(0.5)
    assert scheduler.get_last_lr() == [0.25]
    scheduler.step()
    scheduler.step()
    assert float(lr) == 0.0625


# https://github.com/pytorch/pytorch/issues/9927
def test_a_lambda_that_is_not_the_saved_one_is_said():
    for module in (theirs, ours):
        saved, fresh = module.LambdaLR(sgd(), halve), module.LambdaLR(sgd(), lambda step: 0.9**step)
        walk(saved, 2)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            fresh.load_state_dict(saved.state_dict())
        assert [w.category for w in said] == ([] if module is theirs else [SurefootWarning])


def test_get_lr_is_the_rate_of_now():
    for module, now in ((theirs, 0.025), (ours, 0.1)):
        scheduler = module.ExponentialLR(sgd(0.2), 0.5)
        scheduler.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert (scheduler.get_lr() == [pytest.approx(now)]) is (module is ours)
        assert scheduler.get_last_lr() == [0.1]


@pytest.mark.parametrize("make", [*BY_STEP, pytest.param(lambda m, o: m.ReduceLROnPlateau(o), id="ReduceLROnPlateau")])
def test_the_state_is_plain_data_and_a_copy(make):
    lr = torch.tensor(0.5)
    optimizer = torch.optim.SGD([{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for _ in "ab"], momentum=0.9)
    scheduler = make(ours, optimizer)
    state = scheduler.state_dict()
    assert {type(leaf) for leaf in leaves(state)} <= {int, float, str, bool, type(None)}
    assert through_a_file(state) == state
    kept = copy.deepcopy(state)
    if not isinstance(scheduler, theirs.ReduceLROnPlateau):
        scheduler.step()
    assert state == kept


@pytest.mark.parametrize("make", BY_STEP)
def test_a_state_of_torchs_class_is_taken(make):
    known = make(theirs, sgd())
    walk(known, 5)
    mine = make(ours, sgd())
    mine.load_state_dict(known.state_dict())
    assert same(walk(mine, 4), walk(known, 4))


@pytest.mark.parametrize("make", BY_STEP)
def test_nothing_is_kept_alive_by_cycles(make):
    gc.collect()
    gc.disable()
    try:
        scheduler = make(ours, sgd())
        optimizer = scheduler.optimizer
        walk(scheduler, 2)
        refs = weakref.ref(scheduler), weakref.ref(optimizer)
        del scheduler, optimizer
        assert [ref() for ref in refs] == [None, None]
    finally:
        gc.enable()


def test_a_scheduler_that_is_dropped_leaves_what_torchs_would():
    for name, left in (("StepLR", 0.09), ("LambdaLR", 0.3)):
        optimizer = sgd()
        scheduler = MAKERS[name](ours, optimizer)
        walk(scheduler, 3)
        del scheduler
        walk(ours.ConstantLR(optimizer, 1.0), 1)
        assert rates(optimizer)[0] == pytest.approx(left)


def test_copies_go_on_alike():
    optimizer = sgd()
    pair = MAKERS["StepLR"](ours, optimizer), ours.ReduceLROnPlateau(optimizer, patience=0)
    for _ in range(4):
        pair[0].step()
        pair[1].step(1.0)
    optimizer.param_groups[0]["lr"] *= 0.5
    twins = copy.deepcopy(pair)
    for schedulers in (pair, twins):
        schedulers[0].step()
        schedulers[1].step(1.0)
    assert rates(twins[0].optimizer) == pytest.approx(rates(optimizer), rel=1e-12)
    assert twins[0].optimizer is twins[1].optimizer is not optimizer
    part = copy.deepcopy(MAKERS["SequentialLR"](ours, sgd()))
    assert same(walk(part, 9), walk(MAKERS["SequentialLR"](ours, sgd()), 9))


def test_a_state_that_does_not_fit_is_refused():
    scheduler = ours.StepLR(sgd(), 3)
    for wrong in ({}, [1], ours.ExponentialLR(sgd(), 0.9).state_dict(), ours.StepLR(sgd(0.1), 3).state_dict()):
        with pytest.raises(StateError):
            scheduler.load_state_dict(wrong)
    with pytest.raises(StateError, match="damaged"):
        scheduler.load_state_dict({**scheduler.state_dict(), "surefoot": {"initial_lrs": [1.0, 1.0]}})
    with pytest.raises(StateError, match="1 schedulers"):
        MAKERS["SequentialLR"](ours, sgd()).load_state_dict(
            {**MAKERS["SequentialLR"](ours, sgd()).state_dict(), "_schedulers": [{}]}
        )


@pytest.mark.parametrize(
    "make",
    [
        lambda o: ours.StepLR(o, 0),
        lambda o: ours.StepLR(o, 3, gamma=math.nan),
        lambda o: ours.MultiStepLR(o, [1], gamma=math.inf),
        lambda o: ours.ConstantLR(o, math.nan),
        lambda o: ours.LinearLR(o, math.nan),
        lambda o: ours.ExponentialLR(o, math.nan),
        lambda o: ours.PolynomialLR(o, power=-1.0),
        lambda o: ours.CosineAnnealingLR(o, 0),
        lambda o: ours.CosineAnnealingWarmRestarts(o, 3).step(-1),
        lambda o: ours.CyclicLR(o, 0.1, 0.2, step_size_up=0),
        lambda o: ours.ReduceLROnPlateau(o, factor=1.0),
        lambda o: ours.ReduceLROnPlateau(o, patience=-1),
        lambda o: ours.ReduceLROnPlateau(o, threshold=math.nan),
        lambda o: ours.SequentialLR(o, [], []),
        lambda o: ours.ChainedScheduler([]),
        lambda o: ours.SequentialLR(o, [ours.StepLR(o, 1), ours.StepLR(o, 1)], [1, 2]),
        lambda o: ours.SequentialLR(o, [ours.StepLR(o, 1) for _ in range(3)], [5, 2]),
        lambda o: ours.ChainedScheduler([ours.StepLR(o, 1), ours.StepLR(sgd(), 1)]),
    ],
)
def test_values_that_cannot_be_meant_are_refused(make):
    with pytest.raises(ArgumentError):
        make(sgd())


def test_other_schedulers_are_no_parts():
    optimizer = sgd()
    with pytest.raises(ArgumentTypeError, match="torch's own class"):
        ours.ChainedScheduler([theirs.StepLR(optimizer, 3)])


def test_a_get_lr_that_would_never_be_asked_is_refused():
    with pytest.raises(ArgumentTypeError, match="never asked"):

        class Mine(ours.StepLR):
            def get_lr(self):
                return [1.0]


def test_the_momentum_in_a_tensor_is_filled_in_place():
    beta = torch.tensor(0.9)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=0.1, betas=(0.9, 0.99))
    scheduler = ours.OneCycleLR(optimizer, 0.5, total_steps=10)
    optimizer.param_groups[0]["betas"] = (beta, 0.99)
    scheduler.step()
    assert optimizer.param_groups[0]["betas"][0] is beta
    assert float(beta) == pytest.approx(scheduler.momentum(0))


def test_warm_restarts_between_two_steps():
    mine, known = (m.CosineAnnealingWarmRestarts(sgd(), 3, T_mult=2) for m in (ours, theirs))
    for epoch in (0.5, 2.9, 3.5, 8.75, 10.0, 1.25):
        mine.step(epoch)
        known.step(epoch)
        assert rates(mine.optimizer) == pytest.approx(rates(known.optimizer), rel=1e-12)


def test_one_class_at_a_step_goes_on_for_the_one_before_it():
    optimizer = sgd()
    before = ours.ExponentialLR(optimizer, 0.5)
    walk(before, 2)
    after = ours.ExponentialLR(optimizer, 0.5, last_epoch=2)
    assert rates(optimizer) == [0.3 / 8, 0.7 / 8]
    assert repr(after) == "<ExponentialLR at step 3>"
    with pytest.raises(KeyError, match="initial_lr"):
        ours.ExponentialLR(sgd(), 0.5, last_epoch=2)


def test_a_milestone_at_0_begins_with_the_second():
    optimizer = sgd()
    ours.SequentialLR(optimizer, [ours.ConstantLR(optimizer, 0.1), ours.ExponentialLR(optimizer, 0.5)], [0])
    assert rates(optimizer) == [0.3, 0.7]
