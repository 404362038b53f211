import copy
import itertools
import json
import math
import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import surefoot as sf
from surefoot.search import CommandJob, Found, Job

from .fakes import Failing, FakeJob, Nan, Still, function_job

SEARCHED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
BUDGETS = (0.3, 1.0, 1.4, 2.0, 3.0)


def octaves(one, two):
    return abs(math.log2(one / two))


def check_answer(found, job, budget):
    low, high = found.interval
    assert 0 < low <= found.learning_rate <= high < math.inf
    assert found.cost <= 1.1 * budget + 1e-9
    assert found.spent >= found.cost
    assert found.is_complete
    assert found.confidence in ("high", "medium", "low")
    broken = [t.learning_rate for t in found.trials if t.outcome == "diverged"]
    assert found.learning_rate < min(broken, default=math.inf)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["learning_rate"] == found.learning_rate
    assert sum(t.steps for t in found.trials) == round(found.spent * job.total_steps)
    assert isinstance(job, Job)


@SEARCHED
@given(
    best=st.floats(-20, 2),
    curvature=st.floats(0.02, 0.15),
    noise=st.floats(0, 0.03),
    edge=st.floats(1.0, 7.0),
    budget=st.sampled_from(BUDGETS),
    total_steps=st.integers(30, 5000),
    seed=st.integers(0, 5),
)
def test_keeps_to_the_budget_and_below_the_edge(best, curvature, noise, edge, budget, total_steps, seed):
    job = FakeJob(best=best, curvature=curvature, noise=noise, edge=edge, total_steps=total_steps)
    check_answer(sf.find(job, budget=budget, seed=seed), job, budget)


def test_a_short_job_keeps_to_the_budget_of_a_race():
    job = FakeJob(best=0.0, curvature=0.125, edge=1.0, total_steps=135)
    check_answer(sf.find(job, budget=1.4, seed=0), job, 1.4)


def test_a_loss_that_never_moves_is_refused_within_the_budget():
    job = Still()
    with pytest.raises(sf.JobError):
        sf.find(job, seed=0)
    assert job.steps <= 1.1 * job.total_steps


@SEARCHED
@given(
    best=st.floats(-16, -2), noise=st.floats(0, 0.03), edge=st.floats(2, 8), budget=st.sampled_from(BUDGETS), total_steps=st.integers(100, 5000),
)  # fmt: skip
def test_keeps_to_the_budget_where_nothing_can_be_forked(best, noise, edge, budget, total_steps):
    job = function_job(best=best, noise=noise, edge=edge, total_steps=total_steps)
    check_answer(sf.find(job, budget=budget, seed=0), job, budget)


@SEARCHED
@given(low=st.floats(-18, -4), width=st.floats(0.05, 6), budget=st.sampled_from(BUDGETS), noise=st.floats(0, 0.03))
def test_stays_within_the_bounds(low, width, budget, noise):
    job = FakeJob(noise=noise, edge=6.0)
    bounds = (2.0**low, 2.0 ** (low + width))
    found = sf.find(job, budget=budget, seed=0, bounds=bounds)
    slack = 1.006  # rates have three digits
    rates = [found.learning_rate, *found.interval, *(t.learning_rate for t in found.trials)]
    assert bounds[0] / slack <= min(rates)
    assert max(rates) <= bounds[1] * slack


@pytest.mark.parametrize("budget", [1.0, 2.0])
@pytest.mark.parametrize("best", [-13.0, -8.0, -3.0])
def test_a_start_that_is_wrong_by_a_factor_of_1000_finds_the_same_valley(best, budget):
    answers = [
        sf.find(FakeJob(best=best), budget=budget, seed=0, learning_rate=2.0**best * wrong).learning_rate
        for wrong in (1.0, 1e-3, 1e3)
    ]
    if budget == 1.0:  # a race has a resolution of about an octave: its candidates stand where the belief puts them
        assert octaves(answers[0], answers[1]) <= 0.7
        assert octaves(answers[0], answers[2]) <= 0.7
    assert max(octaves(answer, 2.0**best) for answer in answers) <= 1.0


