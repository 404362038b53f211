"""Methods compared: who is stopped, what it costs, what is said, what it survives."""

import dataclasses
import itertools
import json
import math
import os
import pickle
import random
import signal

import pytest

import surefoot as sf
from surefoot.search import Compared, TrialFailed
from surefoot.search._verdict import is_clear

from .fakes import FakeJob, function_job

TRAITS = {
    "adam": {},
    "sgd": {"gain": 1.55},
    "lion": {"best": -14.0, "gain": 1.5},
    "free": {"best": 0.0, "gain": 1.58},
    "slow": {"best": 0.0, "gain": 0.3},
    "wild": {"best": -9.0, "edge": 4.0},  # the factor 1 blows it up
    "still": {"best": 60.0},
}
FREE = {"free", "slow", "wild", "still"}


@dataclasses.dataclass
class Many(FakeJob):
    """A fake job with several optimizers; all count their steps in one place."""

    optimizer_name: str = "adam"
    is_learning_rate_free: bool = False
    counter: list = dataclasses.field(default_factory=lambda: [0])

    def with_optimizer(self, optimizer):
        if optimizer not in TRAITS:
            raise sf.ArgumentError(f"no optimizer {optimizer}")
        free = optimizer in FREE
        changes = {"default_learning_rate": 1.0 if free else 1e-3, "is_learning_rate_free": free, **TRAITS[optimizer]}
        return dataclasses.replace(self, optimizer_name=optimizer, **changes)

    def advance(self, run, factors):
        losses = super().advance(run, factors)
        self.counter[0] += len(losses)
        return losses

    def describe(self):
        return {**super().describe(), "optimizer": self.optimizer_name}


def compare(*methods, job=None, **settings):
    return sf.find(job or Many(noise=0.01), methods=methods, **settings)


def plain(compared):
    skipped = {"run_dir", "found"}
    found = {name: {**f.to_dict(), "run_dir": None} for name, f in compared.found.items()}
    return {**{k: v for k, v in compared.to_dict().items() if k not in skipped}, "found": found}


def test_the_best_is_recommended_and_the_table_is_in_order():
    compared = compare("lion", "adam", "free")
    assert compared.best == "adam"
    assert [r.method for r in compared.table] == ["adam", "free", "lion"]
    assert set(compared.found) == {"adam", "lion"}
    assert compared.learning_rate == compared.found["adam"].learning_rate
    assert {r.outcome for r in compared.table} == {"finished"}
    assert "adam" in compared.why[0]


def test_each_searched_rate_is_that_of_find_alone():
    compared = compare("adam", "lion")
    for name in ("adam", "lion"):
        alone = sf.find(Many(noise=0.01).with_optimizer(name))
        assert compared.found[name].to_dict() == alone.to_dict()


def test_a_method_without_a_rate_costs_no_search():
    compared = compare("adam", "free")
    assert (compared["free"].search_cost, compared["free"].learning_rate) == (0.0, 1.0)
    assert compared["adam"].search_cost > 0.5
    assert not compared["free"].is_tuned


@pytest.mark.parametrize("budget", [0.5, 1.0, 1.4, 2.0, 3.0])
@pytest.mark.parametrize(
    "methods", [("adam", "free"), ("adam", "lion"), ("free", "slow"), ("adam", "sgd", "lion", "free")]
)
def test_the_common_budget_is_kept_and_the_cost_is_what_was_trained(methods, budget):
    job = Many(noise=0.02)
    compared = compare(*methods, job=job, budget=budget)
    assert compared.allowed == len(methods) * (budget + 1.0)
    assert compared.cost <= 1.12 * compared.allowed
    assert compared.cost == pytest.approx(job.counter[0] / job.total_steps)
    assert compared.cost == pytest.approx(sum(r.cost for r in compared.table))


def test_who_is_far_behind_is_stopped_early_and_says_why():
    compared = compare("adam", "free", "slow")
    slow = compared["slow"]
    assert (slow.outcome, slow.val_loss) == ("stopped", None)
    assert slow.cost <= 0.65  # at half, and two annealed copies
    assert "validation loss is" in slow.note
    assert any("slow" in caution for caution in compared.cautions)


