"""Jobs without a model: a loss surface in a formula, so that a whole search takes milliseconds."""

import dataclasses
import json
import math
import random

import surefoot as sf
from surefoot.search import TrialFailed


@dataclasses.dataclass
class FakeRun:
    rate: float
    seed: int
    step: int = 0
    factor: float = 0.0
    is_broken: bool = False


@dataclasses.dataclass
class FakeJob:
    """A valley of the log loss around `best`; nothing is learned far from it, and beyond `edge` training blows up.

    The gain grows with the steps; a rate that has not fallen yet costs a little; `noise` is one draw per rate and seed.
    """

    best: float = -8.0  # log2 of the best rate
    curvature: float = 0.06
    edge: float = 4.0  # octaves above the best
    noise: float = 0.0
    shift: float = 0.0  # added to every loss
    gain: float = 1.6
    initial: float = 2.3
    total_steps: int = 640
    schedule: sf.Schedule = dataclasses.field(default_factory=lambda: sf.linear_warmup("5%") >> sf.cosine_decay())
    default_learning_rate: float = 1e-3
    epochs: float | None = 2.0
    can_fork: bool = True
    name: str = "fake"
    steps: int = 0  # trained so far, by all runs

    def start(self, learning_rate, *, seed):
        return FakeRun(learning_rate, seed)

    def advance(self, run, factors):
        losses = []
        for factor in factors:
            run.is_broken = run.is_broken or math.log2(run.rate) > self.best + self.edge
            run.step, run.factor = run.step + 1, factor
            losses.append(self.initial + self.shift + 2.0 ** min(run.step, 60) if run.is_broken else self._loss(run))
        self.steps += len(losses)
        return losses

    def evaluate(self, run):
        return math.nan if run.is_broken else self._loss(run)

    def fork(self, run):
        return dataclasses.replace(run)

    def describe(self):
        return {"kind": "fake", "best": self.best, "noise": self.noise}

    def save(self, run, path):
        path.write_text(json.dumps(dataclasses.asdict(run)))

    def load(self, path):
        return FakeRun(**json.loads(path.read_text()))

    def _loss(self, run):
        away = math.log2(run.rate) - self.best
        gain = self.gain * (run.step / self.total_steps) ** 0.3 * math.exp(-self.curvature * away**2)
        luck = random.Random(f"{run.rate} {run.seed}").gauss(0.0, self.noise) if self.noise else 0.0
        return self.initial * math.exp(luck * min(1, run.step) - gain + 0.05 * run.factor) + self.shift


class Still(FakeJob):
    """A loss that never moves."""

    def _loss(self, run):
        return self.initial


class Nan(FakeJob):
    """NaN from the first step on."""

    def _loss(self, run):
        return math.nan if run.step else self.initial


class Failing(FakeJob):
    """Every trial breaks by itself."""

    def advance(self, run, factors):
        raise TrialFailed("no GPU is left")


def function_job(best=-8.0, total_steps=640, edge=math.inf, noise=0.0):
    """Return the valley as a function, which cannot be forked."""

    def train(learning_rate, steps, seed):
        job = FakeJob(best=best, total_steps=total_steps, edge=edge, noise=noise)
        run = job.start(learning_rate, seed=seed)
        job.advance(run, [0.0] * steps)
        return job.evaluate(run)

    return sf.FunctionJob(train, total_steps)
