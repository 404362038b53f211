"""`surefoot simulate`: what a plan for the learning rate does over a run, without training."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from surefoot.cli import _show
from surefoot.cli._find import user_code
from surefoot.cli._plan import Plan, plan_of

if TYPE_CHECKING:
    from surefoot.schedules import Finding

BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN_BLOCKS = "     #"
HEIGHT = 8  # lines of the picture
MARGIN = 12  # columns left of it
SHARES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # of the run; where the table has its rows


@click.command(short_help="Show what a schedule does over a run, without training.")
@click.argument("plan")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Steps of the run.  [default: the plan's own]")
@click.option("--base", type=float, metavar="LR", help="The learning rate that factors multiply.  [default: 1]")
@click.option("--steps-per-epoch", type=float, metavar="N", help="Needed for lengths in epochs.")
@click.option("--floor", type=float, metavar="LR", help="The least rate that something else keeps; only looked at.")
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="PATH", help="Draw the curve into a file (.png, .svg)."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print the rate of every step as CSV, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print rates and findings as JSON, and nothing else.")
@click.pass_context
def simulate(ctx: click.Context, /, plan: str, **options: Any) -> None:
    """Show what a schedule does over a run, and what about it is probably not meant. Nothing is trained.

    PLAN is an expression of surefoot's schedules, a JSON file (of `to_dict`, or a search's found.json), or an object:
    path/to/file.py:name or package.module:name. The object is a schedule, a function of the step (such as a Keras
    LearningRateSchedule or an optax schedule), a torch or transformers scheduler with its optimizer, or a function that
    returns one of them.

    \b
    Examples:
      surefoot simulate "linear_warmup('5%') >> cosine_decay(to=0.1)" --steps 1000
      surefoot simulate "warmup_stable_decay('2%')" --steps 1000 --base 3e-4 --plot plan.png
      surefoot simulate train.py:scheduler --steps 1000 --csv > rates.csv

    \b
    Exit codes: 0 shown (with or without findings), 1 failed, 2 wrong usage.
    """  # noqa: D301 - click's mark for lines to be left as they are
    picture: Path | None = options["plot"]
    if picture is not None and picture.suffix.lower() not in {".png", ".svg"}:
        raise click.UsageError(f"--plot {picture}: the name must end in .png or .svg.", ctx)
    if options["as_csv"] and options["as_json"]:
        raise click.UsageError("--csv and --json: there can only be one of them.", ctx)
    with user_code():  # which may print
        thing = plan_of(plan)
    if thing.scheduler is not None and options["base"] is not None:
        raise click.UsageError(f"{plan} has its learning rate from its optimizer: --base cannot change it.", ctx)
    steps = options["steps"] or _own_steps(ctx, thing)
    base = 1.0 if options["base"] is None else options["base"]
    with user_code():
        rates = thing.rates(steps, base, options["steps_per_epoch"])
        findings = _findings(thing, rates, base, options)
    if picture is not None:
        from surefoot.report import plot_rates  # noqa: PLC0415 - matplotlib is an extra

        plot_rates(rates, picture, title=thing.name, marks=[f.step for f in findings if f.step is not None])
    if options["as_csv"]:
        click.echo("\n".join(["step,learning_rate", *(f"{step},{rate!r}" for step, rate in enumerate(rates))]))
    elif options["as_json"]:
        click.echo(_json(thing, rates, findings))
    else:
        click.echo(answer(thing.name, rates, findings, picture))


def _own_steps(ctx: click.Context, plan: Plan) -> int:
    schedule = plan.schedule
    if schedule is not None and schedule.is_resolved and isinstance(schedule.length, int | float):
        return max(1, math.ceil(schedule.length))
    raise click.UsageError("How long is the run? Pass --steps N.", ctx)


def _findings(plan: Plan, rates: list[float], base: float, options: dict[str, Any]) -> list[Finding]:
    from surefoot.schedules import check  # noqa: PLC0415 - not for --help

    steps, floor = len(rates), options["floor"]
    if plan.schedule is not None:
        per_epoch = options["steps_per_epoch"]
        return check(plan.schedule, base=base, total_steps=steps, steps_per_epoch=per_epoch, floor=floor)
    if plan.function is not None:
        return check(plan.function, base=base, total_steps=steps, floor=floor)
    return check(lambda step: rates[step], total_steps=steps, floor=floor)  # a scheduler cannot be asked twice


def _json(plan: Plan, rates: list[float], findings: list[Finding]) -> str:
    answer = {
        "plan": plan.name,
        "schedule": None if plan.schedule is None else plan.schedule.to_dict(),
        "steps": len(rates),
        "learning_rates": [rate if math.isfinite(rate) else None for rate in rates],
        "findings": [asdict(finding) for finding in findings],
    }
    return json.dumps(answer, indent=1, allow_nan=False)


def answer(name: str, rates: Sequence[float], findings: Sequence[Finding], picture: Path | None) -> str:
    """Return what is shown: the plan, its curve, a few rows, and the findings."""
    width = min(shutil.get_terminal_size().columns, _show.MAX_WIDTH)
    rows = [_show.row("plan", f"{name}, {len(rates):,} step{'s' * (len(rates) != 1)}", width), ""]
    rows += [*curve(rates, max(width - MARGIN - 2, 20), blocks()), ""]
    rows += table(rates)
    if findings:
        rows += ["", *(_show.row("caution", str(finding), width) for finding in findings)]
    if picture is not None:
        rows += ["", _show.row("file", str(picture), width)]
    return "\n".join(rows)


def blocks() -> str:
    """Return blocks that the terminal can show."""
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN_BLOCKS
    return BLOCKS


def curve(rates: Sequence[float], width: int, letters: str = BLOCKS) -> list[str]:
    """Draw the rates with letters, from 0 to the highest.

    >>> [line.strip() for line in curve([0.0, 1.0, 0.5, 0.25], 4)[-3:]]
    ['███', '0  ███', '0  3']
    """
    count = min(width, len(rates))
    columns = [rates[round(k * (len(rates) - 1) / max(count - 1, 1))] for k in range(count)]
    top = max((rate for rate in columns if math.isfinite(rate)), default=0.0)
    eighths = len(letters) - 1
    full = HEIGHT * eighths
    heights = [
        min(full, max(0, round(rate / top * full))) if math.isfinite(rate) and top > 0 else 0 for rate in columns
    ]
    lines: list[str] = []
    for line in range(HEIGHT - 1, -1, -1):
        label = _show.rate(top) if line == HEIGHT - 1 else "0" if line == 0 else ""
        cells = "".join(letters[min(eighths, max(0, height - line * eighths))] for height in heights)
        lines.append(f"  {label:>{MARGIN - 2}s} {cells}")
    last = str(len(rates) - 1)
    return [*lines, f"  {'':{MARGIN - 2}s} 0{last:>{max(count - 1, len(last) + 1)}s}"]


def table(rates: Sequence[float]) -> list[str]:
    """Return a few rows of step and rate: the start, the highest, and some shares of the run."""
    last = len(rates) - 1
    highest = max(range(len(rates)), key=lambda step: (math.isfinite(rates[step]), rates[step]))
    steps = sorted({round(share * last) for share in SHARES} | {highest})
    wide = max(len("step"), len(str(last)))
    head = f"  {'step':>{wide}s}  learning rate"
    notes = {highest: "highest", last: "last update"}
    return [
        head,
        *(f"  {step:>{wide}d}  {rates[step]:<13.6g}  {notes.get(step, '')}".rstrip() for step in steps),
    ]