def test_two_that_are_close_are_trained_with_further_seeds():
    compared = compare("adam", "free", "slow", job=Many(noise=0.05), budget=2.0)
    more = [r for r in compared.table if len(r.val_losses) > 1]
    assert [r.method for r in compared.table[:2]] == [r.method for r in more]
    assert [seed for seed, _ in more[0].val_losses] == [0, 1, 2]
    assert more[0].val_loss == pytest.approx(sum(v for _, v in more[0].val_losses) / 3)
    assert "seeds" in compared.why[0]


def test_two_that_are_the_same_cannot_be_told_apart():
    class Twins(Many):
        def with_optimizer(self, optimizer):
            twin = super().with_optimizer("free")
            twin.noise = 0.2
            twin.name = optimizer
            return twin

        def _loss(self, run):
            luck = 0.05 * (1 if (run.seed % 2) == (self.name == "a") else -1)
            return super()._loss(dataclasses.replace(run, seed=0)) * math.exp(luck)

    compared = compare("a", "b", job=Twins(), budget=3.0)
    assert len(compared.table[0].val_losses) == 3
    assert "cannot be told apart" in compared.why[0]
    assert any("cannot be told apart" in caution for caution in compared.cautions)


def test_a_difference_that_is_clear_is_called_so():
    compared = compare("adam", "free", job=Many(), budget=3.0)  # without noise, so every seed says the same
    best, other = (dict(r.val_losses) for r in compared.table)
    assert len(best) > 1
    assert is_clear([(best[seed], other[seed]) for seed in best])
    assert "has the lowest validation loss" in compared.why[0]


@pytest.mark.parametrize("shift", [1.0, 0.0, -0.5])
def test_a_clear_difference_is_that_of_a_paired_t_test(shift):
    stats = pytest.importorskip("scipy.stats")
    rng = random.Random(0)
    seen = set()
    for _ in range(200):
        pairs = [(shift + rng.uniform(0.1, 1.0), shift + rng.uniform(0.1, 1.6)) for _ in range(rng.choice([2, 3]))]
        is_positive = all(v > 0 for pair in pairs for v in pair)
        a, b = zip(*([[math.log(v) for v in pair] for pair in pairs] if is_positive else pairs), strict=True)
        p = stats.ttest_rel(b, a, alternative="greater").pvalue
        if abs(p - 0.05) > 1e-3:
            assert is_clear(pairs) == (p < 0.05)
            seen.add(is_clear(pairs))
    assert seen == {True, False}


def test_three_seeds_that_agree_by_chance_are_not_called_clear():
    """Momentum SGD against AdamW on the bundled digits, 1000 steps, seeds 3 to 5: on fifteen seeds it is no better."""
    assert not is_clear([(0.0435, 0.0529), (0.0536, 0.0565), (0.0314, 0.0524)])


def test_a_method_that_diverges_is_a_line_of_the_table():
    compared = compare("adam", "wild")
    assert compared.best == "adam"
    assert compared["wild"].outcome == "diverged"
    assert "broke down" in compared["wild"].note
    assert compared["wild"].cost < 0.2
    assert "diverged at step" in str(compared)


def test_a_method_that_is_stuck_is_told():
    compared = compare("adam", "still")
    assert compared["still"].outcome == "stopped"
    assert "hardly moved" in compared["still"].note


def test_a_search_that_fails_is_a_line_of_the_table():
    class Broken(Many):
        def advance(self, run, factors):
            if self.optimizer_name == "lion":
                raise TrialFailed("no kernel for it")
            return super().advance(run, factors)

    compared = compare("adam", "lion", job=Broken())
    assert compared["lion"].outcome == "failed"
    assert "no kernel" in compared["lion"].note
    assert math.isnan(compared["lion"].learning_rate)
    assert Compared.from_dict(compared.to_dict()).to_dict() == compared.to_dict()
    assert any("failed" in caution for caution in compared.cautions)


def test_a_method_without_a_rate_that_fails_is_a_line_too():
    class Broken(Many):
        def advance(self, run, factors):
            if self.optimizer_name == "free":
                raise TrialFailed("no kernel for it")
            return super().advance(run, factors)

    compared = compare("adam", "free", job=Broken())
    assert (compared["free"].outcome, compared["free"].note) == ("failed", "no kernel for it")


def test_if_nobody_comes_to_the_end_that_is_an_error():
    with pytest.raises(sf.JobError, match=r"no method came to the end .* wild: diverged"):
        compare("wild", "wilder", job=_Wilder())


class _Wilder(Many):
    def with_optimizer(self, optimizer):
        return super().with_optimizer("wild")


