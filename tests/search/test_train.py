"""What `find_and_train` and `Found.train` return: the best model that came up, where it comes from, what it took."""

import math

import pytest

import surefoot as sf
from surefoot.search import Candidate

from .fakes import FakeJob, function_job


class Steep(FakeJob):
    """A job that profits from more rate late in the run: the loss falls with the sum of the factors."""

    def advance(self, run, factors):
        losses = []
        for factor in factors:
            run.step, run.factor = run.step + 1, run.factor + factor
            losses.append(self._loss(run))
        self.steps += len(losses)
        return losses

    def _loss(self, run):
        away = math.log2(run.rate) - self.best
        return self.initial * math.exp(-0.01 * run.factor * math.exp(-0.001 * away**2))


class Overfitting(FakeJob):
    """A job whose validation loss rises again after a third of the run."""

    def evaluate(self, run):
        turn = self.total_steps // 3
        return self._loss(run) + 0.01 * max(0, run.step - turn)


def from_scratch(job, rate, *, seed, until, late=None):
    """Train the real run by hand; from `late[0]` on its rate is multiplied with `late[1]`."""
    plan = job.schedule.resolve(job.total_steps)
    run = job.start(rate, seed=seed)
    for step in range(until):
        job.advance(run, [plan(step) * (late[1] if late and step >= late[0] else 1.0)])
    return job.evaluate(run)


def test_the_model_is_the_best_of_all_candidates_and_the_cost_counts_every_step():
    job = FakeJob(noise=0.02)
    trained = sf.find_and_train(job, seed=3)
    assert trained.val_loss == min(c.val_loss for c in trained.candidates) == job.evaluate(trained.run)
    assert trained.cost == job.steps / job.total_steps
    assert trained.steps == trained.run.step
    assert trained.learning_rate == trained.run.rate
    assert {c.origin.split(",")[0] for c in trained.candidates} == {"the real run", "a fork of the search"}


def test_more_rate_late_wins_where_speed_is_what_lacks():
    job = Steep()
    trained = sf.find_and_train(job, seed=0)
    late = round(5 / 8 * job.total_steps)
    assert trained.origin == f"the real run, its rate x 2.8 from step {late}"
    wanted = from_scratch(job, trained.learning_rate, seed=0, until=job.total_steps, late=(late, 2.8))
    assert trained.val_loss == pytest.approx(wanted, rel=1e-12)


def test_a_run_that_gets_worse_is_stopped_and_its_best_look_is_kept():
    job = Overfitting()
    found = sf.find(job, seed=0)
    spent = job.steps
    best = found.train(keep="best")
    steps = job.steps - spent
    assert steps < job.total_steps - round((found.spent - found.cost) * job.total_steps)
    assert best.val_loss < found.train(keep="last").val_loss <= found.train().val_loss
    assert best.val_loss == job.evaluate(best.run)
    assert max(c.step for c in best.candidates if c.origin == "the real run") < job.total_steps


def test_last_keeps_only_what_has_come_to_the_end_of_its_schedule():
    job = Overfitting()
    trained = sf.find_and_train(job, seed=0, keep="last")
    assert all(c.is_annealed for c in trained.candidates)
    assert trained.val_loss == min(c.val_loss for c in trained.candidates)
    assert trained.origin.startswith("a fork of the search, annealed from step ")
    assert trained.steps == trained.run.step < job.total_steps


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_fork_that_is_only_in_the_log_is_trained_again(tmp_path, keep):
    first = sf.find_and_train(Overfitting(), seed=0, keep=keep, run_dir=tmp_path)
    job = Overfitting()
    again = sf.find_and_train(job, seed=0, keep=keep, run_dir=tmp_path)
    assert (again.val_loss, again.steps, again.origin) == (first.val_loss, first.steps, first.origin)
    assert again.val_loss == job.evaluate(again.run)


@pytest.mark.parametrize("budget", [1.4, 2.0, 3.0])
def test_what_a_race_has_trained_of_the_real_run_is_gone_on_from(budget):
    job = FakeJob(noise=0.01)
    trained = sf.find_and_train(job, seed=1, budget=budget)
    assert trained.val_loss == job.evaluate(trained.run) == min(c.val_loss for c in trained.candidates)
    assert trained.cost == job.steps / job.total_steps


def test_the_answer_can_be_trained_in_several_ways_and_stays_what_it_is():
    job = FakeJob(noise=0.01)
    found = sf.find(job, seed=2)
    results = [found.train(keep=keep, late_rates=late) for keep in ("last", "best") for late in ((), (1.41, 2.0))]
    assert found.train().val_loss == from_scratch(job, found.learning_rate, seed=2, until=job.total_steps)
    assert [len({c.origin for c in r.candidates if c.origin.startswith("the real")}) for r in results] == [1, 3, 1, 3]
    assert found.train().candidates == (
        Candidate("the real run", found.learning_rate, job.total_steps, found.train().val_loss),
    )


def test_progress_ends_at_what_was_expected():
    told = []
    sf.find_and_train(FakeJob(), seed=0, on_progress=told.append)
    assert told[-1].phase == "train"
    assert told[-1].spent == told[-1].expected
    assert all(p.spent <= p.expected for p in told)


def test_a_sibling_that_breaks_down_costs_nothing_but_its_steps():
    class Brittle(FakeJob):
        def advance(self, run, factors):
            losses = super().advance(run, factors)
            run.is_broken = run.is_broken or max(factors, default=0.0) > 1.0
            return losses

    job = Brittle(schedule=sf.constant())
    trained = sf.find_and_train(job, seed=0)
    assert math.isfinite(trained.val_loss)
    assert "its rate" not in trained.origin
    late = [c for c in trained.candidates if "its rate" in c.origin]
    assert late
    assert not any(math.isfinite(c.val_loss) for c in late)


def test_ctrl_c_ends_it_and_the_search_goes_on_from_its_run_directory(tmp_path):
    class Interrupt:
        calls = 0

        def __call__(self, progress):
            self.calls += 1
            if self.calls == 60:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sf.find_and_train(FakeJob(), seed=0, run_dir=tmp_path, on_progress=Interrupt())
    job = FakeJob()
    trained = sf.find_and_train(job, seed=0, run_dir=tmp_path)
    assert trained.val_loss == sf.find_and_train(FakeJob(), seed=0).val_loss


def test_wrong_arguments():
    with pytest.raises(sf.ArgumentError, match=r"`find_and_train\(keep='end'\)`"):
        sf.find_and_train(FakeJob(), keep="end")
    with pytest.raises(sf.ArgumentError, match=r"job.*must be a job that can be forked"):
        sf.find_and_train(function_job())
    found = sf.find(FakeJob())
    with pytest.raises(sf.ArgumentError, match="keep"):
        found.train(keep="first")
    with pytest.raises(sf.ArgumentError, match=r"late_rates.*keep='last' or 'best'"):
        found.train(late_rates=[2.0])
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(sf.ArgumentError, match="late_rates"):
            found.train(keep="best", late_rates=[wrong])
