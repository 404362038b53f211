"""`surefoot show`: what happened in a run, read from its folder, also while it goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from surefoot._errors import ArgumentError
from surefoot.cli import _show
from surefoot.cli._simulate import MARGIN, blocks, curve

if TYPE_CHECKING:
    from surefoot.run import Story


@click.command(short_help="Show what happened to the learning rate of a run.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--plot", type=click.Path(path_type=Path), metavar="PATH", help="Draw the rate into a file (.png, .svg).")
@click.option("--json", "as_json", is_flag=True, help="Print the decisions as JSON, and nothing else.")
@click.pass_context
def show(ctx: click.Context, /, run: Path, plot: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Show what happened in a run: its learning rate, and every decision with its cause.

    RUN is the folder of a search (`surefoot find`), or that of a training run whose learning rate is driven with
    `surefoot.torch.drive(..., run_dir=RUN)`. It can be read while the run goes on.

    \b
    Examples:
      surefoot show runs/monday
      surefoot show runs/monday --plot rate.png
    """  # noqa: D301 - click's mark for lines to be left as they are
    from surefoot.run import read_decisions  # noqa: PLC0415 - not for --help

    if plot is not None and plot.suffix.lower() not in {".png", ".svg"}:
        raise click.UsageError(f"--plot {plot}: the name must end in .png or .svg.", ctx)
    if not (run / "decisions.jsonl").exists() and (run / "found.json").exists():
        _show_search(ctx, run, plot, as_json=as_json)
        return
    story = read_decisions(run)
    rates = _rates(story)
    if plot is not None:
        if not rates:
            raise click.UsageError("The schedule of this run holds a function, so its rates are not known.", ctx)
        from surefoot.report import plot_rates  # noqa: PLC0415 - matplotlib is an extra

        marks = [int(story.place(change)) for change in story.changes if story.place(change) < len(rates)]
        plot_rates(rates, plot, title=str(run), marks=marks)
    click.echo(json.dumps(asdict(story), indent=1) if as_json else _answer(run, story, rates, plot))


def _show_search(ctx: click.Context, run: Path, plot: Path | None, *, as_json: bool) -> None:
    from surefoot.search import Found  # noqa: PLC0415 - it loads NumPy

    if as_json:
        click.echo((run / "found.json").read_text(encoding="utf-8"))
        return
    found = Found.load(run / "found.json")
    if plot is not None:
        found.plot(plot)
    click.echo(str(found))
    ctx.exit(0)


def _rates(story: Story) -> list[float]:
    """Return the rate of each update of the run as planned, with what was decided so far; none if it is not known."""
    from surefoot.schedules import from_dict  # noqa: PLC0415 - not for --help

    try:
        schedule = from_dict(story.schedule)
    except ArgumentError:  # functions are not imported just because a file names them
        return []
    changes = [change for change in story.changes if change.get("action") != "replace"]  # which is in the schedule
    factor, rates = 1.0, list[float]()
    for step in range(story.total_steps):
        while changes and story.place(changes[0]) <= step:
            change = changes.pop(0)
            factor *= change["new"] / change["old"] if change["old"] else 1.0
        rates.append(story.base_lrs[0] * schedule(step) * factor)
    return rates


def _answer(run: Path, story: Story, rates: list[float], plot: Path | None) -> str:
    width = min(shutil.get_terminal_size().columns, _show.MAX_WIDTH)
    resumed = [str(step) for step in story.starts if step]
    again = f", gone on with at step {', '.join(resumed)}" if resumed else ""
    base = ", ".join(f"{lr:g}" for lr in story.base_lrs[:4]) + (", …" if len(story.base_lrs) > 4 else "")
    length = f"{story.total_steps:,} steps"
    if story.total_time is not None:
        length = f"{_show.duration(story.total_time)}, planned as {length}"
    rows = [
        _show.row("run", f"{run}, {length}{again}", width),
        _show.row("plan", f"base {base}; {story.plan}", width),
    ]
    if rates:
        rows += ["", *curve(rates, max(width - MARGIN - 2, 20), blocks())]
    rows.append("")
    if not story.changes:
        rows.append(_show.row("decisions", "none so far", width))
    for i, change in enumerate(story.changes):
        rate = f"{change['old']:g}" if change["old"] == change["new"] else f"{change['old']:g} -> {change['new']:g}"
        action = "" if change["action"] == "continue" else f" [{change['action'].replace('_', ' ')}]"
        text = f"step {change['step']:,}: {rate}: {change['cause']} ({change['controller']}){action}"
        rows.append(_show.row("" if i else "decisions", text, width))
    if plot is not None:
        rows += ["", _show.row("file", str(plot), width)]
    return "\n".join(rows)
