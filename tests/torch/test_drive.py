import copy
import gc
import io
import json
import math
import warnings

import pytest

import torch
from surefoot import ArgumentError, ArgumentTypeError, RunDirectoryError, StateError, SurefootError, SurefootWarning
from surefoot.control import DivergenceGuard, Manual, Plateau
from surefoot.run import read_decisions
from surefoot.schedules import constant, cosine_decay, from_dict, linear_decay, linear_warmup
from surefoot.torch import Scheduler, drive

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
    optimizer.step()
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
    optimizer.step()
    rate.step()
    optimizer.add_param_group({"params": [weight()], "lr": 0.8})
    optimizer.step()
    rate.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.15, 0.075, 0.4]
    assert rate.learning_rates == [0.15, 0.075, 0.4]
    assert optimizer.param_groups[2]["initial_lr"] == 0.8


def test_a_group_added_later_that_shares_the_tensor_of_the_defaults_shares_its_base():
    optimizer = torch.optim.Adam([weight()], lr=torch.tensor(0.5))
    rate = drive(optimizer, linear_decay(), total_steps=4)
    optimizer.step()
    rate.step()
    optimizer.add_param_group({"params": [weight()]})
    optimizer.step()
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


# ---- which updates count ---------------------------------------------------------------------------------------------


def give_gradients(optimizer):
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.ones_like(p)


def test_accumulated_batches_are_no_steps():
    optimizer = sgd()
    rate = drive(optimizer, linear_decay(), total_steps=TOTAL)
    for batch in range(12):
        if batch % 4 == 3:
            optimizer.step()
        rate.step()
        assert rate.step_count == (batch + 1) // 4
    assert optimizer.param_groups[0]["lr"] == rate.at(3)


@pytest.mark.parametrize("is_first", [True, False])
def test_step_may_come_before_or_after_the_optimizers(is_first):
    optimizer = sgd()
    rate = drive(optimizer, linear_decay(), total_steps=TOTAL)
    used = []
    for _ in range(5):
        if is_first:
            rate.step()
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if not is_first:
            rate.step()
    assert used == [rate.at(t) for t in range(5)]


