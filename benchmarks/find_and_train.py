"""The model that `find_and_train` returns, beside the best fixed rate of a sweep, on fourteen jobs.

    python benchmarks/find_and_train.py FOLDER [--keep best] [--budgets 1.0] [--seeds 600 601 602 603 604]

FOLDER is that of `benchmarks/lrbench.py`. Regret is the validation loss of the returned model over the best mean of the
sweep (18 rates, 3 to 5 seeds each, judged at the end of the run), minus one; below zero it beats the sweep. It holds the
luck of one seed, which the sweep's mean does not. Cost counts every training step, search and training. The record has
all seeds and all candidates.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import platform
import statistics
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lrbench import RECORDS, job_of


def train(task: tuple[str, str, float, int, str]) -> dict[str, Any]:
    """Run one search with its training and score the model."""
    folder, name, budget, seed, keep = task
    import surefoot as sf

    job = job_of(Path(folder), name)
    began = time.perf_counter()
    trained = sf.find_and_train(job, budget=budget, seed=seed, keep=keep)  # pyright: ignore[reportArgumentType]
    best = importlib.import_module("regret").TRUTH[name]["best"]
    return {
        "job": name,
        "budget": budget,
        "seed": seed,
        "keep": keep,
        "regret": trained.val_loss / best - 1.0,
        "cost": trained.cost,
        "origin": trained.origin,
        "steps": trained.steps,
        "learning_rate": trained.learning_rate,
        "seconds": round(time.perf_counter() - began, 2),
        "candidates": [asdict(c) for c in trained.candidates],
    }


def table(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Print a line for each job, and return the figures over all."""
    jobs = list(dict.fromkeys(r["job"] for r in rows))
    means: list[float] = []
    print(f"{'job':26s} {'mean %':>7s} {'worst %':>8s} {'cost':>5s}  where the models come from")
    for job in jobs:
        of = [r for r in rows if r["job"] == job]
        means.append(100 * statistics.mean(r["regret"] for r in of))
        kinds = ["fork" if "fork" in r["origin"] else "late" if "its rate" in r["origin"] else "run" for r in of]
        worst, cost = 100 * max(r["regret"] for r in of), statistics.mean(r["cost"] for r in of)
        print(f"{job:26s} {means[-1]:7.1f} {worst:8.1f} {cost:5.2f}  {' '.join(kinds)}")
    figures = {
        "job_median": statistics.median(means),
        "job_mean": statistics.mean(means),
        "worst_job": max(means),
        "cost": statistics.mean(r["cost"] for r in rows),
        "max_cost": max(r["cost"] for r in rows),
    }
    print("  ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    return figures


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--keep", nargs="+", default=["best"], choices=["best", "last"])
    arguments.add_argument("--budgets", type=float, nargs="+", default=[1.0])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[600, 601, 602, 603, 604])
    arguments.add_argument("--processes", type=int, default=1)
    arguments.add_argument("--record", type=Path, help="default: benchmarks/records/<date>-find-and-train.json")
    given = arguments.parse_args()
    sys.path.insert(0, str(given.folder))
    names = list(importlib.import_module("regret").TRUTH)
    tasks = [
        (str(given.folder), name, budget, seed, keep)
        for keep in given.keep
        for budget in given.budgets
        for seed in given.seeds
        for name in names
    ]
    rows: list[dict[str, Any]] = []
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        for row in pool.imap(train, tasks):
            rows.append(row)
            print(f"\r{len(rows)}/{len(tasks)} {row['job']:26s}", end="", file=sys.stderr, flush=True)
    summary: dict[str, Any] = {}
    for keep in given.keep:
        for budget in given.budgets:
            print(f"\nkeep={keep}, budget {budget} of the search")
            of = [r for r in rows if (r["keep"], r["budget"]) == (keep, budget)]
            summary[f"{keep} {budget}"] = table(of)
    today = datetime.now(UTC)
    record = given.record or RECORDS / f"{today:%Y-%m-%d}-find-and-train.json"
    kept = {
        "date": f"{today:%Y-%m-%d %H:%M} UTC",
        "processor": platform.processor(),
        "python": platform.python_version(),
    }
    record.write_text(json.dumps({**kept, "seeds": given.seeds, "summary": summary, "rows": rows}) + "\n")
    print(f"\nrecord: {record}")


if __name__ == "__main__":
    main()
