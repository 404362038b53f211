"""The bridge to Optuna: sampler, pruner, and studies as records."""

import json
import math
import os
import signal
import subprocess
import sys

import pytest

import surefoot as sf

optuna = pytest.importorskip("optuna", reason='Optuna is not installed: pip install "surefoot[optuna]"')
from optuna.trial import TrialState, create_trial  # noqa: E402

from surefoot.integrations.optuna import (  # noqa: E402
    SurefootPruner,
    SurefootSampler,
    found_from_study,
    record_to_study,
)

optuna.logging.set_verbosity(optuna.logging.ERROR)
BEST = -6.0  # log2 of the best rate
SPACE = optuna.distributions.FloatDistribution(1e-6, 1.0, log=True)


def valley(rate, edge=math.inf):
    away = math.log2(rate) - BEST
    return math.inf if away > edge else 0.5 * math.exp(0.05 * away**2)


def objective(trial, edge=math.inf, sign=1.0):
    return sign * valley(trial.suggest_float("learning_rate", 1e-6, 1.0, log=True), edge)


def study(sampler=None, **settings):
    return optuna.create_study(sampler=sampler or SurefootSampler(), **settings)


def rates(of):
    return [t.params["learning_rate"] for t in of.get_trials()]


def away(of):
    return abs(math.log2(of.best_params["learning_rate"]) - BEST)


# ---- the sampler --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [1e-6, 1e-4, 1e-2, 1.0])
def test_it_finds_the_valley_from_any_start(start):
    of = study(SurefootSampler(start=start))
    of.optimize(objective, n_trials=12)
    assert away(of) < 0.5
    assert rates(of)[0] == start


@pytest.mark.parametrize("edge", [0.5, 1.0, 3.0])
def test_it_finds_the_best_rate_below_a_cliff(edge):
    of = study()
    of.optimize(lambda trial: objective(trial, edge), n_trials=14)
    assert away(of) < 1.0


def test_a_study_that_maximizes_is_the_same_upside_down():
    one, two = study(), study(direction="maximize")
    one.optimize(objective, n_trials=10)
    two.optimize(lambda trial: objective(trial, sign=-1.0), n_trials=10)
    assert rates(one) == rates(two)


def test_failed_trials_count_as_diverged():
    def breaks(trial):
        loss = objective(trial)
        if trial.params["learning_rate"] > 0.03:
            raise RuntimeError("out of memory")
        return loss

    of = study()
    of.optimize(breaks, n_trials=14, catch=(RuntimeError,))
    assert away(of) < 0.7
    assert sum(rate > 0.03 for rate in rates(of)) < 7


def test_it_remembers_nothing_so_a_new_one_goes_on_with_the_study():
    whole, parts = study(), study()
    whole.optimize(objective, n_trials=9)
    for _ in range(9):
        parts.sampler = SurefootSampler()
        parts.optimize(objective, n_trials=1)
    assert rates(parts) == rates(whole)


def test_rates_that_are_under_way_are_not_given_twice():
    of = study()
    for given in range(4):
        trials = [of.ask() for _ in range(3)]
        asked = [t.suggest_float("learning_rate", 1e-6, 1.0, log=True) for t in trials]
        assert len(set(asked)) == 3, given
        for trial, rate in zip(trials, asked, strict=True):
            of.tell(trial, valley(rate))
    assert away(of) < 0.7


def test_no_rate_leaves_the_range_and_a_narrow_one_is_no_trouble():
    for low, high in ((1e-3, 2e-3), (1e-3, 1e-3), (1.23456e-5, 7.6543e-5)):
        of = study()
        of.optimize(
            lambda trial, lo=low, hi=high: valley(trial.suggest_float("learning_rate", lo, hi, log=True)), n_trials=10
        )
        assert all(low <= rate <= high for rate in rates(of))


def test_trials_of_other_samplers_are_used():
    of = study(optuna.samplers.RandomSampler(seed=1))
    of.optimize(objective, n_trials=20)
    of.sampler = SurefootSampler()
    of.optimize(objective, n_trials=6)
    assert away(of) < 0.5


def test_enqueued_trials_are_taken_as_they_are():
    of = study()
    of.enqueue_trial({"learning_rate": 0.3})
    of.optimize(objective, n_trials=3)
    assert rates(of)[0] == 0.3


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_other_parameters_are_the_other_samplers():
    def with_more(trial):
        width = trial.suggest_int("width", 1, 8)
        return objective(trial) * (1 + 0.01 * width)

    of = study(SurefootSampler(others=optuna.samplers.TPESampler(seed=0, multivariate=True, n_startup_trials=3)))
    of.optimize(with_more, n_trials=15)
    assert {t.params["width"] for t in of.trials} > {1}
    assert away(of) < 1.0
    again = study(SurefootSampler(seed=3)), study(SurefootSampler(seed=3))
    for one in again:
        one.optimize(with_more, n_trials=8)
    assert [t.params for t in again[0].trials] == [t.params for t in again[1].trials]


