"""A schedule that is replaced, made longer or cooled down while its run goes on."""

import io
import json

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import surefoot as sf
import torch
from surefoot import ArgumentError, ArgumentTypeError, LearningRate, StateError, SurefootError, SurefootWarning
from surefoot.cli import main
from surefoot.control import Plateau
from surefoot.run import read_decisions
from surefoot.schedules import constant, cosine_decay, from_dict, from_function, linear_decay, linear_warmup
from surefoot.torch import drive

from ..schedules.examples import EXAMPLES

TOTAL = 20
PLAN = linear_warmup("10%") >> cosine_decay()


def sgd(lr=0.5, groups=1, momentum=0.9):
    parameters = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": lr / (i + 1)} for i in range(groups)]
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum)


def start(plan=PLAN, total=TOTAL, **more):
    optimizer = sgd(groups=len(plan) if isinstance(plan, list) else 1)
    return optimizer, drive(optimizer, plan, total_steps=total, **more)


def train(optimizer, lr, steps, **reading):
    used = []
    for _ in range(steps):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        lr.step(**reading)
    return used


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# ---- replace ---------------------------------------------------------------------------------------------------------


def test_another_schedule_from_now_on_and_the_past_stays():
    optimizer, lr = start()
    used = train(optimizer, lr, 8)
    change = lr.replace(0.5 * linear_decay(), cause="the loss is nervous")
    assert optimizer.param_groups[0]["lr"] == 0.5 * 0.5 * 0.6
    used += train(optimizer, lr, 12)
    old, new = PLAN.resolve(TOTAL), linear_decay(TOTAL)
    assert used == [0.5 * old(t) for t in range(8)] + [0.5 * (0.5 * new(t)) for t in range(8, TOTAL)]
    assert lr.simulate() == used == [lr.at(t) for t in range(TOTAL)]
    assert (change.step, change.old, change.new) == (8, 0.5 * old(8), used[8])
    assert (change.cause, change.controller, change.action) == ("the loss is nervous", "schedule", "replace")
    assert lr.changes == [change]
    assert str(change) in lr.why()
    assert str(change) not in lr.why(7)


def test_before_the_first_update_nothing_of_the_old_one_is_left():
    optimizer, lr = start()
    lr.replace(linear_decay())
    assert lr.schedule == linear_decay(TOTAL)
    assert train(optimizer, lr, TOTAL) == [0.5 * linear_decay(TOTAL)(t) for t in range(TOTAL)]


def test_updates_that_no_step_has_counted_yet_are_of_the_old_one():
    optimizer, lr = start(constant())
    optimizer.step()
    optimizer.step()
    assert lr.replace(linear_decay()).step == 2
    assert (lr.step_count, lr.at(1), lr.at(2)) == (2, 0.5, 0.5 * 0.9)


def test_the_length_of_the_run_may_change():
    optimizer, lr = start(constant())
    train(optimizer, lr, 10)
    lr.replace(linear_decay(), total_steps=40)
    assert len(lr.simulate()) == 40
    assert lr.at(30) == 0.5 * 0.25
    lr.replace(linear_decay("50%"))
    assert lr.schedule(20) == 0.0
    assert len(lr.simulate()) == 40


def test_controllers_go_on():
    optimizer, lr = start(constant(), controllers=[Plateau(patience=1, factor=0.5)])
    train(optimizer, lr, 2, loss=1.0)
    lr.replace(linear_decay())
    assert optimizer.param_groups[0]["lr"] == 0.5 * (0.9 * 0.5)
    assert "schedule 0.9, Plateau 0.5" in lr.why()
    assert [change.controller for change in lr.changes] == ["Plateau", "schedule"]