@pytest.mark.parametrize("make", [lambda: FakeJob(noise=0.02), function_job])
@pytest.mark.parametrize("budget", BUDGETS)
def test_the_same_seed_gives_the_same_answer_bit_for_bit(make, budget):
    one, two = (sf.find(make(), budget=budget, seed=3).to_dict() for _ in range(2))
    assert one == two
    assert sf.find(FakeJob(noise=0.02), budget=budget, seed=4).to_dict() != one


@pytest.mark.parametrize("shift", [-2.0, -10.0, -1000.0])
def test_negative_losses_work(shift):
    found = sf.find(FakeJob(shift=shift), seed=0)
    assert octaves(found.learning_rate, 2.0**-8) <= 2.0
    assert found.cost <= 1.1


# ---- jobs that cannot be searched -----------------------------------------------------------------------------------


def test_a_loss_that_never_moves_is_refused_in_plain_words():
    with pytest.raises(
        sf.JobError, match=r"is 2\.3 at every rate .*: training changes nothing\. Check that the optimizer"
    ):
        sf.find(Still(), seed=0)


@pytest.mark.parametrize("budget", BUDGETS)
def test_nan_from_the_first_step_is_refused_in_plain_words(budget):
    with pytest.raises(sf.JobError, match="diverged or failed, so there is nothing to choose from"):
        sf.find(Nan(), budget=budget, seed=0)


def test_nan_before_the_first_step_is_refused_at_once():
    job = FakeJob(initial=math.nan)
    with pytest.raises(sf.JobError, match="is nan before any training"):
        sf.find(job, seed=0)
    assert job.steps == 0


def test_a_job_that_diverges_at_every_rate_is_refused():
    with pytest.raises(sf.JobError, match="Check one training run by itself at a very small rate"):
        sf.find(FakeJob(edge=-100.0), seed=0)


def test_trials_that_all_fail_stop_the_search_with_the_first_reason():
    with pytest.raises(sf.JobError, match=r"every trial failed\. The first: no GPU is left"):
        sf.find(Failing(), seed=0)


def test_losses_that_do_not_match_the_factors_are_refused():
    class Mean(FakeJob):
        def advance(self, run, factors):
            return super().advance(run, factors)[:1]

    with pytest.raises(sf.JobError, match=r"given 5 factors and returned 1 losses\. Return one training loss per step"):
        sf.find(Mean(), seed=0)


def test_a_job_that_reports_no_training_losses_is_searched():
    class Silent(FakeJob):
        def advance(self, run, factors):
            super().advance(run, factors)
            return []

    found = sf.find(Silent(), seed=0)
    assert octaves(found.learning_rate, 2.0**-8) <= 2.0
    assert found.spent <= 1.5


