import pytest

from surefoot import ArgumentError, ArgumentTypeError
from surefoot.schedules import linear_decay, parse_duration, step_at_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7200), ("2 hours", 7200), ("90 min", 5400), ("1h30m", 5400), ("1h 30m", 5400), ("1.5h", 5400),
        ("1d 1s", 86_401), ("45s", 45), (" 45 S ", 45), ("2:30", 150), ("2:30:00", 9000), ("0:00:01.5", 1.5),
        (90, 90), (0.5, 0.5),
    ],
)  # fmt: skip
def test_times_in_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "2", "h", "2x", "2h x", "x 2h", "-2h", "0s", "0:00", "2h, 3m", "1e3s", "nan", 0, -1, float("nan")]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ArgumentError, match="duration must be"):
        parse_duration(text)


@pytest.mark.parametrize("value", [None, True, [2], b"2h"])
def test_other_types_are_refused(value):
    with pytest.raises(ArgumentTypeError, match='such as "2h"'):
        parse_duration(value)


def test_the_schedule_ends_with_the_time_whatever_the_steps():
    for steps in (10, 1000):
        known = linear_decay().resolve(steps)
        shares = [known(step_at_time(seconds, "10m", steps)) for seconds in (-1, 0, 150, 600, 10_000)]
        assert shares == pytest.approx([1.0, 1.0, 0.75, 0.0, 0.0])


@pytest.mark.parametrize("elapsed", [float("nan"), float("inf")])
def test_a_broken_clock_is_refused(elapsed):
    with pytest.raises(ArgumentError, match="elapsed must be"):
        step_at_time(elapsed, "2h", 10)


def test_a_run_without_steps_is_refused():
    with pytest.raises(ArgumentError, match="total_steps must be"):
        step_at_time(1, "2h", 0)
