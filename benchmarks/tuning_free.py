"""One step of the methods that need no rate or no schedule: ours beside their authors' packages, in one run.

    python benchmarks/tuning_free.py [--threads 1 2] [--rounds 7] [--shapes small resnet large]

Needs prodigyopt, dadaptation and schedulefree. Both take turns, round by round, on the same shapes as in
`optimizers.py`: 200 tensors of 1,024; the 161 tensors of a ResNet-50 (25.6 million); four of 16.8 million. Shown are
medians in ns per parameter, how many times as long the package takes, and our Adam's step for scale. Where a package
has several ways (schedulefree's foreach), its fastest counts. Results go into a dated record.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dadaptation
import numpy as np
import prodigyopt
import schedulefree
from optimizers import SHAPES, measure, processor

import surefoot.torch as ours
import torch

RECORDS = Path(__file__).parent / "records"
Make = Callable[[list[torch.Tensor]], Any]
METHODS: dict[str, tuple[Make, dict[str, Make]]] = {
    "Prodigy": (ours.Prodigy, {"prodigyopt": prodigyopt.Prodigy}),
    "DAdaptAdam": (ours.DAdaptAdam, {"dadaptation": dadaptation.DAdaptAdam}),
    "DAdaptSGD": (ours.DAdaptSGD, {"dadaptation": dadaptation.DAdaptSGD}),
    "AdamWScheduleFree": (
        ours.AdamWScheduleFree,
        {
            "schedulefree foreach": schedulefree.AdamWScheduleFree,
            "schedulefree": lambda p: schedulefree.AdamWScheduleFree(p, foreach=False),
        },
    ),
    "SGDScheduleFree": (
        ours.SGDScheduleFree,
        {
            "schedulefree foreach": schedulefree.SGDScheduleFree,
            "schedulefree": lambda p: schedulefree.SGDScheduleFree(p, foreach=False),
        },
    ),
}


def stepper(make: Make, shapes: list[tuple[int, ...]]) -> Callable[[], Any]:
    parameters = [torch.randn(s).requires_grad_() for s in shapes]
    for p in parameters:
        p.grad = torch.randn_like(p)
    optimizer = make(parameters)
    if hasattr(optimizer, "train"):
        optimizer.train()
    return optimizer.step


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    arguments.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    given = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    for threads in given.threads:
        torch.set_num_threads(threads)
        for shape in given.shapes:
            shapes = SHAPES[shape]()
            count = sum(int(np.prod(s)) for s in shapes)
            for method in given.methods:
                mine, others = METHODS[method]
                makers = {"ours": mine, **others, "our Adam": ours.Adam}
                steps = {way: stepper(make, shapes) for way, make in makers.items()}
                times = measure(steps, given.rounds, max(1, 1_000_000 // count))
                ratio = min(times[way] for way in others) / times["ours"]
                ns = {way: round(1e9 * t / count, 4) for way, t in times.items()}
                rows.append(
                    {
                        "shape": shape,
                        "threads": threads,
                        "method": method,
                        "ns": ns,
                        "package_over_ours": round(ratio, 3),
                    }
                )
                text = "  ".join(f"{way} {value:7.2f}" for way, value in ns.items())
                print(f"{threads} threads  {shape:7s}{method:19s}{text}   package / ours {ratio:5.2f}", flush=True)
    today = datetime.now(UTC)
    record = RECORDS / f"{today:%Y-%m-%d}-tuning-free.json"
    packages = ("torch", "prodigyopt", "dadaptation", "schedulefree")
    record.write_text(
        json.dumps(
            {
                "date": f"{today:%Y-%m-%d %H:%M} UTC",
                "processor": processor(),
                "versions": {name: importlib.metadata.version(name) for name in packages},
                "rounds": given.rounds,
                "rows": rows,
            },
            indent=1,
        )
        + "\n"
    )
    print(f"record: {record}")


if __name__ == "__main__":
    main()