def test_a_job_that_cannot_fork_is_compared_by_whole_runs():
    compared = compare("adam", "slow", job=Many(can_fork=False))
    assert compared.best == "adam"
    assert compared["slow"].outcome == "finished"
    assert compared.cost <= 1.12 * compared.allowed
    with pytest.raises(sf.JobError, match="cannot be forked"):
        compared.train()


@pytest.mark.parametrize("total", [1, 2, 5, 20, 33, 100])
def test_a_run_of_any_length_has_an_answer(total):
    compared = compare("adam", "free", job=Many(total_steps=total), budget=2.0)
    assert compared.best in {"adam", "free"}
    assert all(r.step == total for r in compared.table if r.outcome == "finished")


def test_the_model_of_the_best_is_there():
    job = Many(noise=0.01)
    compared = compare("adam", "free", job=job)
    before = job.counter[0]
    one, two = compared.train(), compared.train()
    assert job.counter[0] == before  # its real run has been trained
    assert one.steps == job.total_steps
    assert one.val_loss == dict(compared.table[0].val_losses)[0]
    assert one.run is not two.run


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": "adam"}, "methods must be a list of optimizers' names"),
        ({"methods": 3}, "methods must be a list"),
        ({"methods": {"adam": 1}}, "methods must be a list"),
        ({"methods": []}, "at least two"),
        ({"methods": ["adam"]}, "at least two"),
        ({"methods": ["adam", None]}, "a list of optimizers' names"),
        ({"methods": ["adam", "free", "adam"]}, "'adam' is there twice"),
        ({"methods": ["adam", "adan"]}, "no optimizer adan"),
        ({"methods": ["adam", "free"], "learning_rate": 0.1}, "learning_rate must be left out"),
        ({"methods": ["adam", "free"], "bounds": (0.1, 1.0)}, "bounds must be left out"),
        ({"methods": ["adam", "free"], "budget": 0.0}, "budget must be"),
        ({"methods": ["adam", "free"], "budget": math.nan}, "budget must be"),
        ({"methods": ["adam", "free"], "seed": -1}, "seed must be"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_before_anything_is_trained(settings, message):
    job = Many()
    with pytest.raises((sf.ArgumentError, sf.ArgumentTypeError), match=message):
        sf.find(job, **settings)
    assert job.counter[0] == 0


def test_a_job_with_one_optimizer_is_refused_with_a_way_out():
    for job in (FakeJob(), function_job()):
        with pytest.raises(sf.ArgumentTypeError, match=r"whose optimizer can be exchanged. Give a TorchJob"):
            compare("adam", "free", job=job)


def test_another_length_after_the_exchange_is_refused():
    class Other(Many):
        def with_optimizer(self, optimizer):
            return dataclasses.replace(super().with_optimizer(optimizer), total_steps=7)

    with pytest.raises(sf.JobError, match="another length"):
        compare("adam", "free", job=Other())


def test_it_is_saved_and_read_back(tmp_path):
    compared = compare("adam", "free", "slow", "wild")
    path = compared.save(tmp_path / "compared.json")
    again = Compared.load(path)
    assert again == compared
    assert str(again) == str(compared)
    assert pickle.loads(pickle.dumps(compared)) == compared
    with pytest.raises(sf.JobError, match="loaded or copied"):
        again.train()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "surefoot.found"}, "no comparison that this version"),
        ({"version": 99}, "version 99"),
        ({"table": None}, "damaged"),
        ({"table": [{}]}, "damaged"),
        ({"best": "nobody"}, "damaged"),
        ({"found": []}, "damaged"),
        ({"cost": "much"}, "damaged"),
    ],
)
def test_a_damaged_record_is_said(change, message):
    record = {**compare("adam", "free").to_dict(), **change}
    with pytest.raises(sf.StateError, match=message):
        Compared.from_dict(record)


@pytest.mark.parametrize("text", ["", "[]", "{", '"text"', "{}"])
def test_a_file_that_is_no_comparison_is_said(tmp_path, text):
    (tmp_path / "compared.json").write_text(text)
    with pytest.raises(sf.StateError, match="no comparison"):
        Compared.load(tmp_path / "compared.json")


def test_the_table_is_text_with_one_line_a_method():
    lines = str(compare("adam", "free", "slow")).splitlines()
    assert lines[0].split() == [
        "method",
        "learning",
        "rate",
        "val",
        "loss",
        "to",
        "the",
        "best",
        "seeds",
        "cost",
        "outcome",
    ]
    assert [line.split()[0] for line in lines[1:4]] == ["adam", "free", "slow"]
    assert "its own" in lines[2]