def test_lists_of_schedules_replace_and_are_replaced():
    optimizer, lr = start([constant(), linear_decay()])
    train(optimizer, lr, 5)
    lr.replace([linear_decay(), constant()])
    assert lr.learning_rates == [0.5 * 0.75, 0.25]
    train(optimizer, lr, 5)
    lr.replace(0.1 * constant())
    assert lr.learning_rates == [0.5 * 0.1, 0.25 * 0.1]
    assert lr.simulate(group=1) == [lr.at(t, 1) for t in range(TOTAL)]
    assert [lr.at(t) for t in (4, 5, 10)] == [0.5, 0.5 * 0.75, 0.05]
    assert [lr.at(t, 1) for t in (4, 5, 10)] == [0.25 * 0.8, 0.25, 0.025]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"schedule": 0.1}, ArgumentTypeError, "`replace.*schedule must be a schedule"),
        ({"schedule": [constant(), constant()]}, ArgumentError, "of which there are 1"),
        ({"schedule": linear_warmup(50)}, ArgumentError, "longer than `total_steps=20`"),
        ({"schedule": constant(), "total_steps": 0}, ArgumentError, "total_steps must be"),
        ({"schedule": constant(), "momentum": constant()}, ArgumentError, "at step 0 it is 1"),
        ({"schedule": constant(), "momentum": "0.9"}, ArgumentTypeError, "momentum must be a schedule"),
    ],
)
def test_a_refused_replacement_changes_nothing(wrong, error, message):
    optimizer, lr = start(momentum=sf.one_cycle_momentum())
    train(optimizer, lr, 5)
    before, rate = lr.state_dict(), optimizer.param_groups[0]["lr"]
    with pytest.raises(error, match=message):
        lr.replace(**wrong)
    assert lr.state_dict() == before
    assert optimizer.param_groups[0]["lr"] == rate
    train(optimizer, lr, 1)
    assert optimizer.param_groups[0]["lr"] == 0.5 * PLAN.resolve(TOTAL)(6)


def test_who_was_released_changes_nothing():
    optimizer, lr = start()
    lr.release()
    for change in (lambda: lr.replace(constant()), lambda: lr.extend(40), lr.cooldown_from):
        with pytest.raises(SurefootError, match="released"):
            change()
    assert optimizer.param_groups[0]["lr"] == 0.0


# ---- extend and cooldown_from ----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(EXAMPLES), st.integers(0, 199), st.integers(0, 300))
def test_an_extension_never_jumps_and_leaves_the_past(plan, step, more):
    lr = LearningRate(0.5, plan, 200, steps_per_epoch=20)
    before = [lr.at(t) for t in range(step + 1)]
    change = lr.extend(200 + more, step)
    assert change.new == pytest.approx(change.old, rel=1e-9, abs=1e-12)
    assert [lr.at(t) for t in range(step + 1)] == pytest.approx(before, rel=1e-9, abs=1e-12)
    assert lr.total_steps == 200 + more
    assert len(lr.simulate()) == 200 + more


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(EXAMPLES), st.integers(0, 199), st.integers(1, 300))
def test_a_cooldown_never_jumps_leaves_the_past_and_ends_at_zero(plan, step, length):
    lr = LearningRate(0.5, plan, 200, steps_per_epoch=20)
    before = [lr.at(t) for t in range(step + 1)]
    change = lr.cooldown_from(None, length, step)
    assert change.new == change.old
    assert [lr.at(t) for t in range(step + 1)] == before
    assert lr.total_steps == step + length
    assert lr.at(step + length) == pytest.approx(0.0, abs=1e-12)
    curve = [lr.at(t) for t in range(step, step + length + 1)]
    assert curve == sorted(curve, reverse=True)


def test_extend_writes_no_other_rate_now_and_ends_later():
    optimizer, lr = start(linear_decay())
    train(optimizer, lr, 10)
    change = lr.extend(30, cause="more data")
    assert str(change) == "step 10: 0.25: extended from 20 to 30 steps: more data (schedule) [replace]"
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert train(optimizer, lr, 20) == pytest.approx([0.25 * (1 - t / 20) for t in range(20)])
    assert len(lr.simulate()) == 30
    assert optimizer.param_groups[0]["lr"] == 0.0


def test_extend_leaves_a_schedule_that_ends_before_the_run():
    optimizer, lr = start([linear_decay("50%", to=0.1), linear_decay()])
    train(optimizer, lr, 12)
    lr.extend(40)
    assert lr.schedules == (linear_decay(10, to=0.1), linear_decay(20).extend(40, step=12))


