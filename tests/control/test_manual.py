import math

import pytest

from surefoot import ArgumentError
from surefoot.control import Manual, Reading


def test_an_edit_takes_effect_with_the_next_reading():
    manual = Manual()
    manual.set(0.5)
    assert manual.factor == 1.0
    assert manual.observe(Reading(3)).cause == "by hand"
    assert manual.factor == 0.5
    assert manual.observe(Reading(4)) is None


def test_edits_multiply_also_before_they_take_effect():
    manual = Manual(0.5)
    manual.multiply(0.5)
    manual.multiply(0.5, cause="once more")
    assert manual.observe(Reading(0)).cause == "by hand: once more"
    assert manual.factor == 0.125


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_a_wrong_factor_is_refused(wrong):
    with pytest.raises(ArgumentError, match="factor must be"):
        Manual(wrong)
    with pytest.raises(ArgumentError, match="factor must be"):
        Manual().set(wrong)
    with pytest.raises(ArgumentError, match="by must be"):
        Manual().multiply(wrong)
