"""The race: where its racers stand, what it may cost, and that it finds a valley that lies beside the pick."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.search.fakes import FakeJob

import surefoot as sf
from surefoot.search._lab import Lab
from surefoot.search._race import NEAR, Race, next_racer


@pytest.mark.parametrize(
    ("judged", "expected"),
    [
        ({-2.0: 0.2, -1.0: 0.1}, 0.0),  # the best is the highest: beyond it
        ({-2.0: 0.1, -1.0: 0.2}, -3.0),  # the lowest: below it
        ({-2.0: 0.2, -1.0: 0.1, 0.0: 0.3}, -1.5),  # between: toward the better neighbor
        ({-2.0: 0.3, -1.0: 0.1, 0.0: 0.2}, -0.5),
        ({-2.0: 0.2, -1.0: 0.1, 0.0: math.inf}, -1.5),  # a rate that broke is a neighbor like any other
        ({-1.5: 0.2, -1.0: 0.1, 0.0: 0.3}, -0.5),  # no room toward the better one
        ({-1.5: 0.2, -1.0: 0.1, -0.5: 0.3}, None),  # no room at all
        ({-1.0: math.inf, 0.0: math.inf}, -2.0),  # all broke: lower
        ({0.0: 0.2, 0.9: 0.1}, 1.5),  # no higher than allowed
        ({0.5: 0.2, 1.4: 0.1}, 0.95),  # no room below the highest allowed: between
    ],
)
def test_the_next_racer_stands_where_the_best_points_to(judged, expected):
    x = next_racer(judged, 1.0, -20.0, 1.5)
    assert x == (expected if expected is None else pytest.approx(expected))


@given(
    judged=st.dictionaries(st.floats(-10, 0), st.one_of(st.floats(-3, 3), st.just(math.inf)), min_size=2, max_size=6),
    gap=st.floats(0.8, 2.0),
)
def test_the_next_racer_is_a_new_one_within_the_bounds(judged, gap):
    x = next_racer(judged, gap, -10.0, 0.0)
    if x is not None:
        assert -10.0 <= x <= 0.0
        assert min(abs(x - y) for y in judged) > NEAR


def raced(job, middle, *, budget=4.0, low=-30.0, high=10.0, late=480):
    lab = Lab(job, job.schedule.resolve(job.total_steps), seed=0, allowed=math.inf, expected=budget)
    lab.look_first()
    allowed = budget * job.total_steps
    race = Race(lab, low=low, high=high, late=late, allowed=allowed, overfit=0.6)
    return race.run(middle, 1.0), lab


@pytest.mark.parametrize("middle", [-10.0, -8.2, -6.0])
def test_a_valley_beside_the_pick_is_found(middle):
    winner, lab = raced(FakeJob(best=-8.0), middle)
    assert abs(winner + 8.0) <= 0.5
    assert {t.outcome for t in lab.trials()} == {"finished", "abandoned"}


def test_what_breaks_down_does_not_win_and_what_stands_above_is_not_tried():
    winner, lab = raced(FakeJob(best=-8.0, edge=0.4), -8.0)
    broken = [math.log2(t.learning_rate) for t in lab.trials() if t.outcome == "diverged"]
    assert len(broken) == 1
    assert winner < broken[0]


@pytest.mark.parametrize("high", [-9.0, -7.5])
def test_no_racer_stands_above_the_highest_rate_allowed(high):
    winner, lab = raced(FakeJob(best=-8.0), -8.0, high=high)
    assert max(math.log2(t.learning_rate) for t in lab.trials()) <= high + 0.01
    assert winner == pytest.approx(min(high, -8.0), abs=0.5)


@pytest.mark.parametrize("budget", [0.9, 1.25, 1.9, 2.6])
def test_a_race_keeps_to_its_budget(budget):
    winner, lab = raced(FakeJob(best=-8.0), -10.0, budget=budget)
    assert winner is not None
    assert lab.steps - lab.trunk_steps(winner) <= budget * lab.total_steps


def test_without_the_budget_for_two_nothing_is_trained():
    winner, lab = raced(FakeJob(), -8.0, budget=0.45)
    assert winner is None
    assert lab.steps == 0


def test_where_no_racer_survives_there_is_no_winner():
    winner, lab = raced(FakeJob(edge=-20.0), -8.0, low=-12.0)
    assert winner is None
    assert {t.outcome for t in lab.trials()} == {"diverged"}


class Jumpy(FakeJob):
    """Breaks half an octave below the best rate where the warm-up is as short as that of a compressed run."""

    def advance(self, run, factors):
        run.is_broken = run.is_broken or (run.step == 0 and factors[0] > 0.1 and math.log2(run.rate) > self.best - 0.5)
        return super().advance(run, factors)


def test_an_edge_that_only_short_runs_have_does_not_keep_the_answer_below_it():
    found = sf.find(Jumpy(best=-8.0, curvature=0.15), budget=2.0, seed=0)
    assert min(t.learning_rate for t in found.trials if t.outcome == "diverged") > 2.0**-8.5
    assert abs(math.log2(found.learning_rate) + 8.0) <= 0.4