def test_extend_takes_the_momentum_along():
    momentum = sf.one_cycle_momentum(warmup_steps=10)
    optimizer, lr = start(sf.one_cycle(warmup_steps=10), momentum=momentum)
    train(optimizer, lr, 15)
    held = optimizer.param_groups[0]["momentum"]
    lr.extend(40)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(held, abs=1e-12)
    train(optimizer, lr, 25)
    assert optimizer.param_groups[0]["momentum"] == 0.95
    assert lr.schedule.length == 40


def test_extend_takes_the_momentum_along_in_a_run_whose_length_has_changed_before():
    momentum = sf.one_cycle_momentum(warmup_steps=10)
    optimizer, lr = start(momentum=momentum)
    train(optimizer, lr, 5)
    lr.replace(linear_decay(), total_steps=40)
    train(optimizer, lr, 20)
    lr.extend(60)  # the momentum ended at 20
    assert optimizer.param_groups[0]["momentum"] == 0.95
    optimizer, lr = start(momentum=momentum)
    train(optimizer, lr, 5)
    lr.cooldown_from(length=5)
    lr.extend(15)
    assert lr._momentum.plans.schedules == (sf.one_cycle_momentum(20, warmup_steps=10),)
    train(optimizer, lr, 5)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.85)


def test_cooldown_from_now_ends_the_run_early():
    optimizer, lr = start(constant())
    train(optimizer, lr, 10)
    change = lr.cooldown_from(length=4, shape="linear")
    assert str(change) == "step 10: 0.5: cooldown from step 10 to 14 (schedule) [replace]"
    assert train(optimizer, lr, 6) == [0.5, 0.375, 0.25, 0.125, 0.0, 0.0]
    assert len(lr.simulate()) == 14


@pytest.mark.parametrize(
    ("given", "start_end"),
    [
        ((15, 5), (15, 20)),
        (("80%",), (16, 20)),
        ((None, "50%"), (10, 20)),
        ((None, None), (10, 20)),
        (("4 epochs", "2 epochs"), (16, 24)),  # later than was planned
    ],
)
def test_cooldowns_in_all_lengths(given, start_end):
    optimizer, lr = start(constant(), steps_per_epoch=4)
    train(optimizer, lr, 10)
    lr.cooldown_from(*given, shape="linear", to=0.1)
    first, end = start_end
    want = [0.5 * (1 - 0.9 * max(t - first, 0) / (end - first)) for t in range(end)]
    assert lr.simulate() == pytest.approx(want)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda lr: lr.extend(10), ArgumentError, "To end it earlier, use `cooldown_from`"),
        (lambda lr: lr.extend(40.0), ArgumentTypeError, "to must be a whole number"),
        (lambda lr: lr.extend("2h"), ArgumentTypeError, "to must be a whole number"),
        (lambda lr: lr.cooldown_from(3), ArgumentError, "what was before cannot be changed"),
        (lambda lr: lr.cooldown_from(0.5), ArgumentError, 'write "50%"'),
        (lambda lr: lr.cooldown_from(20), ArgumentError, "length must be given: after step 20 no step of 20 is left"),
        (lambda lr: lr.cooldown_from("3 epochs"), ArgumentError, "steps_per_epoch"),
        (lambda lr: lr.cooldown_from(length=0), ArgumentError, "length must be"),
        (lambda lr: lr.cooldown_from(to=0.9), ArgumentError, "to must be at most"),
        (lambda lr: lr.cooldown_from(shape="round"), ArgumentError, "shape must be one of"),
    ],
)
def test_what_is_not_allowed_changes_nothing(call, error, message):
    optimizer, lr = start()
    train(optimizer, lr, 8)
    before = lr.state_dict()
    with pytest.raises(error, match=message):
        call(lr)
    assert lr.state_dict() == before
    assert optimizer.param_groups[0]["lr"] == lr.at(8)


