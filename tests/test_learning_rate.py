import json
import math

import numpy as np
import pytest

from surefoot import ArgumentError, ArgumentTypeError, DivergenceGuard, LearningRate, Manual, Plateau, StateError
from surefoot.schedules import constant, cosine_decay, linear_decay, linear_warmup


def test_is_base_times_factor_for_every_group():
    rate = LearningRate([0.5, 0.25], linear_decay(), total_steps=100)
    assert rate.current(50) == [0.25, 0.125]
    assert rate.at(50) == 0.25
    assert rate.at(50, group=1) == 0.125
    assert rate.base_lrs == (0.5, 0.25)


def test_resolves_the_schedule():
    rate = LearningRate(0.1, linear_warmup("1 epoch") >> cosine_decay(), total_steps=100, steps_per_epoch=10)
    assert rate.schedule == linear_warmup(10) >> cosine_decay(90)
    assert repr(rate) == "LearningRate(0.1, linear_warmup(10) >> cosine_decay(90))"
    assert repr(LearningRate([0.1, 0.2], constant(5))) == "LearningRate([0.1, 0.2], constant(5))"


def test_is_pure():
    rate = LearningRate(0.1, cosine_decay(1000))
    assert [rate.at(step) for step in (7, 3, 7)] == [rate.at(7), rate.at(3), rate.at(7)]


def test_simulate_gives_the_rate_of_every_update():
    assert LearningRate(0.5, linear_decay(4)).simulate() == [0.5, 0.375, 0.25, 0.125]
    assert LearningRate([0.5, 1.0], linear_decay(4)).simulate(2, group=1) == [1.0, 0.75]
    with pytest.raises(ArgumentTypeError, match="Pass the number of updates"):
        LearningRate(0.5, constant()).simulate()


def test_takes_numpy_numbers_as_plain_floats():
    rate = LearningRate(np.float32(0.5), constant(5))
    assert type(rate.base_lrs[0]) is float


@pytest.mark.parametrize("base", [-0.1, float("nan"), float("inf"), []])
def test_bad_bases_are_refused(base):
    with pytest.raises(ArgumentError, match="base must be"):
        LearningRate(base, constant())


@pytest.mark.parametrize("base", ["0.1", True, None, ["0.1"]])
def test_bases_of_other_types_are_refused(base):
    with pytest.raises(ArgumentTypeError, match="base must be"):
        LearningRate(base, constant())


def test_schedules_of_other_types_are_refused():
    with pytest.raises(ArgumentTypeError, match="schedule must be a schedule"):
        LearningRate(0.1, lambda step: 1.0)


def test_an_unresolved_schedule_needs_total_steps_at_construction():
    with pytest.raises(ArgumentError, match="resolve"):
        LearningRate(0.1, linear_warmup("5%") >> cosine_decay())


# ---- controllers -----------------------------------------------------------------------------------------------------


def owner():
    controllers = [Plateau(patience=1, factor=0.5), DivergenceGuard(), Manual()]
    return LearningRate([0.5, 0.25], linear_decay(100), controllers=controllers)


def test_is_the_product_of_base_schedule_and_all_factors():
    rate = owner()
    rate.controllers[2].set(0.5)
    for _ in range(2):
        rate.observe(50, {"val_loss": 1.0, "loss": float("nan")})
    assert [c.factor for c in rate.controllers] == [0.5, 0.25, 0.5]
    assert rate.current(50) == [0.5 * 0.5 * 0.0625, 0.25 * 0.5 * 0.0625]
    assert rate.at(50, group=1) == rate.current(50)[1]


def test_every_decision_is_kept_with_its_cause():
    rate = owner()
    decisions = rate.observe(10, {"val_loss": 1.0, "loss": float("nan")})
    assert [d.cause for d in decisions] == ["loss is nan"]
    assert [str(change) for change in rate.changes] == ["step 10: 0.45 -> 0.225: loss is nan (DivergenceGuard)"]
    assert rate.why(5) == "0.2375 at step 5: base 0.5, schedule 0.95, Plateau 1, DivergenceGuard 0.5, Manual 1"
    assert rate.why().splitlines()[1] == str(rate.changes[0])


def test_goes_on_from_its_state_as_if_it_had_never_stopped():
    readings = [{"val_loss": 1.0 - 0.01 * (i % 7), "loss": 1.0 if i % 5 else float("nan")} for i in range(30)]
    first = owner()
    for i, metrics in enumerate(readings):
        second = owner()
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert second.observe(i, metrics) == first.observe(i, metrics)
        assert second.current(i) == first.current(i)
        assert repr(second.changes) == repr(first.changes)  # nan is in them


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 2},
        {"base_lrs": [-1.0]},
        {"base_lrs": None},
        {"controllers": []},
        {"controllers": [{"kind": "Manual", "factor": 1.0}] * 3},
        {"changes": [{"step": 1}]},
    ],
    ids=repr,
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_is_changed(damage):
    rate = owner()
    rate.observe(1, {"loss": float("nan")})
    before = rate.state_dict()
    with pytest.raises(StateError):
        rate.load_state_dict({**owner().state_dict(), **damage})
    assert rate.state_dict() == before


def test_a_damaged_controller_leaves_the_others_as_they_were():
    rate, other = owner(), owner()
    other.observe(1, {"loss": float("nan"), "val_loss": 1.0})
    state = other.state_dict()
    state["controllers"][2]["factor"] = float("nan")
    before = rate.state_dict()
    with pytest.raises(StateError, match="factor is nan"):
        rate.load_state_dict(state)
    assert rate.state_dict() == before


@pytest.mark.parametrize("wrong", [["plateau"], 3, [Plateau], Plateau()])
def test_what_is_no_list_of_controllers_is_refused(wrong):
    with pytest.raises(ArgumentTypeError, match="controllers must be a list of controllers"):
        LearningRate(0.1, constant(), controllers=wrong)


def test_the_same_controller_twice_is_refused():
    plateau = Plateau()
    with pytest.raises(ArgumentError, match="without repetitions"):
        LearningRate(0.1, constant(), controllers=[plateau, plateau])


def test_at_and_current_are_the_same_number_to_the_last_bit():
    rate = LearningRate([0.1, 0.3], cosine_decay(100), controllers=[Manual(0.75), Manual(0.7)])
    for step in range(100):
        assert [rate.at(step), rate.at(step, group=1)] == rate.current(step)


def test_two_huge_factors_give_no_infinite_rate():
    learning_rate = LearningRate(0.1, constant(), controllers=[Manual(1e200), Manual(1e200)])
    assert math.isfinite(learning_rate.at(0))
    assert learning_rate.current(0) == [learning_rate.at(0)]
    learning_rate.controllers[0].factor = 0.0
    assert learning_rate.at(0) == 0.0
