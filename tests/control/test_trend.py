"""TrendPlateau: how often it is wrong, how soon it is right, and a slow twin that keeps every reading."""

import math
import random
import statistics

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from surefoot import ArgumentError, ArgumentTypeError
from surefoot.control import Plateau, Reading, TrendPlateau
from surefoot.control._trend import is_significant, student_quantile

from .arguments import check, options

NOISE = 0.1
RUNS = 300


def rates(plateau, values, metric="loss"):
    """Return the rate after each reading of a run that began with a rate of 1."""
    found = []
    for step, value in enumerate(values):
        plateau.observe(Reading(step, {metric: value}, plateau.factor))
        found.append(plateau.factor)
    return found


def first_reduction(plateau, values):
    """Return after how many readings the rate was lowered; infinity if it was not."""
    for step, value in enumerate(values):
        plateau.observe(Reading(step, {"loss": value}))
        if plateau.factor < 1.0:
            return step + 1
    return math.inf


def flat(seed, count, level=1.0):
    rng = random.Random(seed)
    return [level + rng.gauss(0.0, NOISE) for _ in range(count)]


def falling(seed, count, slope):
    return [3.0 - slope * i + noise for i, noise in enumerate(flat(seed, count, 0.0))]


# How often it is wrong


@pytest.mark.parametrize(("window", "patience"), [(50, 2), (20, 3)])
def test_a_loss_that_falls_slowly_keeps_its_rate(window, patience):
    """By 8 d / sqrt(window) within `patience` windows: each window falls by a fraction of the noise of one reading."""
    slope = 8.0 * NOISE / math.sqrt(window) / (patience * window)
    assert slope * window < NOISE
    runs = [falling(seed, 1000, slope) for seed in range(RUNS)]
    alarms = sum(first_reduction(TrendPlateau(window=window, patience=patience), run) < math.inf for run in runs)
    assert alarms <= 0.01 * RUNS


def test_a_plateau_as_quick_takes_the_same_slow_fall_for_a_plateau():
    slope, seeds = 8.0 * NOISE / math.sqrt(50) / 100, range(50)
    assert all(first_reduction(Plateau(patience=50), falling(seed, 1000, slope)) < math.inf for seed in seeds)
    quick = sorted(first_reduction(Plateau(patience=50), flat(seed, 1000)) for seed in range(RUNS))
    ours = sorted(first_reduction(TrendPlateau(), flat(seed, 1000)) for seed in range(RUNS))
    assert quick[int(0.9 * RUNS)] == pytest.approx(ours[int(0.9 * RUNS)], rel=0.2)


# How soon it is right


@pytest.mark.parametrize(("window", "patience", "confidence"), [(50, 2, 0.95), (10, 2, 0.95), (20, 3, 0.99)])
def test_noise_without_a_trend_lowers_the_rate_as_soon_as_is_promised(window, patience, confidence):
    soonest = (1 + patience) * window
    after = [
        first_reduction(TrendPlateau(window=window, patience=patience, confidence=confidence), flat(seed, 12 * window))
        for seed in range(RUNS)
    ]
    assert min(after) == soonest
    assert sum(a == soonest for a in after) >= (1.0 - patience * (1.0 - confidence)) * RUNS
    assert max(after) <= 12 * window


@pytest.mark.parametrize("within_window", [0, 20, 40])
def test_reacts_soon_after_a_fall_has_ended(within_window):
    window, patience, end = 50, 2, 250 + within_window
    after = []
    for seed in range(RUNS):
        run = [value + 0.008 * max(0, end - i) for i, value in enumerate(flat(seed, end + 12 * window))]
        after.append(first_reduction(TrendPlateau(window=window, patience=patience), run) - end)
    assert min(after) > 0
    assert sum(a <= (4 + patience) * window for a in after) >= 0.99 * RUNS


def test_between_two_reductions_lie_as_many_readings_as_are_promised():
    found = rates(TrendPlateau(window=5, patience=2, factor=0.5), [1.0] * 46)
    assert [i + 1 for i in range(1, 46) if found[i] < found[i - 1]] == [15, 30, 45]


def test_a_fall_without_noise_is_a_fall():
    assert rates(TrendPlateau(window=3, patience=1), [0.99**i for i in range(300)])[-1] == 1.0
    assert rates(TrendPlateau(window=3, patience=1), [1.0 / (1.0 + i) for i in range(300)])[-1] == 1.0


@pytest.mark.parametrize("first", [10.0, 1e3, 1e6])
def test_one_huge_loss_at_the_start_does_not_hide_what_is_gained_later(first):
    """The variance of its window would: it is as large as that loss."""
    for seed in range(20):
        assert rates(TrendPlateau(), [first, *falling(seed, 600, 0.002)])[-1] == 1.0