def test_another_name_for_the_rate():
    of = study(SurefootSampler("lr"))
    of.optimize(lambda trial: valley(trial.suggest_float("lr", 1e-6, 1.0, log=True)), n_trials=10)
    assert abs(math.log2(of.best_params["lr"]) - BEST) < 0.5


def test_ten_trials_of_ours_are_better_than_twenty_of_tpe():
    """Mean regret over 20 seeds of noise of 2 %; the first ten of TPE are drawn at random."""

    def regret(sampler, seed, trials):
        noise = {}

        def noisy(trial):
            rate = trial.suggest_float("learning_rate", 1e-6, 1.0, log=True)
            factor = noise.setdefault(rate, math.exp(0.02 * math.sin(1e4 * math.log(rate) * (seed + 1))))
            return valley(rate) * factor

        of = optuna.create_study(sampler=sampler)
        of.optimize(noisy, n_trials=trials)
        return valley(of.best_params["learning_rate"]) / 0.5 - 1

    ours = [regret(SurefootSampler(start=1e-4), seed, 10) for seed in range(20)]
    theirs = [regret(optuna.samplers.TPESampler(seed=seed), seed, 20) for seed in range(20)]
    assert sum(ours) < sum(theirs)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"param": ""}, "param must be the name"),
        ({"param": None}, "param must be the name"),
        ({"start": 0.0}, "start must be"),
        ({"start": math.nan}, "start must be"),
        ({"start": "1e-3"}, "start must be"),
        ({"seed": -1}, "seed must be"),
        ({"seed": 0.5}, "seed must be"),
        ({"others": "tpe"}, "others must be a sampler"),
    ],
)
def test_a_sampler_refuses_wrong_arguments(settings, words):
    with pytest.raises((sf.ArgumentError, sf.ArgumentTypeError), match=words):
        SurefootSampler(**settings)


@pytest.mark.parametrize(
    ("suggest", "words"),
    [
        (lambda t: t.suggest_float("learning_rate", 0.0, 1.0), "in a range above 0"),
        (lambda t: t.suggest_float("learning_rate", 0.1, 1.0, step=0.1), "a float without a step"),
        (lambda t: t.suggest_int("learning_rate", 1, 9), "a float without a step"),
        (lambda t: t.suggest_categorical("learning_rate", [0.1, 0.2]), "a float without a step"),
    ],
)
def test_a_range_that_cannot_be_searched_is_said_at_the_first_trial(suggest, words):
    with pytest.raises((sf.ArgumentError, sf.ArgumentTypeError), match=words):
        study().optimize(suggest, n_trials=1)


def test_several_objectives_are_refused():
    of = study(directions=["minimize", "minimize"])
    with pytest.raises(sf.ArgumentError, match="one objective"):
        of.optimize(lambda trial: (objective(trial), 1.0), n_trials=1)


# ---- the pruner ---------------------------------------------------------------------------------------------------


def judged(*others, rate=1e-3, reports=(), direction="minimize"):
    """Return whether a trial is pruned beside others, each (rate, {step: loss})."""
    of = optuna.create_study(direction=direction)
    for other, losses in others:
        trial = create_trial(
            params={"learning_rate": other},
            distributions={"learning_rate": SPACE},
            intermediate_values=losses,
            value=list(losses.values())[-1],
        )
        of.add_trial(trial)
    trial = create_trial(
        state=TrialState.RUNNING,
        params={"learning_rate": rate},
        distributions={"learning_rate": SPACE},
        intermediate_values=dict(reports),
    )
    return SurefootPruner(total_steps=100).prune(of, trial)


GOOD = (1e-2, {10: 1.0, 20: 0.8, 50: 0.5, 75: 0.4})


def test_a_trial_that_blew_up_is_stopped_at_once():
    assert judged(reports={1: math.nan})
    assert judged(reports={1: 2.3, 2: math.inf})
    assert judged(reports={1: 2.3, 2: 4.7})
    assert not judged(reports={1: 2.3, 2: 4.5})
    assert judged(reports={1: -1.0, 2: 0.5})
    assert not judged(reports={1: -1.0, 2: -3.0})


def test_early_only_a_lower_rate_is_stopped():
    assert judged(GOOD, rate=1e-3, reports={1: 2.3, 20: 1.6})
    assert not judged(GOOD, rate=1e-3, reports={1: 2.3, 20: 1.2})
    assert not judged(GOOD, rate=1e-1, reports={1: 2.3, 20: 1.6})
    assert not judged(GOOD, rate=1e-3, reports={1: 2.3, 10: 2.2})  # before an eighth nobody is


