"""What a second process gains: one search in this process, and with two workers, in turns.

    python benchmarks/executors.py [--steps 600 2400] [--seeds 1 2] [--workers 2] [--budget 2.0]

The job is the bundled language model, with one thread a process. Shown are seconds, their ratio, and whether the answers
are the same. Results go into a dated record.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import surefoot as sf
import torch
from surefoot.torch.bundled import chars

RECORDS = Path(__file__).parent / "records"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, nargs="+", default=[600, 2400])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--budget", type=float, default=2.0)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    ways: dict[str, Any] = {"one process": "serial", "workers": sf.Processes(workers=given.workers, threads=1)}
    rows: list[dict[str, Any]] = []
    for steps in given.steps:
        for seed in given.seeds:
            row: dict[str, Any] = {"steps": steps, "seed": seed, "seconds": {}, "learning_rates": {}}
            for way, executor in ways.items():
                began = time.perf_counter()
                found = sf.find(chars(total_steps=steps), budget=given.budget, seed=seed, executor=executor)
                row["seconds"][way] = round(time.perf_counter() - began, 1)
                row["learning_rates"][way] = found.learning_rate
            row["ratio"] = round(row["seconds"]["one process"] / row["seconds"]["workers"], 2)
            row["is_same"] = len(set(row["learning_rates"].values())) == 1
            rows.append(row)
            print(row, flush=True)
    today = datetime.now(UTC)
    record = RECORDS / f"{today:%Y-%m-%d}-executors.json"
    settings = {"workers": given.workers, "budget": given.budget, "torch": torch.__version__}
    record.write_text(
        json.dumps(
            {
                "date": f"{today:%Y-%m-%d %H:%M} UTC",
                "processor": platform.processor() or platform.machine(),
                **settings,
                "rows": rows,
            },
            indent=1,
        )
        + "\n"
    )
    print(f"record: {record}")


if __name__ == "__main__":
    main()
