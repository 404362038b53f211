import copy
import gc
import io
import json
import warnings

import pytest

import torch
from surefoot import ArgumentError, ArgumentTypeError, StateError, SurefootError, SurefootWarning
from surefoot.schedules import constant, cosine_decay, linear_decay, linear_warmup
from surefoot.torch._drive import drive

SCHEDULE = linear_warmup("10%") >> cosine_decay(to=0.1)
TOTAL = 20


def weight():
    return torch.nn.Parameter(torch.ones(2))


def sgd(lr=0.3, momentum=0.9):
    return torch.optim.SGD([{"params": [weight()], "lr": lr}, {"params": [weight()], "lr": lr / 2}], momentum=momentum)


def train(optimizer, rate, steps):
    """Make updates; return the rates that each was made with."""
    used = []
    for _ in range(steps):
        loss = sum((p**2).sum() for group in optimizer.param_groups for p in group["params"])
        optimizer.zero_grad()
        loss.backward()
        used.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        rate.step()
    return used


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_writes_base_times_factor_at_every_step():
    optimizer = sgd()
    rate = drive(optimizer, SCHEDULE, total_steps=TOTAL)
    known = SCHEDULE.resolve(TOTAL)
    assert train(optimizer, rate, TOTAL + 5) == [[0.3 * known(t), 0.3 / 2 * known(t)] for t in range(TOTAL + 5)]


def test_writes_the_rate_of_step_0_at_once():
    optimizer = sgd()
    rate = drive(optimizer, linear_warmup(10, start=0.5), total_steps=TOTAL)
    assert [group["lr"] for group in optimizer.param_groups] == [0.15, 0.075]
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.3, 0.3 / 2]
    assert rate.step_count == 0
    assert rate.learning_rate == 0.15
    assert rate.learning_rates == rate.get_last_lr() == [0.15, 0.075]


def test_answers_for_any_step_without_going_there():
    optimizer = sgd()
    rate = drive(optimizer, linear_decay(), total_steps=TOTAL)
    assert rate.at(10) == 0.15
    assert rate.at(10, group=1) == 0.075
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert "0.3 at step 0 of linear_decay(20)" in repr(rate)


def test_lengths_in_epochs():
    assert drive(sgd(), linear_decay("2 epochs"), total_steps=TOTAL, steps_per_epoch=5).schedule == linear_decay(10)


def test_does_not_touch_the_optimizers_step():
    optimizer = sgd()
    drive(optimizer, SCHEDULE, total_steps=TOTAL)
    assert "step" not in vars(optimizer)


def test_a_float_stays_a_float_and_a_tensor_is_filled_in_place():
    lr = torch.tensor(0.5, dtype=torch.float64)
    optimizer = torch.optim.Adam([{"params": [weight()], "lr": lr}, {"params": [weight()], "lr": 0.25}])
    lr = optimizer.param_groups[0]["lr"]
    rate = drive(optimizer, linear_decay(), total_steps=4)
    rate.step()
    assert optimizer.param_groups[0]["lr"] is lr
    assert lr.item() == 0.375
    assert optimizer.param_groups[1]["lr"] == 0.1875
    assert type(optimizer.param_groups[1]["lr"]) is float
    assert type(rate.learning_rate) is float


# https://github.com/pytorch/pytorch/issues/79888
def test_groups_added_later_have_their_own_base():
    optimizer = sgd()
    rate = drive(optimizer, linear_decay(), total_steps=4)
    rate.step()
    optimizer.add_param_group({"params": [weight()], "lr": 0.8})
    rate.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.15, 0.075, 0.4]
    assert rate.learning_rates == [0.15, 0.075, 0.4]
    assert optimizer.param_groups[2]["initial_lr"] == 0.8


def test_a_group_added_later_that_shares_the_tensor_of_the_defaults_shares_its_base():
    optimizer = torch.optim.Adam([weight()], lr=torch.tensor(0.5))
    rate = drive(optimizer, linear_decay(), total_steps=4)
    rate.step()
    optimizer.add_param_group({"params": [weight()]})
    rate.step()
    assert rate.learning_rates == [0.25, 0.25]


def test_the_state_knows_groups_that_no_step_has_met_yet():
    optimizer = sgd()
    rate = drive(optimizer, linear_decay(), total_steps=4)
    optimizer.add_param_group({"params": [weight()], "lr": 0.8})
    assert rate.state_dict()["base_lrs"] == [0.3, 0.3 / 2, 0.8]


def test_the_state_is_plain_data():
    rate = drive(sgd(), SCHEDULE, total_steps=TOTAL)
    state = rate.state_dict()
    assert json.loads(json.dumps(state)) == state == through_a_file(state)
    assert state["version"] == 1


@pytest.mark.parametrize("order", ["ours first", "ours last", "drive last"])
@pytest.mark.parametrize("killed_at", range(TOTAL + 2))
def test_save_kill_resume_gives_the_same_rates_bit_for_bit(killed_at, order):
    torch.manual_seed(0)
    whole = sgd()
    expected = train(whole, drive(whole, SCHEDULE, total_steps=TOTAL), TOTAL + 3)

    first = sgd()
    rate = drive(first, SCHEDULE, total_steps=TOTAL)
    done = train(first, rate, killed_at)
    weights = [copy.deepcopy(p.data) for group in first.param_groups for p in group["params"]]
    saved, ours = through_a_file(first.state_dict()), through_a_file(rate.state_dict())

    second = sgd(lr=0.7)  # what the script says now; the checkpoint wins
    for parameter, value in zip((p for group in second.param_groups for p in group["params"]), weights, strict=True):
        parameter.data = value
    if order == "drive last":
        second.load_state_dict(saved)
        rate = drive(second, SCHEDULE, total_steps=TOTAL)
        rate.load_state_dict(ours)
    else:
        rate = drive(second, SCHEDULE, total_steps=TOTAL)
        if order == "ours first":
            rate.load_state_dict(ours)
        second.load_state_dict(saved)
        if order == "ours last":
            rate.load_state_dict(ours)
    assert rate.step_count == killed_at
    assert done + train(second, rate, TOTAL + 3 - killed_at) == expected
    for a, b in zip(whole.param_groups, second.param_groups, strict=True):
        assert torch.equal(a["params"][0], b["params"][0])


