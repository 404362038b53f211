import math

import pytest

from surefoot import ArgumentError, ArgumentTypeError, Finding, check
from surefoot.schedules import (
    constant,
    cosine_decay,
    cosine_restarts,
    cyclic,
    exponential_decay,
    from_function,
    from_table,
    inverse_sqrt_decay,
    linear_decay,
    linear_warmup,
    multistep,
    noam,
    one_cycle,
    piecewise,
    polynomial_decay,
    power_decay,
    rex,
    step_decay,
    warmup_stable_decay,
)

from .examples import EXAMPLES


def tutorial(epoch):
    """Return the rate of Keras' LearningRateScheduler tutorial as people copy it, which jumps."""
    return 0.01 if epoch < 5 else 0.01 * math.exp(0.1 * (10 - epoch))


FINE = [
    linear_warmup("5%") >> cosine_decay(),
    linear_warmup(1) >> linear_decay(to=0.1),
    linear_warmup(2) >> exponential_decay(rate=0.5, every=10),
    linear_warmup("10%"),
    constant(),
    0.1 * constant(),
    warmup_stable_decay(),
    one_cycle(),
    noam("10%"),
    rex(),
    step_decay("25%"),
    multistep(["50%", "75%"]),
    piecewise({"50%": 0.1, "75%": 0.01}),
    (linear_warmup("5%") >> constant()) * power_decay("10%"),
    linear_warmup("5%") >> constant() >> linear_decay("20%"),
    constant("50%") >> constant(factor=0.1),
    constant("5%", factor=0.25) >> constant() >> cosine_decay("50%"),
    cosine_restarts("10%"),
    cyclic("10%"),
    polynomial_decay(to=0.1, cycle="20%"),
    inverse_sqrt_decay().resolve(5000),  # goes on at its own pace: it may be cut anywhere
    cosine_decay(to=0.01).clipped(0.05),
    linear_warmup(10) >> cosine_decay(90).extend(190, step=30),
    constant().cooldown_from("80%"),
    from_table([0.5, 1.0, 0.9, 0.5, 0.1], every="20%"),
    lambda step: 0.9**step,
    lambda step: 0.5**step if step < 10 else 0.5**10,  # steep from the start: not a jump
    lambda step: 0.1 if step < 100 else 0.01,
    lambda step: min(1.0, step / 20) * (1 - step / 200),
]


@pytest.mark.parametrize("plan", FINE, ids=lambda plan: repr(plan) if not hasattr(plan, "__code__") else None)
def test_plans_as_people_mean_them_have_no_findings(plan):
    assert check(plan, total_steps=200) == []


FOUND = [
    (tutorial, "jump_up", 5),
    (lambda step: 0.1 if step < 20 else 1.0 - step / 200, "jump_up", 20),
    (lambda step: 1.0 - step / 200 if step < 20 else 0.5 - step / 400, "jump_down", 20),
    (lambda step: 0.01 if 50 <= step < 100 else 0.001 if step > 150 else 0.1, "jump_up", 100),
    (cosine_decay("50%") >> linear_decay(), "jump_up", 100),
    (constant(5) >> 1.65 * exponential_decay(rate=0.9), "jump_up", 5),
    (linear_decay("50%", to=0.5) >> 0.1 * linear_decay(), "jump_down", 100),
    (from_function(lambda step: 0.1 if step < 20 else 1.0 - step / 200), "jump_up", 20),
    ((linear_decay("50%") >> linear_decay()) * constant(), "jump_up", 100),
    ((linear_decay(100) >> linear_decay(50)).extend(200, step=120), "jump_up", 100),
    (lambda step: max(0.0, 1.0 - step / 100), "zero", 100),
    (lambda step: 1.0 - step / 100, "negative", 101),
    (lambda step: math.nan if step == 7 else 1.0, "not_finite", 7),
    (lambda step: math.inf, "not_finite", 0),
    (lambda step: 1 / (step - 9), "raises", 9),
    (lambda step: [1.0, 0.5][step], "raises", 2),
    (lambda step: 0.0, "constant_zero", None),
    (0 * cosine_decay(), "constant_zero", None),
    (cosine_decay(to=1.0), "dead_floor", None),
    (linear_warmup("5%") >> linear_decay(to=1.0), "dead_floor", None),
    ((0.1 * cosine_decay()).clipped(low=0.2), "dead_floor", None),
    (lambda step: step / 500, "long_warmup", 199),
    (linear_warmup(500), "long_warmup", 199),
    (linear_warmup(500) >> cosine_decay(), "does_not_fit", None),
    (linear_warmup(10) >> cosine_decay(90), "ends_early", 100),
    (linear_decay("50%", to=0.1), "ends_early", 100),
    (cosine_decay(400), "is_cut", 200),
    (linear_warmup(10) >> cosine_decay(600), "is_cut", 200),
    (cosine_restarts(80), "climbs_at_end", 199),
    (lambda step: 0.55 + 0.45 * math.cos(step / 40), "climbs_at_end", 199),
    (lambda step: 0.55 + 0.45 * math.cos(math.pi * step / 200), "climbs_after_end", 220),
]


