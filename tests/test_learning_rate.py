import numpy as np
import pytest

from surefoot import ArgumentError, ArgumentTypeError, LearningRate
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
