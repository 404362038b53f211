"""The fork rung: which rates are annealed, and how far it climbs."""

import math

import pytest

from surefoot.search._forks import ForkRung
from surefoot.search._steps import Point


class Valley:
    """A bench whose annealed forks are best at `best`; before that, a rate looks `early(x)` worse than it will be."""

    total_steps, initial_loss = 640, 2.3

    def __init__(self, best, early=lambda x: 0.0, allowed=math.inf):
        self.best, self.early, self.allowed = best, early, allowed
        self.trained, self.annealed = {}, []

    def affords(self, steps):
        return sum(self.trained.values()) + steps <= self.allowed

    def trunk(self, x, to_step):
        self.trained[x] = to_step
        return Point(x=x, loss=math.exp(0.1 * (x - self.best) ** 2 + self.early(x)))

    def fork(self, x, steps):
        self.trained[x] += steps
        self.annealed.append(x)
        return Point(x=x, loss=math.exp(0.1 * (x - self.best) ** 2))

    def prefetch(self, wants):
        """Nobody is there to train anything beforehand."""

    def abandon(self, x, note):
        assert "not annealed" in note


def forked(bench, middle, most=math.inf):
    return ForkRung(bench, middle, math.inf, -30.0, 10.0, most=most).run()


def test_a_higher_rate_that_looks_worse_early_is_annealed_all_the_same():
    bench = Valley(-8.0, early=lambda x: max(x + 8.5, 0.0))
    forks = forked(bench, -9.5)
    assert not forks.abandoned
    assert min(forks.finished, key=lambda p: p.loss).x == pytest.approx(-8.0, abs=0.7)


def test_a_lower_rate_that_is_far_worse_early_is_not_annealed():
    bench = Valley(-8.0)
    forks = forked(bench, -10.0)
    assert forks.abandoned == {-10.8}
    assert -10.8 not in bench.annealed


def test_forks_climb_to_the_best_unless_told_where_to_stop():
    assert len(forked(Valley(-3.0), -10.0, most=4).points) == 4
    climbed = forked(Valley(-3.0), -10.0)
    assert min(climbed.finished, key=lambda p: p.loss).x == pytest.approx(-3.0, abs=0.7)


def test_forks_climb_no_further_than_the_budget_allows():
    bench = Valley(-3.0, allowed=640)
    forked(bench, -10.0)
    assert sum(bench.trained.values()) <= 640 + 3 * 640 // 16  # the last one up may be what the real run goes on from
    assert len(bench.trained) > 3
