"""A fine-tune whose best learning rate is a hundred times below the optimizer's default, and `find` on it.

    python benchmarks/finetune.py [--seeds 0 1 2 3 4] [--find-seeds 100 101 102] [--budgets 1.0 2.0] [--steps 600]

A network is trained on one half of the handwritten digits, with standardized inputs. Then it is deployed as networks
are: the standardization is folded into its first layer, which changes nothing in what it computes. It now reads the raw
counts of a 12-bit sensor, 0 to 4095. The sensor is replaced, and the new one sees everything one pixel to the right: on
the other half of the digits the network is lost (loss 2.7). Two thirds of that half are there for a fine-tune of all
its weights with Adam, the rest to judge it. As its inputs are in the thousands, a step of 0.001, Adam's default, moves
what the first layer sees by whole units: the network starts anew and over-fits. Its best rate is about 1e-5.

First every rate of a half-octave grid is trained in full, with several seeds; then `surefoot.find` looks for it, from
Adam's default. Everything goes into a dated record beside this file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import surefoot as sf
import torch
from surefoot import datasets
from surefoot.torch import TorchJob
from torch import nn

RECORDS = Path(__file__).parent / "records"
COUNTS = 4095.0  # of a 12-bit sensor
GRID = tuple(2.0 ** (k / 2) for k in range(-44, -15))  # half octaves, from 2.4e-7 to 4e-3


def loss(model: Any, batch: Any) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def pretrained(x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    """Return a network that was trained on standardized inputs, its standardization folded into its first layer."""
    mean, deviation = float(x.mean()), float(x.std())
    first = TorchJob(
        model=lambda: nn.Sequential(
            *(layer for a, b in itertools.pairwise((64, 128, 128, 128)) for layer in (nn.Linear(a, b), nn.ReLU())),
            nn.Linear(128, 10),
        ),
        loss=loss,
        train=((x - mean) / deviation, y),
        val=((x - mean) / deviation, y),
        total_steps=1000,
        device="cpu",
    )
    run = first.start(1e-3, seed=0)
    first.advance(run, first.schedule.simulate(first.total_steps))
    layer: Any = run.model[0]
    with torch.no_grad():
        layer.bias -= (layer.weight * (mean / deviation)).sum(1)
        layer.weight /= deviation
    return run.model


def job(total_steps: int = 600) -> TorchJob:
    """Return the fine-tune."""
    data = datasets.digits()
    x, y = (
        torch.cat([torch.as_tensor(data.x), torch.as_tensor(data.x_val)]),
        torch.cat([torch.as_tensor(data.y), torch.as_tensor(data.y_val)]),
    )
    counts = (x - x.min()) / (x.max() - x.min()) * COUNTS
    half = len(x) // 2
    moved = torch.roll(counts[half:].view(-1, 8, 8), 1, dims=2).reshape(-1, 64)
    cut = 2 * len(moved) // 3
    return TorchJob(
        model=pretrained(counts[:half], y[:half]),
        loss=loss,
        train=(moved[:cut], y[half : half + cut]),
        val=(moved[cut:], y[half + cut :]),
        batch_size=32,
        total_steps=total_steps,
        device="cpu",
        name="finetune",
    )


def full_run(of: TorchJob, learning_rate: float, seed: int) -> float:
    run = of.start(learning_rate, seed=seed)
    of.advance(run, of.schedule.resolve(of.total_steps).simulate(of.total_steps))
    return of.evaluate(run)


def smoothed(losses: list[float]) -> list[float]:
    """Return log losses averaged with their neighbors (1, 2, 1): the noise of seeds is larger than a half-octave step."""
    logs = [math.log(v) for v in losses]
    padded = [logs[0], *logs, logs[-1]]
    return [(a + 2 * b + c) / 4 for a, b, c in zip(padded, padded[1:], padded[2:], strict=False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--find-seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--budgets", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--record", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    of, began = job(given.steps), time.perf_counter()
    table = [{"learning_rate": rate, "val_losses": [full_run(of, rate, s) for s in given.seeds]} for rate in GRID]
    means = [statistics.geometric_mean(row["val_losses"]) for row in table]
    curve = smoothed(means)
    best = GRID[curve.index(min(curve))]
    for row, mean in zip(table, means, strict=True):
        shown = " ".join(f"{v:.4f}" for v in row["val_losses"])
        print(
            f"{row['learning_rate']:9.2e}  {mean:.4f}   {shown}{'   <- best' if row['learning_rate'] == best else ''}"
        )
    print(
        f"before: {of.evaluate(of.start(1e-3, seed=0)):.3f}; best rate {best:.2e}; the sweep took {time.perf_counter() - began:.0f} s"
    )
    answers: list[dict[str, Any]] = []
    for budget, seed in itertools.product(given.budgets, given.find_seeds):
        found = sf.find(of, budget=budget, seed=seed)
        away = math.log2(found.learning_rate / best)
        excess = math.expm1(
            curve[min(range(len(GRID)), key=lambda i: abs(math.log(GRID[i] / found.learning_rate)))] - min(curve)
        )
        answers.append({"budget": budget, "seed": seed, "learning_rate": found.learning_rate, "interval": found.interval, "octaves": away, "excess": excess,
                        "cost": found.cost, "spent": found.spent, "confidence": found.confidence, "overfit": found.details["overfit_probability"],
                        "trials": [[t.rung, t.learning_rate, t.steps, t.outcome, t.val_loss] for t in found.trials]})  # fmt: skip
        print(
            f"budget {budget:g} seed {seed}: {found.learning_rate:.2e} ({away:+.2f} octaves, loss {100 * excess:+.1f} %), interval {found.interval[0]:.1e} to {found.interval[1]:.1e}, cost {found.cost:.2f}, {found.confidence}"
        )
    today = datetime.now(UTC)
    record = given.record or RECORDS / f"{today:%Y-%m-%d}-finetune.json"
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps({"date": f"{today:%Y-%m-%d %H:%M} UTC", "processor": platform.processor() or platform.machine(), "python": platform.python_version(), "torch": torch.__version__,
                                  "total_steps": given.steps, "seeds": given.seeds, "best": best, "sweep": table, "found": answers}, indent=1) + "\n")  # fmt: skip
    print(f"record: {record}")


if __name__ == "__main__":
    main()