def test_from_half_on_everybody_is_judged_with_something_off_for_a_higher_rate():
    assert judged(GOOD, rate=1e-3, reports={1: 2.3, 50: 0.62})
    assert not judged(GOOD, rate=1e-3, reports={1: 2.3, 50: 0.6})
    assert judged(GOOD, rate=2e-2, reports={1: 2.3, 50: 0.65})
    assert not judged(GOOD, rate=4e-2, reports={1: 2.3, 50: 0.65})
    assert not judged(GOOD, rate=1e-3, reports={1: 2.3, 50: 0.4})


def test_without_others_at_the_step_nobody_is_stopped():
    assert not judged(reports={1: 2.3, 50: 2.2})
    assert not judged(GOOD, reports={1: 2.3, 51: 2.2})
    assert not judged(reports={})


def test_a_study_that_maximizes_is_pruned_by_the_negative():
    assert judged(direction="maximize", reports={1: -2.3, 2: -4.7})
    good = (1e-2, {50: -0.5})
    assert judged(good, direction="maximize", reports={1: -2.3, 50: -0.65})
    assert not judged(good, direction="maximize", reports={1: -2.3, 50: -0.55})


@pytest.mark.parametrize(("settings", "words"), [
    ({"total_steps": 0}, "total_steps must be"),
    ({"total_steps": 1.5}, "total_steps must be"),
    ({"total_steps": 9, "param": 3}, "param must be"),
])  # fmt: skip
def test_a_pruner_refuses_wrong_arguments(settings, words):
    with pytest.raises((sf.ArgumentError, sf.ArgumentTypeError), match=words):
        SurefootPruner(**settings)


def curve(rate, step, steps=100):
    """A run whose loss falls; a high rate looks worse until the decay."""
    away = math.log2(rate) - BEST
    if away > 4:
        return 2.3 * 1.5**step
    return 2.3 * math.exp(
        -1.5 * (step / steps) ** 0.5 * math.exp(-0.05 * away**2) + 0.04 * max(away, 0) * (1 - step / steps)
    )


def trained_by(sampler, pruner):
    """Return a study of twelve runs on the curve, and the steps that it took."""
    steps = [0]

    def trains(trial):
        rate = trial.suggest_float("learning_rate", 1e-6, 1.0, log=True)
        for step in range(5, 101, 5):
            steps[0] += 5
            loss = curve(rate, step)
            trial.report(loss, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return loss

    of = optuna.create_study(sampler=sampler, pruner=pruner)
    of.optimize(trains, n_trials=12)
    return of, steps[0]


def test_sampler_and_pruner_together_stop_losers_and_keep_the_best():
    of, steps = trained_by(SurefootSampler(start=1.0), SurefootPruner(total_steps=100))
    assert away(of) < 0.5
    assert of.trials[0].state == TrialState.PRUNED
    assert steps <= 11 * 100


@pytest.mark.parametrize("seed", range(5))
def test_the_pruner_saves_steps_of_any_sampler_and_loses_no_winner(seed):
    whole, all_steps = trained_by(optuna.samplers.RandomSampler(seed=seed), optuna.pruners.NopPruner())
    pruned, steps = trained_by(optuna.samplers.RandomSampler(seed=seed), SurefootPruner(total_steps=100))
    assert pruned.best_params == whole.best_params
    assert steps < 0.85 * all_steps


# ---- studies as records -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found():
    def train(learning_rate, steps, seed):
        return valley(learning_rate, edge=5.0) + 1 / steps

    return sf.find(sf.FunctionJob(train, total_steps=640), budget=2.0)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'studies.db'}"


def test_an_answer_goes_into_sqlite_and_comes_back_the_same(found, url):
    record_to_study(found, optuna.create_study(study_name="mine", storage=url))
    again = found_from_study(optuna.load_study(study_name="mine", storage=url))
    assert again == found
    assert again.to_dict() == found.to_dict()


def test_its_trials_are_optunas(found, url):
    of = optuna.create_study(storage=url)
    record_to_study(found, of, enqueue=False)
    assert len(of.trials) == len(found.trials)
    for ours, theirs in zip(found.trials, of.trials, strict=True):
        assert theirs.params == {"learning_rate": ours.learning_rate}
        assert theirs.user_attrs["surefoot.rung"] == ours.rung
        if ours.outcome == "diverged":
            assert theirs.state == TrialState.FAIL
        elif ours.horizon == found.total_steps:
            assert (theirs.state, theirs.value) == (TrialState.COMPLETE, ours.val_loss)
        else:
            assert theirs.state == TrialState.PRUNED
            assert theirs.intermediate_values == dict(ours.val_losses)


def test_the_found_rate_is_the_next_trial(found):
    of = study(optuna.samplers.RandomSampler(seed=0))
    record_to_study(found, of)
    of.optimize(objective, n_trials=1)
    assert of.trials[-1].params["learning_rate"] == found.learning_rate