# ---- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"budget": 0}, "`find(budget=0)`: budget must be a finite number above 0.0. Use 1.0 for the cost of one run."),
        ({"budget": -1.0}, "budget must be a finite number above 0"),
        ({"budget": math.nan}, "`find(budget=nan)`"),
        ({"budget": math.inf}, "`find(budget=inf)`"),
        ({"budget": "1"}, "`find(budget='1')`"),
        ({"budget": True}, "`find(budget=True)`"),
        ({"bounds": (0.1, 0.01)}, "bounds must be (low, high) with low below high. Swap them."),
        ({"bounds": (0.1, 0.1)}, "with low below high"),
        ({"bounds": (-0.1, 0.1)}, "bounds[0] must be a finite number above 0"),
        ({"bounds": (0.1, math.nan)}, "bounds[1]"),
        ({"bounds": (0.1,)}, "bounds must be a pair (low, high). For example"),
        ({"bounds": 0.1}, "bounds must be a pair (low, high)"),
        ({"bounds": "ab"}, "bounds must be a pair (low, high)"),
        ({"learning_rate": 0}, "learning_rate must be a finite number above 0"),
        ({"learning_rate": -1e-3}, "learning_rate must be a finite number above 0"),
        ({"learning_rate": math.nan}, "`find(learning_rate=nan)`"),
        ({"seed": -1}, "`find(seed=-1)`"),
        ({"seed": 0.5}, "`find(seed=0.5)`"),
        ({"seed": "0"}, "`find(seed='0')`"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_trained(arguments, words):
    job = FakeJob()
    with pytest.raises((sf.ArgumentError, sf.ArgumentTypeError)) as caught:
        sf.find(job, **arguments)
    assert words in str(caught.value)
    assert job.steps == 0


@pytest.mark.parametrize("verb", ["advance", "evaluate", "fork", "describe"])
def test_a_job_without_a_verb_is_refused_by_name(verb):
    class Lacking:
        def __getattr__(self, name):
            if name == verb:
                raise AttributeError(name)
            return getattr(FakeJob(), name)

    with pytest.raises(sf.ArgumentTypeError, match=f"this has no {verb}. Use TorchJob of surefoot.torch"):
        sf.find(Lacking())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"total_steps": 0}, "`find(job.total_steps=0)`"),
        ({"total_steps": 10.5}, "`find(job.total_steps=10.5)`"),
        ({"default_learning_rate": 0.0}, "`find(job.default_learning_rate=0.0)`"),
        ({"schedule": None}, "`find(job.schedule=None)`: job.schedule must be a schedule"),
        ({"describe": lambda: {"model": object()}}, "plain data that JSON can hold"),
    ],
)
def test_a_job_with_a_wrong_fact_is_refused(changes, words):
    job = FakeJob()
    for name, value in changes.items():
        setattr(job, name, value)
    with pytest.raises((sf.ArgumentError, sf.ArgumentTypeError)) as caught:
        sf.find(job)
    assert words in str(caught.value)


def test_other_things_than_jobs_are_refused():
    for job in (None, "digits", FakeJob, FakeJob.start):
        with pytest.raises(sf.ArgumentTypeError, match="job must be a job"):
            sf.find(job)


def test_extreme_rates_do_not_overflow():
    for rate in (1e-299, 1e299):
        found = sf.find(FakeJob(best=math.log2(rate) - 1), seed=0, learning_rate=rate)
        assert 0 < found.learning_rate < math.inf


# ---- what it says ---------------------------------------------------------------------------------------------------


def test_a_job_that_is_too_short_says_so_and_uses_a_grid():
    for job in (FakeJob(total_steps=60), function_job(total_steps=60)):
        found = sf.find(job, seed=0)
        assert found.method == "grid"
        assert {t.rung for t in found.trials} == {"grid"}
        assert found.confidence == "low"
        assert any("too short" in caution for caution in found.cautions)
    assert sf.find(FakeJob(total_steps=1), seed=0).learning_rate > 0


def test_schedules_other_than_the_measured_one_get_a_remark():
    def remarks(schedule):
        return [c for c in sf.find(FakeJob(schedule=schedule), seed=0).cautions if "your schedule is another" in c]

    assert not remarks(sf.linear_warmup("5%") >> sf.cosine_decay())
    assert len(remarks(sf.constant())) == 1
    assert len(remarks(sf.linear_warmup("5%") >> sf.linear_decay())) == 1


def test_evidence_is_recorded():
    found = sf.find(FakeJob(), budget=2.0, seed=0)
    assert {"bracket", "fork", "race"} == {t.rung for t in found.trials}
    finished = [t for t in found.trials if t.outcome == "finished"]
    assert all(t.best_val_loss <= t.val_loss and t.train_loss is not None and t.losses for t in finished)
    assert all(len(t.losses) <= 200 for t in found.trials)
    assert found.why
    assert found.versions["surefoot"] == sf.__version__
    assert found.schedule == FakeJob().schedule.to_dict()
    assert "learning rate" in str(found)


