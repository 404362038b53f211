"""Microseconds of one scheduler step: ours, torch's, transformers' and timm's, side by side in one run.

    python benchmarks/drive.py [--groups 1 10 100] [--rounds 15]

Each takes the rate of a warm-up and a cosine from step to step, with float rates and with rates in tensors. They take
turns, round by round; shown are medians, and beside ours the ratio to torch's CosineAnnealingLR. `optimizer.step()` is
not in the time. Results go into a dated record.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import statistics
import sys
import time
import types
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import surefoot as sf
import torch
from surefoot.torch import drive

RECORDS = Path(__file__).parent / "records"
TOTAL, CALLS = 100_000, 300


def optimizer(groups: int, *, is_tensor: bool) -> torch.optim.Optimizer:
    rate = (lambda: torch.tensor(0.1)) if is_tensor else (lambda: 0.1)
    parameters = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate()} for _ in range(groups)]
    made = torch.optim.Adam(parameters)
    made.step()  # or torch warns of the order
    return made


def timm_schedulers() -> Any:
    """Return timm.scheduler, unchanged, without the rest of timm: its models need torchvision, schedulers do not."""
    if "timm" not in sys.modules:
        spec = importlib.util.find_spec("timm")
        assert spec is not None
        package = types.ModuleType("timm")
        package.__spec__, package.__path__ = spec, list(spec.submodule_search_locations or [])
        sys.modules["timm"] = package
    return importlib.import_module("timm.scheduler")


def ours(made: torch.optim.Optimizer) -> Callable[[], Any]:
    lr = drive(made, sf.linear_warmup("2%") >> sf.cosine_decay(), total_steps=TOTAL)

    def step() -> None:
        lr._updates.count = 1  # noqa: SLF001 - what the hook of optimizer.step() does
        lr.step()

    return step


def sequential(made: torch.optim.Optimizer) -> Callable[[], Any]:
    kinds = torch.optim.lr_scheduler
    parts = [kinds.LinearLR(made, 0.01, total_iters=2000), kinds.CosineAnnealingLR(made, TOTAL)]
    return kinds.SequentialLR(made, parts, [2000]).step


def others(made: Callable[[], torch.optim.Optimizer], *, is_tensor: bool) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {}
    if importlib.util.find_spec("transformers"):
        from transformers import get_cosine_schedule_with_warmup

        found["transformers"] = get_cosine_schedule_with_warmup(made(), 2000, TOTAL).step
    if importlib.util.find_spec("timm") and not is_tensor:  # it replaces tensors by floats
        CosineLRScheduler = timm_schedulers().CosineLRScheduler  # noqa: N806 - its name

        scheduler, count = CosineLRScheduler(made(), TOTAL, warmup_t=2000, t_in_epochs=False), iter(range(10**9))
        found["timm"] = lambda: scheduler.step_update(next(count))
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--groups", type=int, nargs="+", default=[1, 10, 100])
    arguments.add_argument("--rounds", type=int, default=15)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for is_tensor in (False, True):
        for groups in given.groups:

            def made(groups: int = groups, is_tensor: bool = is_tensor) -> torch.optim.Optimizer:  # noqa: FBT001
                return optimizer(groups, is_tensor=is_tensor)

            ways = {
                "ours": ours(made()),
                "torch": torch.optim.lr_scheduler.CosineAnnealingLR(made(), TOTAL).step,
                "SequentialLR": sequential(made()),
            }
            ways |= others(made, is_tensor=is_tensor)
            times: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(given.rounds):
                for way, step in ways.items():
                    began = time.perf_counter()
                    for _ in range(CALLS):
                        step()
                    times[way].append(1e6 * (time.perf_counter() - began) / CALLS)
            us = {way: round(statistics.median(t), 3) for way, t in times.items()}
            rows.append({"rates": "tensors" if is_tensor else "floats", "groups": groups, "us": us})
            text = "  ".join(f"{way} {t:8.2f}" for way, t in us.items())
            print(
                f"{rows[-1]['rates']:8s}{groups:4d} groups  {text}   torch / ours {us['torch'] / us['ours']:.1f}",
                flush=True,
            )
    today = datetime.now(UTC)
    record = RECORDS / f"{today:%Y-%m-%d}-drive.json"
    record.write_text(
        json.dumps({"date": f"{today:%Y-%m-%d %H:%M} UTC", "torch": torch.__version__, "rows": rows}) + "\n"
    )


if __name__ == "__main__":
    main()