def test_a_record_is_not_overwritten_and_not_turned_around(found):
    of = study()
    record_to_study(found, of)
    with pytest.raises(sf.ArgumentError, match="without an answer"):
        record_to_study(found, of)
    with pytest.raises(sf.ArgumentError, match="that minimizes"):
        record_to_study(found, study(direction="maximize"))
    with pytest.raises(sf.ArgumentTypeError, match="a Found"):
        record_to_study(found.to_dict(), study())


@pytest.mark.parametrize("record", ["text", 3, {}, {"format": "surefoot.found", "version": 1}, {"format": "other"}])
def test_a_damaged_record_is_said(record):
    of = study()
    of.set_user_attr("surefoot.found", record)
    with pytest.raises(sf.StateError):
        found_from_study(of)


def test_a_study_of_anybody_gives_an_answer():
    of = study(optuna.samplers.RandomSampler(seed=4))
    of.optimize(objective, n_trials=25)
    found = found_from_study(of, total_steps=500, schedule=sf.cosine_decay())
    assert abs(math.log2(found.learning_rate) - BEST) < 0.5
    low, high = found.interval
    assert low < 2.0**BEST < high
    assert (found.method, found.spent, found.total_steps, len(found.trials)) == ("study", 25.0, 500, 25)
    assert sf.Found.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_pruned_and_failed_trials_are_part_of_it():
    of = study(optuna.samplers.RandomSampler(seed=4))

    def prunes(trial):
        loss = objective(trial, edge=4.0)
        trial.report(loss, 10)
        if loss > 2.0:
            raise optuna.TrialPruned
        return loss

    of.optimize(prunes, n_trials=20)
    found = found_from_study(of, total_steps=100)
    assert {t.outcome for t in found.trials} >= {"abandoned", "finished"}
    assert found.spent < 20.0
    assert abs(math.log2(found.learning_rate) - BEST) < 0.7


def test_the_answer_of_a_study_can_be_drawn_and_reported(tmp_path):
    of = study()
    of.optimize(objective, n_trials=8)
    found = found_from_study(of)
    assert found.report(tmp_path / "report.html").stat().st_size > 1000
    assert found.plot(tmp_path / "plot.svg").stat().st_size > 1000


def test_a_study_without_a_loss_has_no_answer():
    of = study()
    with pytest.raises(sf.StateError, match="no trial"):
        found_from_study(of)
    of.optimize(lambda trial: objective(trial, edge=-99.0), n_trials=3)
    with pytest.raises(sf.StateError, match="no trial"):
        found_from_study(of)
    with pytest.raises(sf.StateError, match="no trial"):
        found_from_study(of, param="lr")


def test_few_trials_are_a_guess_and_say_so():
    of = study()
    of.optimize(objective, n_trials=2)
    found = found_from_study(of)
    assert found.confidence == "low"
    assert any("Only 2 trials" in caution for caution in found.cautions)


@pytest.mark.parametrize(("settings", "words"), [
    ({"total_steps": 0}, "total_steps must be"),
    ({"schedule": 3}, "schedule must be"),
    ({"param": ""}, "param must be"),
])  # fmt: skip
def test_found_from_study_refuses_wrong_arguments(settings, words):
    with pytest.raises((sf.ArgumentError, sf.ArgumentTypeError), match=words):
        found_from_study(study(), **settings)


WORKER = """
import math, os, signal, sys
import optuna
from surefoot.integrations.optuna import SurefootSampler
optuna.logging.set_verbosity(optuna.logging.ERROR)
url, kills = sys.argv[1], int(sys.argv[2])
def objective(trial):
    rate = trial.suggest_float("learning_rate", 1e-6, 1.0, log=True)
    if trial.number == kills:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0.5 * math.exp(0.05 * (math.log2(rate) + 6.0) ** 2)
study = optuna.create_study(study_name="shared", storage=url, sampler=SurefootSampler(), load_if_exists=True)
study.optimize(objective, n_trials=6)
"""


def test_a_killed_worker_costs_its_trial_and_the_next_one_goes_on(url):
    def work(kills):
        return subprocess.run(
            [sys.executable, "-c", WORKER, url, str(kills)], check=False, env=dict(os.environ)
        ).returncode

    assert work(3) == -signal.SIGKILL
    assert work(-1) == 0
    of = optuna.load_study(study_name="shared", storage=url)
    assert [t.state for t in of.trials][3] == TrialState.RUNNING  # Optuna's own heartbeat would say that it failed
    done = [t for t in of.trials if t.state == TrialState.COMPLETE]
    assert len(done) == 9
    assert len({t.params["learning_rate"] for t in of.trials}) == 10
    assert away(of) < 0.5
