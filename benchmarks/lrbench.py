"""`find` on fourteen jobs with a measured answer, beside what other tools chose on them.

    python benchmarks/lrbench.py FOLDER [--budgets 1.0 2.0] [--seeds 100 101 102 103 104] [--processes 2]

FOLDER holds `jobs.py` (the jobs), `ground_truth.json` (the validation loss of 18 rates, 3 to 5 seeds each),
`peers.json` (regret of other tools on the same jobs) and `regret.py`. Everything is trained for real, by
`surefoot.torch.TorchJob` and `surefoot.find`; every answer with its trials' costs goes into a dated record beside this
file. Regret is the ground-truth loss at the chosen rate over the best of the grid, minus one.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parent / "records"


def job_of(folder: Path, name: str) -> Any:
    """Return the TorchJob of one of the folder's jobs."""
    sys.path.insert(0, str(folder))
    import torch

    torch.set_num_threads(1)
    job = importlib.import_module("jobs").JOBS[name]
    from surefoot.torch import TorchJob

    x, y, x_val, y_val = job.data()
    return TorchJob(
        name=name,
        model=job.model,
        loss=lambda model, batch: job.loss(model(batch[0]), batch[1]),
        train=(x, y),
        val=(x_val, y_val),
        batch_size=job.batch_size,
        val_batch_size=len(x_val),  # the ground truth was evaluated in one batch
        optimizer=job.optimizer,
        weight_decay=job.weight_decay or None,
        clip_norm=job.clip_norm or None,
        learning_rate=job.default_learning_rate,
        total_steps=job.total_steps,
    )


def search(task: tuple[str, str, float, int, float]) -> dict[str, Any]:
    """Run one search and score it; `start_factor` moves the start away from the default."""
    folder, name, budget, seed, start_factor = task
    import surefoot as sf

    job = job_of(Path(folder), name)
    began = time.perf_counter()
    found = sf.find(job, budget=budget, seed=seed, learning_rate=job.default_learning_rate * start_factor)
    regret = importlib.import_module("regret")
    best = regret.TRUTH[name]["lr_opt"]
    return {
        "job": name,
        "budget": budget,
        "seed": seed,
        "learning_rate": found.learning_rate,
        "interval": list(found.interval),
        "holds_best": found.interval[0] <= best <= found.interval[1],
        "regret": regret.regret(name, found.learning_rate),
        "octaves": regret.octaves(name, found.learning_rate),
        "cost": found.cost,
        "spent": found.spent,
        "confidence": found.confidence,
        "seconds": round(time.perf_counter() - began, 2),
        "trials": [[t.rung, t.learning_rate, t.steps, t.outcome, t.val_loss] for t in found.trials],
        "overfit": found.details["overfit_probability"],
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the figures of one method from rows with job, regret, cost."""
    jobs = sorted({r["job"] for r in rows})
    means = [statistics.mean(r["regret"] for r in rows if r["job"] == j) for j in jobs]
    regrets = [r["regret"] for r in rows]
    figures = {
        "job_median": 100 * statistics.median(means),
        "worst_job": 100 * max(means),
        "under_1": 100 * sum(r < 0.01 for r in regrets) / len(regrets),
        "under_5": 100 * sum(r < 0.05 for r in regrets) / len(regrets),
        "worst_run": 100 * max(regrets),
        "cost": statistics.mean(r["cost"] for r in rows),
        "max_cost": max(r["cost"] for r in rows),
    }
    if all("spent" in r for r in rows):
        figures["spent"] = statistics.mean(r["spent"] for r in rows)
        figures["coverage"] = 100 * sum(r["holds_best"] for r in rows) / len(rows)
    return figures


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    print(
        f"\n{title}\n{'job':26s} {'mean %':>7s} {'worst %':>8s} {'cost':>5s} {'spent':>5s}  octaves from the best, per seed"
    )
    for j in dict.fromkeys(r["job"] for r in rows):
        of = [r for r in rows if r["job"] == j]
        print(
            f"{j:26s} {100 * statistics.mean(r['regret'] for r in of):7.1f} {100 * max(r['regret'] for r in of):8.1f} "
            f"{statistics.mean(r['cost'] for r in of):5.2f} {statistics.mean(r['spent'] for r in of):5.2f}  "
            + " ".join(f"{r['octaves']:+.1f}" for r in of)
        )


def print_methods(table: dict[str, dict[str, float]]) -> None:
    head = ("method", "job-median %", "worst job %", "<1 %", "<5 %", "cost", "spent", "90 % interval holds the best")
    print("\n{:34s} {:>12s} {:>11s} {:>5s} {:>5s} {:>5s} {:>5s}  {}".format(*head))
    for name, f in table.items():
        spent = f"{f['spent']:5.2f}" if "spent" in f else "    -"
        covered = f"{f['coverage']:.0f} %" if "coverage" in f else "-"
        print(
            f"{name:34s} {f['job_median']:12.1f} {f['worst_job']:11.0f} {f['under_1']:5.0f} {f['under_5']:5.0f} {f['cost']:5.2f} {spent}  {covered}"
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--budgets", type=float, nargs="+", default=[1.0, 2.0])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102, 103, 104])
    arguments.add_argument("--jobs", nargs="+")
    arguments.add_argument("--processes", type=int, default=2)
    arguments.add_argument("--start-factor", type=float, default=1.0, help="start this far from the default rate")
    arguments.add_argument("--record", type=Path, help="default: benchmarks/records/<date>-lrbench.json")
    given = arguments.parse_args()
    peers = json.loads((given.folder / "peers.json").read_text())
    names = given.jobs or list(json.loads((given.folder / "ground_truth.json").read_text()))
    tasks = [
        (str(given.folder.resolve()), n, b, s, given.start_factor)
        for b in given.budgets
        for s in given.seeds
        for n in names
    ]
    rows: list[dict[str, Any]] = []
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        for row in pool.imap(search, tasks):
            rows.append(row)
            print(f"\r{len(rows)}/{len(tasks)} {row['job']:26s}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    table: dict[str, dict[str, float]] = {}
    for budget in given.budgets:
        of = [r for r in rows if r["budget"] == budget]
        print_table(f"surefoot find, budget {budget:g}, seeds {' '.join(map(str, given.seeds))}", of)
        table[f"surefoot find, budget {budget:g}"] = summary(of)
    for peer, jobs in peers.items():
        of = [{"job": j, "regret": x, "cost": v["cost"]} for j, v in jobs.items() if j in names for x in v["regret"]]
        if of:
            table[peer] = summary(of)
    today = datetime.now(UTC)
    record = given.record or RECORDS / f"{today:%Y-%m-%d}-lrbench.json"
    record.parent.mkdir(exist_ok=True)
    settings = {k: v for k, v in vars(given).items() if k not in ("folder", "record")}
    record.write_text(
        json.dumps(
            {
                "date": f"{today:%Y-%m-%d %H:%M} UTC",
                "processor": platform.processor() or platform.machine(),
                "python": platform.python_version(),
                "settings": settings,
                "summary": table,
                "rows": rows,
            },
            indent=None,
            default=str,
        )
        + "\n"
    )
    print_methods(table)
    print(f"\nrecord: {record}")


if __name__ == "__main__":
    main()
