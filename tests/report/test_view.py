import math

import pytest

from surefoot.report._axis import Axis, linear_ticks, log_ticks, number_text, padded, wants_log
from surefoot.report._view import brief, picture_of


def test_trials_are_placed_by_their_fate(sample):
    picture = picture_of(sample)
    kinds = {point.trial: point.kind for series in picture.series for point in series.points}
    assert [series.rung for series in picture.series] == ["bracket", "fork", "race"]
    assert kinds[7] == "diverged"
    assert kinds[8] == "above"  # a finished trial with a loss of 5.2e6
    assert kinds[15] == "abandoned"
    assert picture.y.high < 10
    assert picture.y.is_log


def test_everything_that_is_drawn_has_a_place(odd):
    picture = picture_of(odd)
    for axis in (picture.x, picture.y):
        assert math.isfinite(axis.low)
        assert math.isfinite(axis.high)
        assert axis.low < axis.high
        assert len(axis.ticks()) >= 2
    for point in (point for series in picture.series for point in series.points):
        assert picture.x.holds(point.learning_rate)
        assert point.loss is None or picture.y.holds(point.loss)


def test_training_loss_is_drawn_where_there_is_no_validation(odd_one):
    picture = picture_of(odd_one("no validation"))
    assert picture.y_words == "training loss"
    assert picture.has_losses


def test_a_trial_worse_than_untrained_does_not_stretch_the_axis(sample):
    assert max(loss for trial in sample.trials if (loss := trial.val_loss) is not None) > 1e6
    assert picture_of(sample).y.high < 10


@pytest.mark.parametrize("low", [1e-9, 1e-5, 0.0007, 0.3, 12.0, 4e6])
@pytest.mark.parametrize("ratio", [1.05, 1.9, 4.0, 30.0, 1e4, 1e12])
def test_log_ticks_are_in_range_rising_and_few(low, ratio):
    values = [tick.value for tick in log_ticks(low, low * ratio)]
    assert values == sorted(set(values))
    assert 2 <= len(values) <= 13
    assert all(low * 0.999 <= value <= low * ratio * 1.001 for value in values)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 7), (1e-6, 3e-6), (99.0, 99.5), (-1e9, 1e9), (-0.3, -0.1)])
def test_linear_ticks_have_different_texts(low, high):
    texts = [tick.text for tick in linear_ticks(low, high)]
    assert 3 <= len(texts) <= 8
    assert len(set(texts)) == len(texts)


def test_numbers_are_written_as_people_write_them():
    written = [
        number_text(x, 3) for x in (0.003121, 1.0, 0.999999, 1234.4, 12345678.0, 5e-324, -2.5, math.inf, math.nan)
    ]
    assert written == ["0.00312", "1", "1", "1234", "1.23e7", "4.94e-324", "-2.5", "∞", "\u2013"]


def test_axes_turn_logarithmic_only_for_positive_values_that_span_enough():
    assert wants_log([0.1, 2.0])
    assert not wants_log([1.0, 2.0])
    assert not wants_log([0.0, 2.0])
    assert not wants_log([])
    assert padded([], is_log=False).low < padded([], is_log=False).high
    assert Axis(low=0.0, high=2.0, is_log=False).place(1.0) == 0.5


def test_long_names_lose_their_middle_and_their_control_characters():
    assert brief("a" * 100, 9) == "aaaa…aaaa"
    assert brief("two\nlines\x00\u2028here") == "two lines here"
