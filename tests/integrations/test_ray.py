"""Pieces of a search as tasks of Ray, on one machine: the answer of one process, also where workers and driver die."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tests.search.fakes import FakeJob

import surefoot as sf
from surefoot import ArgumentError, ArgumentTypeError, MissingExtraError
from surefoot.integrations.ray import Ray
from surefoot.search import Executor

ROOT = Path(__file__).parents[2]


def told(found):
    return {k: v for k, v in found.to_dict().items() if k not in {"versions", "run_dir"}}


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'surefoot[ray]'")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    ray.init(num_cpus=4, log_to_driver=False, include_dashboard=False)
    yield ray
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("budget", [1.0, 2.5])
def test_the_answer_is_that_of_one_process(cluster, budget):
    job = FakeJob(noise=0.02)
    assert told(sf.find(job, budget=budget, seed=3, executor=Ray())) == told(sf.find(job, budget=budget, seed=3))


class Killing(FakeJob):
    """Kills the worker that trains it, once."""

    flag = ""

    def advance(self, run, factors):
        time.sleep(0.001 * len(factors))
        if run.step > 60 and self.flag and not Path(self.flag).exists():
            Path(self.flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().advance(run, factors)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_is_killed_costs_its_piece_another_try(cluster, tmp_path):
    alone = sf.find(FakeJob(noise=0.02), budget=2.5, seed=3)
    job = Killing(noise=0.02)
    job.flag = str(tmp_path / "killed")
    assert told(sf.find(job, budget=2.5, seed=3, executor=Ray())) == told(alone)
    assert Path(job.flag).exists()


DRIVER = """
    import sys
    sys.path[:0] = [sys.argv[1], sys.argv[1] + "/src"]
    from tests.integrations.test_ray import Killing
    import surefoot as sf
    from surefoot.integrations.ray import Ray

    if __name__ == "__main__":
        job = Killing(noise=0.02)
        job.flag = sys.argv[3]
        found = sf.find(job, budget=2.5, seed=3, run_dir=sys.argv[2], executor=Ray(address=sys.argv[4]))
        print(found.learning_rate)
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_driver_that_is_killed_goes_on_where_it_was(cluster, tmp_path):
    script, run, flag = tmp_path / "search.py", tmp_path / "run", tmp_path / "killed"
    script.write_text(textwrap.dedent(DRIVER))
    address = cluster.get_runtime_context().gcs_address
    command = [sys.executable, str(script), str(ROOT), str(run), str(flag), address]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = run / "pieces.jsonl"
    while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < 14):
        time.sleep(0.01)
    assert process.poll() is None
    process.kill()
    process.wait()
    known = [json.loads(line)["key"] for line in log.read_text().splitlines()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    alone = sf.find(FakeJob(noise=0.02), budget=2.5, seed=3)
    assert float(done.stdout.split()[-1]) == alone.learning_rate
    again = [json.loads(line)["key"] for line in log.read_text().splitlines()]
    assert again[: len(known)] == known
    assert len(again) == len(set(again))
    assert flag.exists()


def test_without_ray_the_command_that_cures_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'pip install "surefoot\[ray\]"'):
        sf.find(FakeJob(), executor=Ray())


def test_a_cluster_needs_a_run_directory(tmp_path):
    with pytest.raises(ArgumentError, match="run_dir must be a folder that all machines share"):
        sf.find(FakeJob(), executor=Ray(address="auto"))


@pytest.mark.parametrize("settings", [{"cpus": 0}, {"gpus": -1}, {"retries": -1}, {"address": 5}])
def test_wrong_settings_are_refused_by_name(settings):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=rf"Ray\({next(iter(settings))}"):
        Ray(**settings)


def test_ray_is_an_executor():
    assert isinstance(Ray(), Executor)