def test_updates_without_a_call_in_between_are_all_counted():
    optimizer = sgd()
    rate = drive(optimizer, linear_decay(), total_steps=TOTAL)
    for _ in range(3):
        optimizer.step()
    assert rate.state_dict()["step_count"] == 3
    rate.step()
    assert rate.step_count == 3


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.parametrize("is_fused", [False, True])
def test_steps_that_amp_skips_are_none(is_fused):
    """Issues 44511, 55585, 67590 of PyTorch: a scheduler cannot know."""
    p = weight()
    optimizer = torch.optim.SGD([p], lr=0.5, fused=is_fused)
    rate = drive(optimizer, linear_decay(), total_steps=TOTAL)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    for loss in (1.0, math.inf, 1.0, math.nan, 1.0):
        optimizer.zero_grad()
        scaler.scale((p * loss).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        rate.step()
    assert rate.step_count == 3
    assert optimizer.param_groups[0]["lr"] == rate.at(3)


def test_an_optimizer_that_is_never_stepped_is_said():
    rate = drive(sgd(), linear_decay(), total_steps=TOTAL)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(300):
            rate.step()
    assert [w.filename for w in caught] == [__file__]
    assert "stays that of step 0. Is another optimizer stepped" in str(caught[0].message)


def test_a_copy_of_the_optimizer_does_not_count():
    optimizer = sgd()
    rate = drive(optimizer, linear_decay(), total_steps=TOTAL)
    copy.deepcopy(optimizer).step()
    rate.step()
    assert rate.step_count == 0


def test_a_wrapped_optimizer_counts_what_the_inner_one_does():
    class Wrapper(torch.optim.Optimizer):  # as accelerate's
        def __init__(self, optimizer):
            self.optimizer = optimizer

        param_groups = property(lambda self: self.optimizer.param_groups)

        def step(self):
            self.optimizer.step()

    optimizer = Wrapper(sgd())
    rate = drive(optimizer, linear_decay(), total_steps=TOTAL)
    optimizer.step()
    rate.step()
    assert rate.step_count == 1


# ---- controllers -----------------------------------------------------------------------------------------------------


def test_controllers_multiply_the_schedule_and_see_tensors():
    """Issues 68978, 82859 of PyTorch: warm-up and plateau cannot be joined, or overwrite each other."""
    optimizer = sgd()
    plateau = Plateau(patience=2, factor=0.5)
    rate = drive(optimizer, linear_warmup(4) >> constant(), total_steps=TOTAL, controllers=[plateau])
    for _ in range(6):
        optimizer.step()
        rate.step(loss=torch.tensor(1.0, requires_grad=True))
    assert plateau.reductions == 2
    assert [group["lr"] for group in optimizer.param_groups] == [0.3 * 0.25, 0.15 * 0.25]
    assert [change.metrics for change in rate.changes] == [{"loss": 1.0}] * 2
    assert "Plateau 0.25" in rate.why()


def test_only_what_a_controller_looks_at_is_asked_for():
    class Never:
        def __float__(self):
            raise AssertionError

    optimizer = sgd()
    rate = drive(optimizer, constant(), total_steps=TOTAL, controllers=[Plateau("val_loss"), DivergenceGuard()])
    rate.observe(loss=1.0, gradient_norm=Never())
    drive(sgd(), constant(), total_steps=TOTAL).step(loss=Never())


def test_a_reading_before_the_step_can_skip_it():
    p = weight()
    optimizer = torch.optim.Adam([p], lr=0.5)
    rate = drive(optimizer, constant(), total_steps=TOTAL, controllers=[DivergenceGuard(action="skip")])
    for loss in (1.0, math.nan, 1.0):
        before = p.detach().clone()
        give_gradients(optimizer)
        rate.observe(loss=loss)
        optimizer.step()
        rate.step()
        assert torch.equal(p, before) == math.isnan(loss)
    assert rate.step_count == 2
    assert optimizer.state[p]["step"] == 2


def test_a_controller_that_asks_to_stop_is_heard(caplog):
    rate = drive(sgd(), constant(), total_steps=TOTAL, controllers=[DivergenceGuard(action="stop")])
    assert not rate.should_stop
    rate.step(loss=math.nan)
    assert rate.should_stop
    assert "stop at step 0: loss is nan" in caplog.text


def test_controllers_survive_a_resume_with_the_rest():
    def start():
        optimizer = sgd()
        controllers = [Plateau(patience=2, factor=0.5), Manual()]
        return optimizer, drive(optimizer, SCHEDULE, total_steps=TOTAL, controllers=controllers)

    def go(optimizer, rate, losses):
        for loss in losses:
            optimizer.step()
            if loss == 3.0:
                rate.controllers[1].multiply(0.5)
            rate.step(loss=loss)
            yield rate.learning_rates

    losses = [1.0, 2.0, 3.0, 0.5, 3.0, 2.0, 2.0, 0.4, 0.4, 0.4]
    expected = list(go(*start(), losses))
    assert len({repr(row) for row in expected}) == len(losses)
    for killed_at in range(len(losses)):
        first, second = start(), start()
        done = list(go(*first, losses[:killed_at]))
        second[1].load_state_dict(through_a_file(first[1].state_dict()))
        assert done + list(go(*second, losses[killed_at:])) == expected


def test_a_state_with_other_controllers_is_refused():
    state = drive(sgd(), constant(), total_steps=4, controllers=[Plateau()]).state_dict()
    with pytest.raises(StateError, match="the controllers"):
        drive(sgd(), constant(), total_steps=4).load_state_dict(state)


def test_what_is_no_controller_is_refused_before_anything_is_written():
    optimizer = sgd()
    with pytest.raises(ArgumentTypeError, match="`drive"):
        drive(optimizer, linear_warmup(4), total_steps=TOTAL, controllers=["plateau"])
    assert optimizer.param_groups[0]["lr"] == 0.3


def test_decisions_are_written_down_as_they_happen(tmp_path):
    def start():
        optimizer = sgd()
        controllers = [Plateau(patience=1, factor=0.5)]
        return optimizer, drive(optimizer, linear_decay(), total_steps=9, controllers=controllers, run_dir=tmp_path)

    optimizer, rate = start()
    for _ in range(3):
        optimizer.step()
        rate.step(loss=1.0)
    story = read_decisions(tmp_path)
    assert [(c["step"], c["metrics"]) for c in story.changes] == [(2, {"loss": 1.0}), (3, {"loss": 1.0})]
    assert story.base_lrs[0] * from_dict(story.schedule)(3) * story.factor(3) == pytest.approx(rate.learning_rate)

    state = rate.state_dict()
    with pytest.raises(RunDirectoryError, match="in use"):
        start()
    rate.release()
    optimizer, rate = start()
    rate.load_state_dict(state)
    assert [c["step"] for c in read_decisions(tmp_path).changes] == [2, 3]
    assert read_decisions(tmp_path).starts == [0, 0, 3]


# ---- the protocol of torch's schedulers ------------------------------------------------------------------------------


def test_is_a_scheduler_of_torch():
    optimizer = sgd()
    rate = Scheduler(optimizer, linear_decay(), total_steps=4)
    assert isinstance(rate, torch.optim.lr_scheduler.LRScheduler)
    optimizer.step()
    rate.step()
    assert (rate.last_epoch, rate.base_lrs) == (1, [0.3, 0.15])
    assert rate.get_lr() == rate.get_last_lr() == [0.3 * 0.75, 0.15 * 0.75]


# https://github.com/huggingface/accelerate/issues/3797
def test_may_be_called_several_times_an_update():
    optimizer = sgd()
    rate = drive(optimizer, linear_decay(), total_steps=TOTAL)
    for _ in range(3):
        optimizer.step()
        for _ in range(8):
            rate.step()
    assert rate.step_count == 3


@pytest.mark.parametrize("wrong", [3, 0.5, "loss"])
def test_a_step_cannot_be_given(wrong):
    with pytest.raises(ArgumentTypeError, match="The step is counted, and cannot be given"):
        drive(sgd(), linear_decay(), total_steps=4).step(wrong)


def test_the_plan_can_be_drawn(tmp_path):
    rate = drive(sgd(), SCHEDULE, total_steps=TOTAL)
    assert rate.simulate() == [rate.at(t) for t in range(TOTAL)]
    assert rate.simulate().plot(tmp_path / "plan.png").stat().st_size > 1000


def test_a_plateau_that_wants_the_best_weights_back_is_refused():
    """Nothing would happen: `drive` holds no weights."""
    with pytest.raises(ArgumentError, match="Leave out `restore_best`"):
        drive(sgd(), constant(), total_steps=TOTAL, controllers=[Plateau(restore_best=True)])
