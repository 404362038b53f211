"""The quick way in which rates are written, held against the obvious one: `base * (schedule * factors)`."""

import gc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import torch
from surefoot import SurefootError
from surefoot.control import Manual
from surefoot.schedules import constant, cosine_decay, linear_decay, linear_warmup
from surefoot.torch import drive

TOTAL = 30
PLAN = linear_warmup("20%") >> constant("20%") >> cosine_decay(to=0.1)
EVENTS = ["update", "update", "two updates", "add", "load", "to tensor", "to float", "cut", "replace"]


def weight():
    return torch.nn.Parameter(torch.ones(1))


def rates(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.1, 0.3]), st.booleans()), min_size=1, max_size=4),
    st.booleans(),
    st.lists(st.sampled_from(EVENTS), max_size=15),
)
def test_whatever_happens_the_rate_is_base_times_schedule_times_factors(groups, is_list, events):
    def held(lr, is_tensor):
        return torch.tensor(lr, dtype=torch.float64) if is_tensor else lr

    optimizer = torch.optim.SGD([{"params": [weight()], "lr": held(*group)} for group in groups])
    bases, plans = [lr for lr, _ in groups], [PLAN.resolve(TOTAL)] * len(groups)
    if is_list:
        plans = [PLAN.resolve(TOTAL) if i % 2 else linear_decay(TOTAL) for i in range(len(groups))]
    hand = Manual()
    lr = drive(optimizer, plans if is_list else PLAN, total_steps=TOTAL, controllers=[hand])
    step, factor = 0, 1.0
    for event in events:
        match event:
            case "update" | "two updates":
                for _ in range(1 + (event == "two updates")):
                    optimizer.step()
                    step += 1
            case "add" if len(set(plans)) == 1:
                optimizer.add_param_group({"params": [weight()], "lr": 0.2})
                bases.append(0.2)
                plans.append(plans[0])
            case "load":
                optimizer.load_state_dict(optimizer.state_dict())
            case "to tensor":
                optimizer.param_groups[0]["lr"] = torch.tensor(0.0, dtype=torch.float64)
            case "to float":
                optimizer.param_groups[-1]["lr"] = 0.0
            case "cut":
                hand.multiply(0.5)
                factor *= 0.5
                lr.observe(loss=1.0)
            case "replace":
                lr.replace(0.5 * constant())
                plans = [0.5 * constant(TOTAL)] * len(bases)
            case _:
                pass
        tensors = [group["lr"] for group in optimizer.param_groups]
        lr.step()
        want = [base * (plan(step) * factor) for base, plan in zip(bases, plans, strict=True)]
        assert rates(optimizer) == want
        assert lr.learning_rates == want
        for group, before in zip(optimizer.param_groups, tensors, strict=True):
            assert type(group["lr"]) is type(before)
            assert not isinstance(before, torch.Tensor) or group["lr"] is before


def test_no_owner_waits_for_the_garbage_collector():
    """The function that writes must hold no owner, or an optimizer would not be free when its owner is deleted."""
    optimizer = torch.optim.SGD([weight()], lr=0.5)
    gc.disable()
    try:
        lr = drive(optimizer, PLAN, total_steps=TOTAL, momentum=0.9 * constant(), total_time="1h")
        optimizer.step()
        lr.step()
        del lr
        drive(optimizer, PLAN, total_steps=TOTAL)
    finally:
        gc.enable()


@pytest.mark.parametrize("more", [{}, {"momentum": 0.9 * constant()}, {"total_time": "1h"}], ids=repr)
def test_who_was_released_writes_nothing_any_more(more):
    optimizer = torch.optim.SGD([weight()], lr=0.5, momentum=0.5)
    lr = drive(optimizer, linear_decay(), total_steps=TOTAL, **more)
    optimizer.step()
    lr.release()
    with pytest.raises(SurefootError, match="released"):
        lr.step()
    assert rates(optimizer) == [0.5]


def test_idle_calls_are_counted_from_the_last_update():
    """Warnings are errors here: a hundred calls in a row without an update would be said."""
    optimizer = torch.optim.SGD([weight()], lr=0.5)
    lr = drive(optimizer, PLAN, total_steps=TOTAL)
    for _ in range(5):
        for _ in range(60):
            lr.step()
        optimizer.step()
        lr.step()
    assert lr.step_count == 5