def test_a_run_at_its_end_is_not_extended_but_may_get_another_schedule():
    optimizer, lr = start()
    train(optimizer, lr, TOTAL)
    with pytest.raises(ArgumentError, match=r"the run is at its end, step 20 of 20.*replace"):
        lr.extend(40)
    lr.replace(0.1 * linear_decay(), total_steps=40, cause="fine-tune")
    assert optimizer.param_groups[0]["lr"] == 0.5 * (0.1 * 0.5)


def test_without_a_known_length_there_is_nothing_to_extend():
    lr = LearningRate(0.5, constant(10))
    for change in (lambda: lr.extend(20, 5), lambda: lr.cooldown_from(None, None, 5)):
        with pytest.raises(ArgumentError, match="total_steps must be known"):
            change()


# ---- save and resume -------------------------------------------------------------------------------------------------

CHANGES = {
    "replace": lambda lr: lr.replace(0.5 * linear_decay()),
    "replace by a longer": lambda lr: lr.replace(0.5 * linear_decay(), total_steps=30),
    "extend": lambda lr: lr.extend(30),
    "cooldown": lambda lr: lr.cooldown_from(length=15, shape="linear"),
    "twice": lambda lr: (lr.extend(30), lr.replace(cosine_decay())),
}


@pytest.mark.parametrize("plan", [PLAN, [PLAN, linear_decay()]], ids=["one", "a list"])
@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("killed_at", [8, 9, 19, 25])
def test_a_resumed_run_knows_what_it_was_given_without_being_told_again(killed_at, name, plan):
    def go(optimizer, lr, first, last):
        for step in range(first, last):
            if step == 8 and lr.step_count == 8 and not lr.changes:
                CHANGES[name](lr)
            yield [group["lr"] for group in optimizer.param_groups]
            optimizer.step()
            lr.step()

    whole = start(plan)
    want = list(go(*whole, 0, 30))
    first = start(plan)
    done = list(go(*first, 0, killed_at))
    if killed_at == 8:
        CHANGES[name](first[1])
    state = through_a_file(first[1].state_dict())
    second = start(plan)
    second[1].load_state_dict(state)
    assert done + list(go(*second, killed_at, 30)) == want
    assert second[1].simulate() == whole[1].simulate()
    assert second[1].changes == whole[1].changes
    again = start(plan)  # and a second time
    again[1].load_state_dict(through_a_file(second[1].state_dict()))
    assert again[1].schedules == whole[1].schedules


def test_a_resumed_run_that_was_told_again_goes_on_alike():
    optimizer, lr = start(linear_decay())
    train(optimizer, lr, 5)
    lr.extend(40)
    told = start(linear_decay(20).extend(40, step=5), total=40)
    told[1].load_state_dict(lr.state_dict())
    assert told[1].simulate() == lr.simulate()


def test_the_momentum_is_resumed_too():
    plan, momentum = sf.one_cycle(warmup_steps=10), sf.one_cycle_momentum(warmup_steps=10)
    optimizer, lr = start(plan, momentum=momentum)
    train(optimizer, lr, 15)
    lr.extend(40)
    train(optimizer, lr, 3)
    other, resumed = start(plan, momentum=momentum)
    resumed.load_state_dict(through_a_file(lr.state_dict()))
    for _ in range(30):
        assert other.param_groups[0]["momentum"] == optimizer.param_groups[0]["momentum"]
        train(optimizer, lr, 1)
        train(other, resumed, 1)


def test_a_run_that_began_otherwise_keeps_its_own_and_says_so():
    optimizer, lr = start()
    train(optimizer, lr, 5)
    lr.extend(40)
    _, other = start(linear_decay())
    with pytest.warns(SurefootWarning, match="was saved with the schedule") as caught:
        other.load_state_dict(lr.state_dict())
    assert caught[0].filename == __file__
    assert other.schedule == linear_decay(TOTAL)


