"""A schedule for each parameter group."""

import copy
import io
import json

import pytest

import torch
from surefoot import ArgumentError, ArgumentTypeError, LearningRate, SurefootWarning
from surefoot.control import Plateau
from surefoot.schedules import constant, cosine_decay, linear_decay, linear_warmup
from surefoot.torch import drive

TOTAL = 20
PLANS = [linear_warmup("50%") >> constant(), cosine_decay(to=0.1)]


def weight():
    return torch.nn.Parameter(torch.ones(2))


def sgd(lrs=(0.3, 0.1)):
    return torch.optim.SGD([{"params": [weight()], "lr": lr} for lr in lrs])


def rates(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


def train(optimizer, lr, steps):
    used = []
    for _ in range(steps):
        used.append(rates(optimizer))
        optimizer.step()
        lr.step()
    return used


def expected(plans, bases, steps=TOTAL):
    known = [plan.resolve(TOTAL) for plan in plans]
    return [[base * plan(step) for base, plan in zip(bases, known, strict=True)] for step in range(steps)]


@pytest.mark.parametrize("make", [list, tuple])
def test_every_group_follows_its_own_schedule(make):
    optimizer = sgd()
    lr = drive(optimizer, make(PLANS), total_steps=TOTAL)
    assert train(optimizer, lr, TOTAL + 3) == expected(PLANS, [0.3, 0.1], TOTAL + 3)
    assert lr.schedules == tuple(plan.resolve(TOTAL) for plan in PLANS)
    assert lr.schedule == lr.schedules[0]


def test_tensor_rates_follow_their_own_too():
    parameters = [{"params": [weight()], "lr": torch.tensor(lr, dtype=torch.float64)} for lr in (0.3, 0.1)]
    optimizer = torch.optim.Adam(parameters)
    held = [group["lr"] for group in optimizer.param_groups]
    lr = drive(optimizer, PLANS, total_steps=TOTAL)
    assert train(optimizer, lr, TOTAL) == expected(PLANS, [0.3, 0.1])
    assert all(group["lr"] is tensor for group, tensor in zip(optimizer.param_groups, held, strict=True))


def test_all_answers_are_those_of_the_group():
    optimizer = sgd()
    lr = drive(optimizer, PLANS, total_steps=TOTAL)
    want = expected(PLANS, [0.3, 0.1])
    for group in (0, 1):
        assert lr.simulate(group=group) == [row[group] for row in want]
        assert [lr.at(step, group) for step in range(TOTAL)] == [row[group] for row in want]
    train(optimizer, lr, 7)
    assert lr.learning_rates == lr.get_last_lr() == rates(optimizer) == want[7]
    assert lr.why(group=1) == f"{want[7][1]:g} at step 7: base 0.1, schedule {want[7][1] / 0.1:g}"
    assert "[linear_warmup(10) >> constant(10), cosine_decay(20, to=0.1)]" in repr(lr)


def test_controllers_multiply_all_groups():
    optimizer = sgd()
    lr = drive(optimizer, PLANS, total_steps=TOTAL, controllers=[Plateau(patience=1, factor=0.5)])
    for _ in range(2):
        optimizer.step()
        lr.step(loss=1.0)
    assert lr.learning_rates == rates(optimizer) == [row * 0.5 for row in expected(PLANS, [0.3, 0.1])[2]]


@pytest.mark.parametrize("killed_at", [0, 1, 9, 20])
def test_save_kill_resume_gives_the_same_rates(killed_at):
    whole = sgd()
    want = train(whole, drive(whole, PLANS, total_steps=TOTAL), TOTAL)
    first = sgd()
    lr = drive(first, PLANS, total_steps=TOTAL)
    done = train(first, lr, killed_at)
    file = io.BytesIO()
    torch.save({"optimizer": first.state_dict(), "lr": lr.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = sgd((0.7, 0.7))
    resumed = drive(second, PLANS, total_steps=TOTAL)
    resumed.load_state_dict(saved["lr"])
    second.load_state_dict(saved["optimizer"])
    assert done + train(second, resumed, TOTAL - killed_at) == want


def test_the_state_is_plain_data_and_another_list_is_said():
    state = drive(sgd(), PLANS, total_steps=TOTAL).state_dict()
    assert json.loads(json.dumps(state)) == state
    lr = drive(sgd(), PLANS[::-1], total_steps=TOTAL)
    with pytest.warns(SurefootWarning, match=r"saved with the schedule `\[linear_warmup"):
        lr.load_state_dict(state)
    assert lr.schedules[0] == PLANS[1].resolve(TOTAL)


def test_a_list_of_equal_schedules_is_one_schedule():
    one, many = sgd(), sgd()
    a = drive(one, cosine_decay(), total_steps=TOTAL)
    b = drive(many, [cosine_decay(), cosine_decay()], total_steps=TOTAL)
    assert a.state_dict() == b.state_dict()
    many.add_param_group({"params": [weight()], "lr": 0.8})
    train(many, b, 4)
    assert rates(many)[2] == b.at(4, 2) == 0.8 * cosine_decay(TOTAL)(4)


def test_a_group_added_where_schedules_differ_must_be_told_its_own():
    optimizer = sgd()
    lr = drive(optimizer, PLANS, total_steps=TOTAL)
    train(optimizer, lr, 5)
    optimizer.add_param_group({"params": [weight()], "lr": 0.8})
    for ask in (lr.step, lr.state_dict, lambda: lr.extend(40), lr.cooldown_from):
        with pytest.raises(ArgumentError, match=r"group 2 was added.*lr\.replace"):
            ask()
    assert rates(optimizer)[2] == 0.8
    plans = [*PLANS, linear_decay()]
    lr.replace(plans, cause="the last layers join in")
    assert train(optimizer, lr, TOTAL - 5) == expected(plans, [0.3, 0.1, 0.8])[5:]
    assert lr.simulate(group=2) == [0.8 * linear_decay(TOTAL)(step) for step in range(TOTAL)]


def test_a_state_of_another_schedule_with_more_groups_leaves_nothing_unsaid():
    other = sgd((0.3, 0.1, 0.2))
    state = drive(other, cosine_decay(), total_steps=TOTAL).state_dict()
    optimizer = sgd()
    lr = drive(optimizer, PLANS, total_steps=TOTAL)
    optimizer.add_param_group({"params": [weight()], "lr": 0.2})
    with pytest.raises(ArgumentError, match="group 2 was added"):
        lr.load_state_dict(state)
    assert lr.learning_rates == [0.0, 0.1]


def test_a_group_that_is_taken_away_leaves_the_others_their_schedules():
    optimizer = sgd((0.3, 0.1, 0.2))
    lr = drive(optimizer, [*PLANS, linear_decay()], total_steps=TOTAL)
    del optimizer.param_groups[2]
    assert train(optimizer, lr, TOTAL)[1:] == expected(PLANS, [0.3, 0.1])[1:]


@pytest.mark.parametrize("wrong", [[], [constant()], [constant()] * 3])
def test_as_many_schedules_as_groups(wrong):
    optimizer = sgd()
    with pytest.raises(ArgumentError, match=r"`drive.*one for each parameter group, of which there are 2"):
        drive(optimizer, wrong, total_steps=TOTAL)
    assert rates(optimizer) == [0.3, 0.1]


@pytest.mark.parametrize("wrong", [[constant(), 0.1], {"a": constant()}, iter([constant()] * 2), "constant"])
def test_what_is_no_list_of_schedules_is_refused(wrong):
    with pytest.raises(ArgumentTypeError, match="schedule must be a schedule"):
        drive(sgd(), wrong, total_steps=TOTAL)


def test_one_schedule_that_does_not_fit_leaves_the_optimizer_as_it_was():
    optimizer = sgd()
    with pytest.raises(ArgumentError, match="longer than"):
        drive(optimizer, [linear_warmup(5), linear_warmup(50)], total_steps=TOTAL)
    assert rates(optimizer) == [0.3, 0.1]
    assert "initial_lr" not in optimizer.param_groups[0]


# ---- the owner without a framework -----------------------------------------------------------------------------------


def test_learning_rate_carries_the_list():
    lr = LearningRate([0.5, 0.25], [linear_decay(), constant()], total_steps=10)
    assert lr.current(5) == [lr.at(5), lr.at(5, group=1)] == [0.25, 0.25]
    assert lr.simulate(group=1) == [0.25] * 10
    assert repr(lr) == "LearningRate([0.5, 0.25], [linear_decay(10), constant(10)])"
    assert lr.plan == lr.state_dict()["schedule"] == "[linear_decay(10), constant(10)]"
    assert lr.schedules == (linear_decay(10), constant(10))


def test_learning_rate_refuses_a_list_of_another_length_and_open_lengths():
    with pytest.raises(ArgumentError, match="of which there are 2"):
        LearningRate([0.5, 0.25], [constant()] * 3)
    with pytest.raises(ArgumentError, match="resolve"):
        LearningRate([0.5, 0.25], [constant(5), cosine_decay()])


def test_a_damaged_count_of_schedules_changes_nothing():
    lr = LearningRate([0.5, 0.25], [linear_decay(10), constant(10)], 10)
    lr.extend(20, step=5)
    state = copy.deepcopy(lr.state_dict())
    state["replaced"]["schedules"] *= 2
    fresh = LearningRate([0.5, 0.25], [linear_decay(10), constant(10)], 10)
    before = fresh.state_dict()
    with pytest.raises(ValueError, match="4 schedules, 2 groups"):
        fresh.load_state_dict(state)
    assert fresh.state_dict() == before