def test_a_gain_below_min_delta_is_none():
    tiny = [1.0 - 1e-6 * i for i in range(100)]
    assert rates(TrendPlateau(window=10, patience=1, min_delta=0.0), tiny)[-1] == 1.0
    assert rates(TrendPlateau(window=10, patience=1, min_delta=1e-4), tiny)[-1] < 1.0
    assert rates(TrendPlateau(window=10, patience=1, min_delta=1e-6, relative=False), tiny)[-1] == 1.0


# Signs


@given(st.integers(0, 10**6), st.floats(-0.02, 0.02))
def test_a_metric_to_be_raised_is_the_negative_of_one_to_be_lowered(seed, slope):
    values = falling(seed, 100, slope)
    low, high = TrendPlateau(window=8, patience=2), TrendPlateau(window=8, patience=2, mode="max")
    assert rates(low, values) == rates(high, [-value for value in values])


def test_a_negative_loss_that_falls_keeps_its_rate_and_one_that_rises_does_not():
    assert rates(TrendPlateau(window=10), [v - 5.0 for v in falling(0, 300, 0.01)])[-1] == 1.0
    assert rates(TrendPlateau(window=10), [-5.0 + 0.01 * i for i in range(300)])[-1] < 1e-5


# What is not finite


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_takes_a_place_in_its_window_and_says_nothing(odd):
    values = falling(1, 300, 0.01)
    values[::7] = [odd] * len(values[::7])
    plateau = TrendPlateau(window=20)
    assert rates(plateau, values)[-1] == 1.0
    assert math.isfinite(plateau.reference_mean)


def test_a_run_of_nothing_but_nan_lowers_the_rate_and_is_said():
    plateau = TrendPlateau(window=4, patience=2, factor=0.5)
    assert rates(plateau, [math.nan] * 16) == [1.0] * 7 + [0.5] * 8 + [0.25]
    plateau = TrendPlateau(window=3, patience=1)
    decisions = [plateau.observe(Reading(i, {"loss": math.nan})) for i in range(3)]
    assert decisions[-1].cause == "loss has hardly been finite for 1 window of 3 readings"


def test_a_loss_that_turns_into_nan_lowers_the_rate():
    assert rates(TrendPlateau(window=5, patience=2, factor=0.5), [1.0] * 5 + [math.nan] * 10)[-1] == 0.5


@pytest.mark.parametrize("large", [1e200, 1e308, 1.7e308])
def test_values_too_large_to_square_are_forgotten_with_their_windows(large):
    plateau = TrendPlateau(window=4, patience=2, factor=0.5)
    rates(plateau, [1e300, -large, large, 1e300] * 3)
    assert plateau.factor == 0.5
    assert rates(plateau, [10.0 - 0.1 * i for i in range(60)])[-1] == 0.5


# Floor, metric


def test_stays_at_its_floor_and_says_so_once():
    plateau = TrendPlateau(window=3, patience=1, factor=0.5, min_lr=0.4)
    decisions = [plateau.observe(Reading(i, {"loss": 1.0}, plateau.factor)) for i in range(30)]
    said = [d.cause for d in decisions if d]
    assert plateau.factor == pytest.approx(0.4)
    assert plateau.reductions == 2
    assert len(said) == 3
    assert "at its floor, min_lr=0.4" in said[-1]


def test_takes_the_validation_loss_where_there_is_one_and_keeps_to_it():
    plateau = TrendPlateau(window=3)
    plateau.observe(Reading(0, {"loss": 1.0, "val_loss": 2.0}))
    plateau.observe(Reading(1, {"loss": 9.0}))
    assert (plateau.mean, plateau.readings) == (2.0, 1)


def test_its_state_is_as_large_after_any_number_of_readings():
    plateau = TrendPlateau()
    before = plateau.state_dict()
    rates(plateau, flat(0, 777))
    after = plateau.state_dict()
    assert after.keys() == before.keys()
    assert not any(isinstance(value, list | dict | tuple) for value in after.values())


# The mathematics


@pytest.mark.parametrize(
    ("probability", "degrees", "known", "error"),  # a table of Student's t
    [
        (0.95, 2, 2.920, 0.02),
        (0.95, 4, 2.132, 0.002),
        (0.95, 10, 1.812, 0.0005),
        (0.95, 98, 1.661, 0.0005),
        (0.99, 4, 3.747, 0.011),
        (0.99, 30, 2.457, 0.0005),
        (0.75, 5, 0.7267, 0.002),
    ],
)
def test_the_quantile_is_that_of_the_tables(probability, degrees, known, error):
    assert student_quantile(probability, degrees) == pytest.approx(known, rel=error, abs=0.0005)


@settings(deadline=None)  # importing scipy takes a second
@given(st.floats(0.5, 0.99), st.floats(4.0, 1000.0))
def test_the_quantile_is_scipys(probability, degrees):
    stats = pytest.importorskip("scipy.stats")
    assert student_quantile(probability, degrees) == pytest.approx(
        stats.t.ppf(probability, degrees), rel=0.011, abs=1e-9
    )