@pytest.mark.parametrize(("plan", "code", "step"), FOUND)
def test_what_is_probably_not_meant_is_found(plan, code, step):
    found = check(plan, total_steps=200)
    assert [(finding.code, finding.step) for finding in found] == [(code, step)]
    assert str(found[0]).endswith(".")
    assert found[0].message[0].isupper() or found[0].message[0] == "`"


def test_a_jump_is_said_once_in_numbers_that_people_read():
    (finding,) = check(tutorial, total_steps=30, unit="epoch")
    assert finding == Finding(
        code="jump_up",
        step=5,
        message="The rate jumps up by 65 %, from 0.01 to 0.0165, at epoch 5.",
        cure="Let the parts meet, or begin with `linear_warmup`.",
    )


def test_a_schedule_that_reaches_zero_early_is_found_once():
    assert [finding.code for finding in check(linear_decay(100), total_steps=200)] == ["ends_early"]
    assert [finding.code for finding in check(lambda step: max(0.0, 1 - step / 100), total_steps=200)] == ["zero"]


def test_the_zero_of_a_warmup_is_fine_but_not_that_of_a_single_step():
    assert check(linear_warmup(10), total_steps=100) == []
    assert [finding.code for finding in check(lambda step: float(step != 50), total_steps=100)] == [
        "zero", "jump_up", "climbs_at_end",
    ]  # fmt: skip


@pytest.mark.parametrize(("floor", "codes"), [(0.0, []), (0.0009, []), (0.001, ["dead_floor"]), (1.0, ["dead_floor"])])
def test_a_floor_at_or_above_every_rate_is_dead(floor, codes):
    found = check(linear_warmup("5%") >> cosine_decay(), base=0.001, total_steps=1000, floor=floor)
    assert [finding.code for finding in found] == codes


def test_the_base_scales_what_is_said_and_not_what_is_found():
    small, large = (check(tutorial, base=base, total_steps=20) for base in (1e-9, 1e9))
    assert [f.code for f in small] == [f.code for f in large] == ["jump_up"]
    assert "1e-11" in small[0].message


def test_the_run_is_that_of_the_schedule_if_its_length_is_known():
    assert check((linear_warmup("5%") >> cosine_decay()).resolve(300)) == []
    with pytest.raises(ArgumentTypeError, match="Give the steps of the run"):
        check(cosine_decay())
    with pytest.raises(ArgumentTypeError, match="Give the steps of the run"):
        check(tutorial)


def test_findings_stand_in_the_order_of_time():
    found = check(lambda step: [0.1, 0.1, 0.1, 0.3, 0.2, 0.1, 0.5, 0.4][step], total_steps=8, floor=1.0)
    assert [(f.code, f.step) for f in found] == [
        ("dead_floor", None), ("jump_up", 3), ("jump_up", 6),
    ]  # fmt: skip


def test_epochs_are_counted_in_steps():
    assert check(linear_warmup("1 epoch") >> linear_decay(), total_steps=100, steps_per_epoch=10) == []
    (finding,) = check(linear_warmup("1 epoch") >> linear_decay(), total_steps=100)
    assert finding.code == "does_not_fit"
    assert "steps_per_epoch" in finding.message


@pytest.mark.parametrize("total_steps", [1, 2, 3])
@pytest.mark.parametrize("plan", [constant(), linear_decay(), tutorial, lambda step: 1.0 + step])
def test_the_shortest_runs_are_looked_over_too(plan, total_steps):
    assert {finding.code for finding in check(plan, total_steps=total_steps)} <= {"long_warmup", "climbs_after_end"}


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_every_schedule_can_be_looked_over(schedule):
    assert all(isinstance(finding, Finding) for finding in check(schedule, total_steps=200, steps_per_epoch=20))


@pytest.mark.parametrize("plan", [3, None, [0.1, 0.2], "cosine", lambda epoch, lr: lr, float, lambda: 1.0])
def test_what_is_no_plan_is_refused(plan):
    with pytest.raises(ArgumentTypeError, match="a schedule, or a function of the step alone"):
        check(plan, total_steps=10)


@pytest.mark.parametrize(
    "settings", [{"base": 0}, {"base": math.nan}, {"floor": -1}, {"total_steps": 0}, {"floor": math.inf}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ArgumentError):
        check(constant(), **{"total_steps": 10, **settings})