def test_an_unknown_method_of_the_table_is_a_key_error():
    with pytest.raises(KeyError, match="was not compared; there are adam, free"):
        _ = compare("adam", "free")["lion"]


def test_the_same_seed_gives_the_same_answer_and_another_seed_another():
    assert plain(compare("adam", "free")) == plain(compare("adam", "free"))
    assert plain(compare("adam", "free", seed=1)) != plain(compare("adam", "free"))


def test_progress_names_the_method_and_never_falls():
    told = []
    compared = compare("adam", "free", "slow", on_progress=told.append)
    assert list(dict.fromkeys(p.phase for p in told)) == ["adam", "free", "slow"]
    assert all(a.spent <= b.spent + 1e-9 for a, b in itertools.pairwise(told))
    assert all(p.spent <= p.expected + 1e-9 for p in told)
    assert told[-1].spent == pytest.approx(compared.cost)


# ---- what it survives ---------------------------------------------------------------------------------------------


METHODS = ("adam", "free", "slow")


def logged(folder):
    return sum(file.read_bytes().count(b"\n") for file in folder.rglob("pieces.jsonl"))


def test_a_run_directory_changes_nothing_and_keeps_one_checkpoint(tmp_path):
    compared = compare(*METHODS, run_dir=tmp_path)
    assert plain(compared) == plain(compare(*METHODS))
    kept = list(tmp_path.rglob("*.state"))
    assert [path.parts[-3] for path in kept] == ["01-adam"]
    job = Many(noise=0.01)
    assert plain(compare(*METHODS, job=job, run_dir=tmp_path)) == plain(compared)
    assert job.counter[0] == 0


@pytest.mark.parametrize("pieces", range(1, 40, 3))
def test_a_comparison_that_is_killed_goes_on_from_there(tmp_path, pieces):
    class Killed(Many):
        def advance(self, run, factors):
            if logged(tmp_path) >= pieces and run.step % 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().advance(run, factors)

    pid = os.fork()
    if pid == 0:
        try:
            compare(*METHODS, job=Killed(noise=0.01), run_dir=tmp_path)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    steps = sum(
        piece["to_step"] - piece["from_step"]
        for file in tmp_path.rglob("pieces.jsonl")
        for piece in map(json.loads, file.read_text().splitlines())
        if "to_step" in piece
    )
    job, whole = Many(noise=0.01), Many(noise=0.01)
    assert plain(compare(*METHODS, job=job, run_dir=tmp_path)) == plain(compare(*METHODS, job=whole))
    assert job.counter[0] == whole.counter[0] - steps


def test_a_run_directory_of_other_methods_is_refused(tmp_path):
    compare("adam", "free", run_dir=tmp_path)
    with pytest.raises(sf.RunDirectoryError, match="belongs to another search"):
        compare("adam", "slow", run_dir=tmp_path)
    with pytest.raises(sf.RunDirectoryError, match="belongs to another search"):
        sf.find(Many(noise=0.01), run_dir=tmp_path)


def test_ctrl_c_keeps_what_is_known():
    def stop(progress):
        if progress.phase == "slow" and progress.spent > 1.9:
            raise KeyboardInterrupt

    compared = compare(*METHODS, on_progress=stop)
    assert not compared.is_complete
    assert compared.cautions[0].startswith("The comparison was interrupted")
    assert {r.outcome for r in compared.table} & {"unfinished"}


def test_ctrl_c_before_anything_is_known_is_ctrl_c():
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(*METHODS, on_progress=stop)


def test_ctrl_c_in_a_search_is_ctrl_c(tmp_path):
    def stop(progress):
        if progress.spent > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare("adam", "free", on_progress=stop, run_dir=tmp_path)
    assert plain(compare("adam", "free", run_dir=tmp_path)) == plain(compare("adam", "free"))


def test_the_page_shows_every_method(tmp_path):
    compared = compare("adam", "free", "slow", "wild")
    text = compared.report(tmp_path / "report.html").read_text()
    for result in compared.table:
        assert f"<td>{result.method}</td>" in text
    assert "http" not in text.replace("http-equiv", "")
    assert json.loads(text.partition('id="record">')[2].partition("</script>")[0])["best"] == "adam"
