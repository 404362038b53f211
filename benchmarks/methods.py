"""Optimizers compared by `find(methods=...)` on the bundled jobs, and whether the looks stop the right ones.

    python benchmarks/methods.py --out benchmarks/records/DATE-methods.json

The bounds at which a method is stopped were set on seed 0 of the three jobs. Here they are judged on other seeds and on
other lengths: every method that was stopped is trained to its end after all, at the rate that the comparison gave it.
With `--fresh N` all are trained with N seeds that the comparison has not seen, each at its rate: how much worse than the
best of them is the recommended one?
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import surefoot as sf
import torch
from surefoot.torch.bundled import BUNDLED

METHODS = ("sgd_momentum", "adam", "adamw", "lion", "prodigy", "dadapt_adam", "dowg", "dog")
JOBS = (("digits", 400), ("digits", 1000), ("diabetes", 400), ("diabetes", 1000), ("chars", 300))


def whole_run(job: object, rate: float, seed: int) -> float:
    """Return the validation loss at the end of a real run."""
    plan = job.schedule.resolve(job.total_steps)
    run = job.start(rate, seed=seed)
    job.advance(run, [float(plan(step)) for step in range(job.total_steps)])
    return float(job.evaluate(run))


def measure(name: str, steps: int, seed: int, fresh: int) -> dict[str, object]:
    job = BUNDLED[name](total_steps=steps)
    began = time.monotonic()
    compared = sf.find(job, methods=METHODS, seed=seed)
    seconds = time.monotonic() - began
    rows = []
    for result in compared.table:
        row = {
            "method": result.method,
            "learning_rate": result.learning_rate,
            "outcome": result.outcome,
            "step": result.step,
            "looks": result.looks,
            "val_losses": result.val_losses,
            "cost": result.cost,
        }
        if result.outcome == "stopped":
            end = whole_run(job.with_optimizer(result.method), result.learning_rate, seed)
            row["end_if_not_stopped"] = end if math.isfinite(end) else str(end)
        if fresh and math.isfinite(result.learning_rate):
            other = job.with_optimizer(result.method)
            ends = [whole_run(other, result.learning_rate, 100 + i) for i in range(fresh)]
            row["fresh"] = [end if math.isfinite(end) else str(end) for end in ends]
        rows.append(row)
    regret = math.nan
    if fresh:
        means = {r["method"]: statistics.fmean(map(float, r["fresh"])) for r in rows if "fresh" in r}
        regret = means[compared.best] / min(m for m in means.values() if math.isfinite(m)) - 1
    best = dict(compared[compared.best].val_losses)[seed]
    lost = [r["method"] for r in rows if float(r.get("end_if_not_stopped", "nan")) < best]
    near = [float(r["end_if_not_stopped"]) / best - 1 for r in rows if "end_if_not_stopped" in r]
    print(
        f"{name:9s} {steps:5d} seed {seed}  best {compared.best:12s} {best:.4f}  cost {compared.cost:5.2f} of {compared.allowed:.0f}  "
        f"stopped {len(near)}, nearest {100 * min(near, default=math.nan):+.0f} %  wrongly {lost or '-'}  "
        f"regret on fresh seeds {100 * regret:.1f} %",
        flush=True,
    )
    about = {"job": name, "total_steps": steps, "seed": seed, "best": compared.best}
    about["is_clear"] = len(compared.table[0].val_losses) > 1 and "cannot be told apart" not in compared.why[0]
    return {
        **about,
        "cost": compared.cost,
        "allowed": compared.allowed,
        "seconds": seconds,
        "regret": regret if math.isfinite(regret) else None,
        "rows": rows,
        "wrongly_stopped": lost,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--jobs", nargs="+", default=[f"{name}:{steps}" for name, steps in JOBS])
    parser.add_argument("--fresh", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = [
        measure(name, int(steps), seed, given.fresh)
        for name, _, steps in (job.partition(":") for job in given.jobs)
        for seed in given.seeds
    ]
    about = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "methods": METHODS,
        "budget": 1.0,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    given.out.write_text(json.dumps({**about, "runs": runs}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