def test_progress_is_told_and_never_runs_backwards():
    told = []
    found = sf.find(FakeJob(), budget=2.0, seed=0, on_progress=told.append)
    assert [p.spent for p in told] == sorted(p.spent for p in told)
    assert told[-1].spent == found.spent
    assert {p.phase for p in told} == {"bracket", "fork", "race"}
    assert all(0 <= p.spent <= p.expected for p in told)


# ---- interruptions --------------------------------------------------------------------------------------------------


class InterruptAt:
    def __init__(self, number):
        self.left = number

    def __call__(self, progress):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("make", "budget"),
    [(lambda: FakeJob(edge=2.0), 1.0), (lambda: FakeJob(noise=0.02), 2.0), (lambda: function_job(edge=3.0), 1.0)],
)
def test_ctrl_c_at_any_moment_gives_the_best_answer_so_far_and_resumes_to_the_whole_one(make, budget, tmp_path):
    told = []
    whole = sf.find(make(), budget=budget, seed=0, on_progress=told.append)
    want = plain(whole)
    has_answered = False
    for number in range(0, len(told), max(1, len(told) // 40)):
        folder = tmp_path / str(number)
        try:
            found = sf.find(make(), budget=budget, seed=0, run_dir=folder, on_progress=InterruptAt(number))
        except KeyboardInterrupt:
            assert not has_answered  # once there is an answer there always is one
        else:
            has_answered = True
            low, high = found.interval
            assert not found.is_complete
            assert low <= found.learning_rate <= high
            assert found.confidence == "low"
            assert "interrupted" in found.cautions[0]
            broken = [t.learning_rate for t in found.trials if t.outcome == "diverged"]
            assert found.learning_rate < min(broken, default=math.inf)
            assert found.spent <= whole.spent + 1e-9
        assert plain(sf.find(make(), budget=budget, seed=0, run_dir=folder)) == want
    assert has_answered


def plain(found):
    return {key: value for key, value in found.to_dict().items() if key != "run_dir"}


# ---- the answer as a file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: FakeJob(edge=1.5, noise=0.01), function_job, lambda: FakeJob(total_steps=60)])
def test_an_answer_comes_back_from_its_file(make, tmp_path):
    found = sf.find(make(), budget=2.0, seed=0)
    path = found.save(tmp_path / "found.json")
    loaded = Found.load(path)
    assert loaded.to_dict() == found.to_dict()
    assert loaded == found
    loaded.report(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == found.report(tmp_path / "again.html").read_text()


def test_strange_numbers_come_back_from_the_file(tmp_path):
    import dataclasses

    found = sf.find(FakeJob(), seed=0)
    trial = dataclasses.replace(
        found.trials[0], train_loss=math.nan, val_loss=math.inf, losses=((1, math.nan), (2, -math.inf))
    )
    found = dataclasses.replace(found, trials=(trial,), cost=math.nan)
    path = found.save(tmp_path / "found.json")
    loaded = Found.load(path)
    assert math.isnan(loaded.cost)
    assert math.isnan(loaded.trials[0].train_loss)
    assert loaded.trials[0].losses[1] == (2, -math.inf)
    assert loaded.to_dict() == found.to_dict()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "surefoot.found", "version": 99}', '{"format": "surefoot.found", "version": 1}'],
)
def test_other_files_are_refused(text, tmp_path):
    path = tmp_path / "found.json"
    path.write_text(text)
    with pytest.raises(sf.StateError):
        Found.load(path)
    with pytest.raises(OSError, match="no-such"):
        Found.load(tmp_path / "no-such.json")


def test_an_answer_cannot_be_written_where_there_is_no_folder(tmp_path):
    found = sf.find(FakeJob(), seed=0)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "missing" / "found.json", tmp_path / "file" / "found.json", "/proc/found.json"):
        with pytest.raises(sf.RunDirectoryError, match="Choose a folder that exists, is writable"):
            found.save(path)
    (tmp_path / "found.json").mkdir()
    with pytest.raises(sf.RunDirectoryError):
        found.save(tmp_path / "found.json")
    assert [p.name for p in tmp_path.iterdir() if "tmp" in p.name] == []


