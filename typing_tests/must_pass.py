"""User code that must type-check in strict mode. `reveal`ed types are pinned with assert_type."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, assert_type

import jax
import numpy as np

import optax  # pyright: ignore[reportMissingTypeStubs]
import surefoot as sf
import surefoot.optax
import surefoot.rules
import torch
from surefoot.learning_rate import Change
from surefoot.torch import TorchJob, TorchLearningRate, drive
from torch import Tensor, nn

# ---- schedules
schedule = sf.linear_warmup("5%") >> sf.cosine_decay(to=0.1)
assert_type(schedule, sf.Schedule)
assert_type(0.5 * schedule, sf.Schedule)
assert_type(schedule * schedule, sf.Schedule)
assert_type(schedule.resolve(100).extend(200, step=50).clipped(low=0.1), sf.Schedule)
assert_type(schedule.cooldown_from("80%"), sf.Schedule)
assert_type(sf.check(schedule, total_steps=100), list[sf.Finding])
sf.check(lambda epoch: 0.1**epoch, total_steps=9, unit="epoch")
assert_type(schedule.resolve(total_steps=100)(3), float)
assert_type(schedule(torch.tensor([1.0, 2.0])), Tensor)
assert_type(schedule.simulate(100), list[float])
assert_type(schedule.to_dict(), dict[str, Any])

# ---- the one owner
learning_rate = sf.LearningRate(0.01, schedule, total_steps=100)
assert_type(learning_rate.at(3), float)
assert_type(learning_rate.current(3), list[float])


# ---- a torch job
def loss(model: nn.Module, batch: Any) -> Tensor:
    x, y = batch
    return nn.functional.mse_loss(model(x), y)


def adam(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=lr)


data = (torch.zeros(64, 1), torch.zeros(64, 1))
torch_job = TorchJob(model=lambda: nn.Linear(1, 1), loss=loss, train=data, val=data, total_steps=400, optimizer=adam)
by_name = TorchJob(model=nn.Linear(1, 1), loss=loss, train=data, val=data, total_steps=400, optimizer="adamw")
searchable: sf.Job = torch_job


# ---- a JAX job
def jax_loss(params: jax.Array, batch: Any) -> jax.Array:
    return ((params - batch) ** 2).mean()


jax_job: sf.Job = surefoot.optax.JaxJob(
    init=lambda key: jax.random.normal(key, (3,)),
    loss=jax_loss,
    train=np.zeros((64, 3)),
    val=np.zeros((8, 3)),
    optimizer=lambda rate: optax.adamw(rate, weight_decay=0.1),
)


# ---- a rate at another setting
moved = sf.transfer(0.003, batch_size=(32, 256), tokens=(1e9, 2e9))
assert_type(moved, sf.Transferred)
assert_type(moved.interval, tuple[float, float])


# ---- other jobs
def train(learning_rate: float, steps: int, seed: int) -> float:
    return learning_rate / steps + seed


function_job: sf.Job = sf.FunctionJob(train, total_steps=100)
command_job: sf.Job = sf.CommandJob(["python", "train.py", "--lr", "{lr}", "{steps}"], total_steps=100)


# ---- the answer
def show(progress: sf.Progress) -> None:
    assert_type(progress.spent, float)


found = sf.find(torch_job, budget=1.0, seed=0, bounds=(1e-5, 1.0), run_dir=Path("run"), on_progress=show)
assert_type(found, sf.Found)
assert_type(found.learning_rate, float)
assert_type(found.interval, tuple[float, float])
assert_type(found.confidence, Literal["high", "medium", "low"])
assert_type(found.cost, float)
assert_type(found.trials, tuple[sf.Trial, ...])
assert_type(found.save("found.json"), Path)
assert_type(found.plot("plot.png"), Path)
assert_type(found.report(Path("report.html")), Path)
assert_type(found.train().val_loss, float)
assert_type(sf.Found.load("found.json"), sf.Found)
compared = sf.find(torch_job, methods=["adam", "prodigy"], budget=1.0, seed=0, run_dir="run", on_progress=show)
assert_type(compared, sf.Compared)
assert_type(compared.best, str)
assert_type(compared["adam"].val_loss, float | None)
assert_type(compared.found["adam"], sf.Found)
assert_type(compared.train().val_loss, float)
assert_type(torch_job.with_optimizer("prodigy"), TorchJob)

# ---- drive
optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=found.learning_rate)
driven = drive(optimizer, schedule, total_steps=400)
assert_type(driven, TorchLearningRate)
assert_type(driven.learning_rate, float)
many = drive(
    optimizer, [schedule, schedule], total_steps=400, momentum=sf.one_cycle_momentum(), total_time="2h", now=lambda: 0.0
)
assert_type(many.extend(800, cause="more data"), Change)
assert_type(many.cooldown_from(length="10%"), Change)
assert_type(many.replace([schedule, schedule], momentum=sf.one_cycle_momentum()), Change)

# ---- optax
for rate in (3e-3, 3e-3 * sf.cosine_decay(1000), optax.cosine_decay_schedule(3e-3, 1000)):
    transformation: optax.GradientTransformation = surefoot.optax.adamw(rate, weight_decay=0.1)


def as_array(rate: jax.Array) -> optax.GradientTransformation:
    return surefoot.optax.lion(rate, weight_decay=rate)


clipped: optax.GradientTransformation = surefoot.optax.from_rule(surefoot.rules.Adam(), 3e-3, clip_global_norm=1.0)
owner = surefoot.optax.OptaxLearningRate({"body": 1e-3, "head": 1e-2}, schedule, 100, controllers=[sf.Plateau()])
guarded = sf.Chain(sf.DivergenceGuard(action="skip"), sf.TrendPlateau("loss"), sf.Greedy("val_loss", max_lr=0.1))
assert_type(sf.LearningRate(1e-3, schedule, 100, controllers=[guarded, sf.Manual()]).factor, float)
assert_type(guarded.factor, float)
assert_type(owner.why(), str)
assert_type(owner.should_stop, bool)
chained: optax.GradientTransformation = surefoot.optax.plateau(factor=0.5, patience=3)