# https://github.com/pytorch/pytorch/issues/119168
def test_driving_after_the_optimizer_was_loaded_does_not_take_a_decayed_rate_for_the_base():
    first = sgd()
    train(first, drive(first, linear_decay(), total_steps=4), 3)
    second = sgd()
    second.load_state_dict(first.state_dict())
    assert drive(second, linear_decay(), total_steps=4).learning_rates == [0.3, 0.3 / 2]


def test_resuming_with_a_tensor_rate():
    def adam():
        return torch.optim.Adam([weight()], lr=torch.tensor(0.5))

    first = adam()
    rate = drive(first, linear_decay(), total_steps=4)
    train(first, rate, 2)
    second = adam()
    resumed = drive(second, linear_decay(), total_steps=4)
    resumed.load_state_dict(through_a_file(rate.state_dict()))
    second.load_state_dict(through_a_file(first.state_dict()))
    assert train(second, resumed, 2) == [[0.25], [0.125]]


def test_going_on_with_another_schedule_is_said():
    state = drive(sgd(), linear_decay(), total_steps=4).state_dict()
    rate = drive(sgd(), linear_decay(), total_steps=8)
    with pytest.warns(SurefootWarning, match=r"saved with the schedule `linear_decay\(4\)` and goes on with") as caught:
        rate.load_state_dict({**state, "step_count": 2})
    assert caught[0].filename == __file__
    assert rate.learning_rate == 0.3 * 0.75


def test_two_drives_on_one_optimizer_are_refused():
    optimizer = sgd()
    first = drive(optimizer, SCHEDULE, total_steps=TOTAL)
    with pytest.raises(ArgumentError, match=r"driven already.*at step 0.*release\(\)"):
        drive(optimizer, SCHEDULE, total_steps=TOTAL)
    first.release()
    second = drive(optimizer, constant(), total_steps=TOTAL)
    with pytest.raises(SurefootError, match="released"):
        first.step()
    first.release()  # again: does nothing, least of all to the second
    second.step()


def test_an_optimizer_is_free_once_its_owner_is_gone():
    optimizer = sgd()
    rate = drive(optimizer, linear_decay(), total_steps=4)
    rate.step()
    del rate
    gc.collect()
    assert drive(optimizer, linear_decay(), total_steps=4).learning_rate == 0.3


def test_ownership_keeps_no_optimizer_alive():
    import weakref

    optimizer = sgd()
    gone = weakref.ref(optimizer)
    rate = drive(optimizer, linear_decay(), total_steps=4)
    del optimizer, rate
    gc.collect()
    assert gone() is None


def test_a_refused_drive_leaves_the_optimizer_as_it_was():
    optimizer = sgd()
    with pytest.raises(ArgumentError, match="longer than `total_steps=4`"):
        drive(optimizer, linear_warmup(5), total_steps=4)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.3 / 2]
    assert "initial_lr" not in optimizer.param_groups[0]
    drive(optimizer, linear_warmup(4), total_steps=4)


@pytest.mark.parametrize("total_steps", [0, -1, 2.5, True, None])
def test_bad_horizons_are_refused(total_steps):
    with pytest.raises((ArgumentError, ArgumentTypeError), match="total_steps must be"):
        drive(sgd(), SCHEDULE, total_steps=total_steps)


@pytest.mark.parametrize("schedule", [None, 0.1, lambda step: 1.0])
def test_bad_schedules_are_refused(schedule):
    with pytest.raises(ArgumentTypeError, match="schedule must be"):
        drive(sgd(), schedule, total_steps=4)


def test_other_things_than_optimizers_are_refused():
    with pytest.raises(ArgumentTypeError, match="must be a torch optimizer"):
        drive(torch.nn.Linear(1, 1), SCHEDULE, total_steps=4)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "not a state of TorchLearningRate"),
        ([], "not a state of TorchLearningRate"),
        ({"version": 2}, "not a state of TorchLearningRate"),
        ({"version": 1}, "damaged"),
        ({"version": 1, "step_count": -1, "base_lrs": [0.1, 0.1]}, "step_count must be"),
        ({"version": 1, "step_count": 1, "base_lrs": [float("nan"), 0.1]}, "base_lrs must be"),
        ({"version": 1, "step_count": 1, "base_lrs": 0.1}, "damaged"),
        ({"version": 1, "step_count": 1, "base_lrs": [0.1]}, "has 1 parameter groups, the optimizer has 2"),
    ],
)
def test_bad_states_are_refused_and_change_nothing(state, message):
    rate = drive(sgd(), linear_decay(), total_steps=4)
    with pytest.raises(StateError, match=message):
        rate.load_state_dict(state)
    assert (rate.step_count, rate.learning_rates) == (0, [0.3, 0.3 / 2])


def test_a_compiled_step_with_a_tensor_rate_is_compiled_once():
    graphs = []

    def backend(graph, inputs):
        del inputs
        graphs.append(graph)
        return graph

    optimizer = torch.optim.SGD([weight()], lr=torch.tensor(0.5))
    rate = drive(optimizer, linear_decay(), total_steps=6)
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations
        step = torch.compile(optimizer.step, backend=backend)
        for _ in range(5):
            step()
            rate.step()
    assert len(graphs) == 1