@settings(deadline=None)
@given(st.floats(-1.0, 3.0), st.floats(0.01, 10.0), st.integers(2, 50), st.integers(5, 50))
def test_the_test_is_that_of_students_distribution(gain, variance, earlier, later):
    stats = pytest.importorskip("scipy.stats")
    p = stats.t.sf(gain / math.sqrt(variance * (1 / earlier + 1 / later)), later - 1)
    found = is_significant(gain, variance, (earlier, later), confidence=0.95)
    assert found == (p < 0.05) or p == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_windows_of_mere_noise_are_taken_for_gains_as_often_as_is_said(confidence):
    """The variance of one window serves for the means of two."""
    rng, times, n = random.Random(0), 4000, 6
    found = 0
    for _ in range(times):
        a, b = ([rng.gauss(0.0, 1.0) for _ in range(n)] for _ in range(2))
        gain = statistics.fmean(a) - statistics.fmean(b)
        found += is_significant(gain, statistics.variance(b), (n, n), confidence=confidence)
    expected = times * (1.0 - confidence)
    assert abs(found - expected) < 3.0 * math.sqrt(expected)


def slow_twin(values, window, patience, confidence, mode, min_delta):
    """Return the reductions so far after each reading, from all readings, kept in windows."""
    windows, counts, reference, wait, reductions = [[]], [], None, 0, 0
    for value in values:
        windows[-1].append(value)
        if len(windows[-1]) == window:
            finite = [v for v in windows[-1] if math.isfinite(v)]
            if len(finite) < 2:
                is_gain = False
            elif reference is None:
                is_gain = True
            else:
                before, now = statistics.mean(reference), statistics.mean(finite)
                gain = (before - now if mode == "min" else now - before) - min_delta * abs(before)
                error = math.sqrt(statistics.variance(finite) * (1 / len(reference) + 1 / len(finite)))
                is_gain = gain > error * student_quantile(confidence, len(finite) - 1)
            if is_gain:
                reference, wait = finite, 0
            else:
                wait += 1
            if wait == patience:
                reference, wait, reductions = None, 0, reductions + 1
            windows.append([])
        counts.append(reductions)
    return counts


ODD = st.dictionaries(st.integers(0, 199), st.sampled_from([math.nan, math.inf, -math.inf, 5.0, -5.0]), max_size=40)


@given(
    st.integers(0, 10**6), st.floats(-0.01, 0.05), ODD, st.integers(3, 12), st.integers(1, 3), st.floats(0.5, 0.999),
    st.sampled_from(["min", "max"]), st.sampled_from([0.0, 1e-4, 0.1]),
)  # fmt: skip
def test_decides_as_a_slow_twin_that_keeps_every_reading(
    seed, slope, odd, window, patience, confidence, mode, min_delta
):
    values = falling(seed, 200, slope)
    for i, value in odd.items():
        values[i] = value
    plateau = TrendPlateau(window=window, patience=patience, confidence=confidence, mode=mode, min_delta=min_delta)
    counts = []
    for step, value in enumerate(values):
        plateau.observe(Reading(step, {"loss": value}))
        counts.append(plateau.reductions)
    assert counts == slow_twin(values, window, patience, confidence, mode, min_delta)


# Arguments


@pytest.mark.parametrize(
    ("arguments", "argument", "error"),
    [
        ({"factor": 0.0}, "factor", ArgumentError),
        ({"window": 2}, "window", ArgumentError),
        ({"window": 5.0}, "window", ArgumentTypeError),
        ({"patience": 0}, "patience", ArgumentError),
        ({"confidence": 0.4}, "confidence", ArgumentError),
        ({"confidence": 1.0}, "confidence", ArgumentError),
        ({"confidence": "95%"}, "confidence", ArgumentTypeError),
        ({"mode": "auto"}, "mode", ArgumentError),
        ({"min_delta": -1.0}, "min_delta", ArgumentError),
        ({"relative": None}, "relative", ArgumentTypeError),
        ({"min_lr": -1.0}, "min_lr", ArgumentError),
        ({"monitor": 3}, "monitor", ArgumentTypeError),
    ],
    ids=repr,
)
def test_a_wrong_value_is_refused_by_name(arguments, argument, error):
    with pytest.raises(error, match=rf"`TrendPlateau\({argument}=.*\)`: {argument} must be "):
        TrendPlateau(**arguments)


OPTIONS = options(
    monitor=st.sampled_from([None, "loss", "accuracy"]),
    factor=st.floats(0.01, 0.99),
    window=st.integers(3, 5),
    patience=st.integers(1, 3),
    confidence=st.floats(0.5, 0.999),
    mode=st.sampled_from(["min", "max"]),
    min_delta=st.floats(0.0, 0.1),
    relative=st.booleans(),
    min_lr=st.floats(0.0, 0.1),
)


@settings(max_examples=300)
@example({"factor": 10**400})
@given(OPTIONS)
def test_any_arguments_work_or_are_refused_by_name(given):
    check(TrendPlateau, given)