# ---- the real run, afterwards ---------------------------------------------------------------------------------------


def from_scratch(job, rate, seed):
    run = job.start(rate, seed=seed)
    job.advance(run, job.schedule.resolve(job.total_steps).simulate(job.total_steps))
    return job.evaluate(run)


@pytest.mark.parametrize("budget", [0.3, 1.0, 2.0])
def test_train_goes_on_to_the_end_of_the_real_run(budget):
    job = FakeJob(noise=0.01)
    found = sf.find(job, budget=budget, seed=2)
    before = job.steps
    told = []
    trained = found.train(on_progress=told.append)
    assert job.steps - before == job.total_steps - round((found.spent - found.cost) * job.total_steps)
    assert trained.steps == job.total_steps == trained.run.step
    assert trained.val_loss == from_scratch(job, found.learning_rate, 2)
    assert trained.model is None
    assert told[-1].spent == 1.0
    again = found.train()
    assert (again.val_loss, again.run is trained.run) == (trained.val_loss, False)


def test_train_goes_on_from_the_checkpoint_of_a_resumed_search(tmp_path):
    found = sf.find(FakeJob(), budget=2.0, seed=0, run_dir=tmp_path)
    job = FakeJob()
    resumed = sf.find(job, budget=2.0, seed=0, run_dir=tmp_path)
    assert job.steps == 0
    assert resumed.train().val_loss == found.train().val_loss == from_scratch(job, found.learning_rate, 0)
    job.steps = 0
    resumed.train()
    assert job.steps == job.total_steps - round((found.spent - found.cost) * job.total_steps)


def test_train_needs_the_search_and_a_job_that_forks(tmp_path):
    with pytest.raises(
        sf.JobError, match=r"cannot be forked.* Start the real run yourself, with a learning rate of 0\.0"
    ):
        sf.find(function_job(), seed=0).train()
    found = sf.find(FakeJob(), seed=0)
    for other in (
        Found.load(found.save(tmp_path / "found.json")),
        pickle.loads(pickle.dumps(found)),
        copy.deepcopy(found),
        copy.copy(found),
    ):
        assert other == found
        with pytest.raises(sf.JobError, match="this answer was loaded or copied, so the runs of its search are gone"):
            other.train()
    assert "_finish" not in found.to_dict()
    assert "_finish" not in repr(found)


def test_an_interrupted_search_can_be_trained_on(tmp_path):
    for number in itertools.count(30, 20):
        job = FakeJob()
        found = sf.find(job, seed=0, on_progress=InterruptAt(number))
        if found.is_complete:
            break
        assert found.train().val_loss == from_scratch(job, found.learning_rate, 0)


@pytest.mark.parametrize("number", range(1, 12))
def test_a_search_that_is_interrupted_while_it_saves_can_be_trained_on(number, tmp_path):
    class Stopped(FakeJob):
        saves = 0

        def save(self, run, path):
            super().save(run, path)
            self.saves += 1
            if self.saves == number:
                raise KeyboardInterrupt

    job = Stopped(noise=0.01)
    found = sf.find(job, budget=2.0, seed=0, run_dir=tmp_path)
    assert found.is_complete == (job.saves < number)
    assert found.train().val_loss == from_scratch(job, found.learning_rate, 0)


def test_the_other_jobs_are_jobs():
    assert isinstance(CommandJob(["echo", "{lr}", "{steps}"], total_steps=9), Job)
    assert isinstance(FakeJob(), Job)