def test_going_back_to_a_state_before_the_replacement_takes_it_back():
    optimizer, lr = start()
    train(optimizer, lr, 5)
    before = lr.state_dict()
    lr.extend(40)
    lr.load_state_dict(before)
    assert lr.schedule == PLAN.resolve(TOTAL)
    assert len(lr.simulate()) == TOTAL
    assert lr.changes == []


def test_a_function_cannot_be_read_from_a_file_and_must_be_given():
    optimizer, lr = start()
    train(optimizer, lr, 5)
    function = from_function(lambda step: 1 / (1 + step))
    lr.replace(function)
    state = through_a_file(lr.state_dict())
    assert state["replaced"]["schedules"] is None
    _, fresh = start()
    before = fresh.state_dict()
    with pytest.raises(StateError, match="give that schedule when you make this object"):
        fresh.load_state_dict(state)
    assert fresh.state_dict() == before
    _, given = start(PLAN.resolve(TOTAL).until(5, function))
    given.load_state_dict(state)
    assert given.simulate() == lr.simulate()


def test_the_state_of_a_run_that_replaced_nothing_is_as_before():
    _, lr = start()
    assert sorted(lr.state_dict()) == ["base_lrs", "changes", "controllers", "schedule", "step_count", "version"]


@pytest.mark.parametrize(
    "damage",
    [
        {"schedules": [{"version": 1, "kind": "nothing"}]},
        {"schedules": 3},
        {"schedules": []},
        {"total_steps": "40"},
        {"total_steps": 0},
    ],
    ids=repr,
)
def test_a_damaged_replacement_is_refused_and_changes_nothing(damage):
    optimizer, lr = start()
    train(optimizer, lr, 5)
    lr.extend(40)
    state = lr.state_dict()
    state["replaced"] |= damage
    _, fresh = start()
    before = fresh.state_dict()
    with pytest.raises(StateError):
        fresh.load_state_dict(state)
    assert fresh.state_dict() == before


# ---- the log ---------------------------------------------------------------------------------------------------------


def test_the_log_tells_of_it_and_show_prints_it(tmp_path):
    controllers = [Plateau(patience=2, factor=0.5)]
    optimizer, lr = start(constant(), run_dir=tmp_path, controllers=controllers)
    train(optimizer, lr, 4, loss=1.0)
    lr.replace(linear_decay(), cause="the loss is nervous")
    train(optimizer, lr, 3)
    lr.extend(30)
    story = read_decisions(tmp_path)
    assert [change["action"] for change in story.changes] == ["continue", "replace", "replace"]
    assert json.loads(json.dumps(story.changes)) == story.changes
    assert from_dict(story.schedule) == lr.schedule
    assert (story.total_steps, story.plan) == (30, repr(lr.schedule))
    rates = [story.base_lrs[0] * from_dict(story.schedule)(t) * story.factor(t) for t in range(30)]
    assert rates[4:] == pytest.approx(lr.simulate()[4:])
    assert rates[:3] == [0.5] * 3
    said = CliRunner().invoke(main, ["show", str(tmp_path)]).output
    assert "step 4: 0.25 -> 0.2: the loss is nervous (schedule) [replace]" in said
    assert "extended from 20 to 30 steps (schedule) [replace]" in " ".join(said.split())
    assert "30 steps" in said

    lr.release()
    second = sgd()
    resumed = drive(
        second, constant(), total_steps=TOTAL, run_dir=tmp_path, controllers=[Plateau(patience=2, factor=0.5)]
    )
    resumed.load_state_dict(lr.state_dict())
    story = read_decisions(tmp_path)
    assert (len(story.changes), story.total_steps) == (3, 30)
    assert from_dict(story.schedule) == lr.schedule


def test_the_curve_of_show_is_that_of_the_run(tmp_path):
    from surefoot.cli._story import _rates

    optimizer, lr = start(constant(), run_dir=tmp_path, controllers=[Plateau(patience=1, factor=0.5)])
    used = train(optimizer, lr, 2, loss=1.0)
    used += train(optimizer, lr, 3)
    lr.cooldown_from(length=5)
    used += train(optimizer, lr, 5)
    assert _rates(read_decisions(tmp_path)) == pytest.approx(used)
