"""Plateau against the two that everybody knows, and where it is better than they are."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surefoot import ArgumentError, ArgumentTypeError
from surefoot.control import Plateau, Reading

VALUES = st.lists(st.sampled_from([0.0, 0.5, 0.9, 0.99995, 1.0, 1.00005, 1.1, 2.0]), min_size=1, max_size=40)
FACTOR = 0.5  # powers of it are exact


def rates(plateau, values, metric="loss"):
    """Return the rate after each reading of a run that began with a rate of 1."""
    found = []
    for step, value in enumerate(values):
        plateau.observe(Reading(step, {metric: value}, plateau.factor))
        found.append(plateau.factor)
    return found


@settings(deadline=None)  # importing torch takes a second
@given(VALUES, st.integers(0, 3), st.integers(0, 3), st.sampled_from(["min", "max"]), st.booleans())
def test_counts_as_torch_with_a_patience_of_one_more(values, patience, cooldown, mode, relative):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    kind = "rel" if relative else "abs"
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode, FACTOR, patience, 1e-4, kind, cooldown, min_lr=0.1, eps=0.0
    )
    expected = []
    for value in values:
        theirs.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    ours = Plateau(factor=FACTOR, patience=patience + 1, cooldown=cooldown, mode=mode, relative=relative, min_lr=0.1)
    assert rates(ours, values) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("patience", "cooldown", "expected"),  # measured with Keras 3.15, whose cooldown is one more
    [
        (2, 0, [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]),
        (2, 1, [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]),
        (1, 0, [1, 0.5, 0.25, 0.125, 0.0625]),
    ],
)
def test_counts_as_keras_with_a_cooldown_of_one_less(patience, cooldown, expected):
    assert rates(Plateau(factor=0.5, patience=patience, cooldown=cooldown), [1.0] * len(expected)) == expected


def test_a_negative_metric_that_does_not_improve_is_a_plateau():
    """torch's relative threshold lies on the wrong side of a negative best, so it never reduces."""
    assert rates(Plateau(patience=2, factor=0.5), [-1.0] * 5)[-1] == 0.25
    assert rates(Plateau(patience=2, factor=0.5), [-1.0 + 0.01 * i for i in range(5)])[-1] == 0.25
    assert rates(Plateau(patience=2, factor=0.5), [-1.0 - 0.01 * i for i in range(5)])[-1] == 1.0


def test_a_small_loss_may_improve():
    """An absolute margin of 1e-4, as in Keras, takes every loss below it for a plateau."""
    falling = [1e-5 * 0.9**i for i in range(10)]
    assert rates(Plateau(patience=2), falling)[-1] == 1.0
    assert rates(Plateau(patience=2, relative=False), falling)[-1] < 1.0


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_becomes_the_best_and_is_no_gain(odd):
    plateau = Plateau(patience=2, factor=0.5)
    assert rates(plateau, [odd, 1.0, 0.9, odd, odd]) == [1.0, 1.0, 1.0, 1.0, 0.5]
    assert plateau.best == 0.9


def test_a_run_of_nothing_but_nan_lowers_the_rate():
    plateau = Plateau(patience=2, factor=0.5)
    assert rates(plateau, [math.nan] * 4) == [1.0, 0.5, 0.5, 0.25]
    assert plateau.best is None


def test_takes_the_validation_loss_where_there_is_one_and_keeps_to_it():
    plateau = Plateau(patience=1, factor=0.5)
    plateau.observe(Reading(0, {"loss": 1.0, "val_loss": 2.0}))
    plateau.observe(Reading(1, {"loss": 9.0}))  # no validation at this epoch
    assert (plateau.best, plateau.factor) == (2.0, 1.0)
    plateau.observe(Reading(2, {"loss": 9.0, "val_loss": 2.0}))
    assert plateau.factor == 0.5


def test_stays_at_its_floor_and_says_so_once():
    plateau = Plateau(patience=1, factor=0.5, min_lr=0.3)
    decisions = [plateau.observe(Reading(i, {"loss": 1.0}, plateau.factor)) for i in range(6)]
    assert plateau.factor == pytest.approx(0.3)
    assert [d is not None for d in decisions] == [False, True, True, True, False, False]
    assert "at its floor, min_lr=0.3" in decisions[3].cause


def test_a_floor_that_was_rounded_to_float32_is_the_floor():
    plateau = Plateau(patience=1, factor=0.5, min_lr=0.001)
    for i in range(2):
        plateau.observe(Reading(i, {"loss": 1.0}, 0.0010000000474974513))
    assert plateau.factor == 1.0


def test_stops_when_lowering_has_not_helped():
    plateau = Plateau(patience=1, factor=0.5, stop_after=2)
    decisions = [plateau.observe(Reading(i, {"loss": v}, plateau.factor)) for i, v in enumerate([1.0, 1.0, 1.0, 1.0])]
    assert [d and d.action for d in decisions] == [None, "continue", "continue", "stop"]
    plateau = Plateau(patience=1, factor=0.5, stop_after=2)
    actions = [
        plateau.observe(Reading(i, {"loss": v}, plateau.factor)) for i, v in enumerate([1.0, 1.0, 1.0, 0.5, 0.5])
    ]
    assert actions[-1].action == "continue", "a gain starts the count anew"


def test_stops_at_its_floor_if_it_may_stop():
    plateau = Plateau(patience=1, factor=0.5, min_lr=1.0, stop_after=5)
    assert [plateau.observe(Reading(i, {"loss": 1.0})) for i in range(2)][1].action == "stop"


def test_asks_for_the_best_weights_only_if_there_are_any():
    plateau = Plateau(patience=1, restore_best=True)
    decisions = [plateau.observe(Reading(i, {"loss": v}, 1.0)) for i, v in enumerate([math.nan, 1.0, 1.0])]
    assert [d and d.action for d in decisions] == ["continue", None, "restore_best"]


@pytest.mark.parametrize(
    ("options", "argument", "error"),
    [
        ({"factor": 0.0}, "factor", ArgumentError),
        ({"factor": 1.0}, "factor", ArgumentError),
        ({"factor": math.nan}, "factor", ArgumentError),
        ({"factor": "half"}, "factor", ArgumentTypeError),
        ({"patience": 0}, "patience", ArgumentError),
        ({"patience": 2.5}, "patience", ArgumentTypeError),
        ({"cooldown": -1}, "cooldown", ArgumentError),
        ({"mode": "auto"}, "mode", ArgumentError),
        ({"min_delta": -1e-4}, "min_delta", ArgumentError),
        ({"relative": 1}, "relative", ArgumentTypeError),
        ({"min_lr": -1.0}, "min_lr", ArgumentError),
        ({"restore_best": "yes"}, "restore_best", ArgumentTypeError),
        ({"stop_after": 0}, "stop_after", ArgumentError),
        ({"monitor": ""}, "monitor", ArgumentTypeError),
        ({"monitor": 3}, "monitor", ArgumentTypeError),
    ],
    ids=repr,
)
def test_a_wrong_value_is_refused_by_name(options, argument, error):
    with pytest.raises(error, match=rf"`Plateau\({argument}=.*\)`: {argument} must be "):
        Plateau(**options)
