"""`surefoot find`: a bundled job, a job in a file, or a command; the answer in a few lines, the evidence in a folder."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from surefoot._errors import SurefootWarning
from surefoot.cli import _show, _target
from surefoot.cli._progress import watch

if TYPE_CHECKING:
    from surefoot.search import Compared, Found

INTERRUPTED = 130
_COMMAND = "surefoot.command"  # where the words after `--` are kept
_Write = Callable[[Path], Path]


class _FindCommand(click.Command):
    """A command that keeps everything after `--` as it is: it belongs to the user's script."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            cut = args.index("--")
            ctx.meta[_COMMAND] = args[cut + 1 :]
            args = args[:cut]
        elif any("{lr}" in arg for arg in args):
            raise click.UsageError("Put `--` before the command: surefoot find [OPTIONS] -- COMMAND...", ctx)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


@click.command(cls=_FindCommand, short_help="Find the learning rate of a job, a file's job or a command.")
@click.argument("target", required=False)
@click.option("--optimizer", metavar="NAME", help="Another optimizer for a bundled job, such as adamw or sgd_momentum.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Steps of the real run; needed for a command.")
@click.option("--budget", type=float, default=1.0, show_default=True, metavar="RUNS",
              help="What the search may cost: 1.0 is as much as one real run.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same answer.")
@click.option("--learning-rate", type=float, metavar="LR", help="Where to start; the optimizer's default if not given.")
@click.option("--bounds", type=float, nargs=2, metavar="LOW HIGH", help="Search only between these rates.")
@click.option("--methods", metavar="NAMES",
              help="Compare optimizers, as in adam,prodigy,dog: each that needs a rate gets a search of BUDGET.")  # fmt: skip
@click.option("--executor", type=click.Choice(["serial", "processes", "ray"]), default="serial", show_default=True,
              help="Where trials are trained that do not wait for each other; the answer is the same.")  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="How many processes.  [default: 2]")
@click.option("--address", metavar="ADDRESS", help="Of the Ray cluster; auto is the one of this machine.")
@click.option("--metric", metavar="NAME", help="What a command prints: a name, or re:PATTERN.  [default: val_loss]")
@click.option("--goal", type=click.Choice(["min", "max"]), help="max for a metric between 0 and 1.  [default: min]")
@click.option("--timeout", type=float, metavar="SECONDS", help="How long one run of a command may take.")
@click.option("--run-dir", type=click.Path(path_type=Path), metavar="DIR",
              help="Where to keep everything; one that is there is resumed.  [default: surefoot-runs/TIME-JOB]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON, and nothing else.")
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="PATH", help="Write the picture here too (.png, .svg)."
)
@click.option("--report", type=click.Path(path_type=Path), metavar="PATH", help="Write the report here too (.html).")
@click.option("--quiet", is_flag=True, help="No headline and no progress, only the answer.")
@click.pass_context
def find(ctx: click.Context, /, **options: Any) -> None:
    """Find the learning rate, an interval around it, and say why.

    TARGET is a bundled job (digits, diabetes, chars), or path/to/file.py:job, a job or a function that returns one.
    After `--` stands a command instead, with {lr}, {steps} and, if it takes one, {seed} where they belong; it prints
    its validation loss as `val_loss=0.123` or in a JSON line.

    \b
    Examples:
      surefoot find digits
      surefoot find digits --optimizer sgd_momentum --budget 2
      surefoot find train.py:job --plot rates.png
      surefoot find digits --methods adam,prodigy,dog
      surefoot find train.py:job --executor ray --address auto --run-dir /shared/run-1
      surefoot find --steps 2000 -- python train.py --lr {lr} --steps {steps} --seed {seed}

    \b
    Exit codes: 0 found, 1 failed, 2 wrong usage, 130 interrupted.
    """  # noqa: D301 - click's mark for lines to be left as they are
    plot, report = options["plot"], options["report"]
    if plot is not None and plot.suffix.lower() not in {".png", ".svg"}:
        raise click.UsageError(f"--plot {plot}: the name must end in .png or .svg.", ctx)
    _check_methods(ctx, options)
    for name, executor in (("workers", "processes"), ("address", "ray")):
        if options[name] is not None and options["executor"] != executor:
            raise click.UsageError(f"--{name} goes with --executor {executor}.", ctx)
    with user_code():
        job = _target.job_of(ctx, options, ctx.meta.get(_COMMAND))
    run_dir = options["run_dir"] or _new_run_dir(job.name, dt.datetime.now(dt.UTC))
    if ctx.meta.get(_COMMAND) is not None:
        setattr(job, "log_dir", run_dir / "logs")  # noqa: B010 - a CommandJob, which is not imported for --help
    started = time.monotonic()
    found = _search(ctx, job, options, run_dir)
    seconds = time.monotonic() - started

    written, notes, is_whole = _write(_wanted(found, run_dir, plot, report), run_dir)
    if options["as_json"]:
        click.echo(json.dumps(found.to_dict(), indent=1, allow_nan=False))
    else:
        words = _show.comparison if hasattr(found, "table") else _show.answer
        click.echo(words(cast("Any", found), run_dir, written, seconds))
    for note in notes:
        click.echo(f"note: {note}", err=True)
    if not found.is_complete:
        click.echo(f"interrupted: this is the best answer so far; {_go_on(run_dir)}", err=True)
        ctx.exit(INTERRUPTED)
    if not is_whole:
        ctx.exit(1)


def _check_methods(ctx: click.Context, options: dict[str, Any]) -> None:
    """Refuse what does not go together with a comparison."""
    if options["methods"] is None:
        return
    reasons = {
        "optimizer": "they name the optimizers",
        "learning_rate": "each optimizer has its own usual rate",
        "bounds": "each optimizer has its own range",
        "plot": "a comparison has no picture, only a report",
    }
    if options["executor"] != "serial":
        raise click.UsageError("--methods and --executor: a comparison is trained in one process.", ctx)
    for name, reason in reasons.items():
        if options[name] is not None:
            raise click.UsageError(f"--methods and --{name.replace('_', '-')}: {reason}.", ctx)
    if ctx.meta.get(_COMMAND) is not None:
        raise click.UsageError("--methods is for a job; a command has its own optimizer.", ctx)


def _executor(options: dict[str, Any]) -> Any:
    import surefoot  # noqa: PLC0415 - as in `_search`

    if options["executor"] == "processes":
        return surefoot.Processes(workers=options["workers"] or 2)
    return surefoot.Ray(address=options["address"]) if options["executor"] == "ray" else "serial"


def _search(ctx: click.Context, job: Any, options: dict[str, Any], run_dir: Path) -> Found | Compared:
    import surefoot  # noqa: PLC0415 - `surefoot find --help` needs no search, and so no numpy

    if options["methods"] is not None:
        methods = [name.strip() for name in options["methods"].split(",") if name.strip()]
        settings: dict[str, Any] = {"methods": methods}
        headline = _show.headline(job, methods)
    else:
        bounds = options["bounds"]
        settings = {"learning_rate": options["learning_rate"], "bounds": tuple(bounds) if bounds else None}
        settings["executor"] = _executor(options)
        headline = _show.headline(job)
    find_it = cast("Callable[..., Found | Compared]", surefoot.find)
    found: Found | Compared | None = None
    with (
        contextlib.suppress(KeyboardInterrupt),
        _stopping_like_ctrl_c(),
        watch(headline, is_quiet=options["quiet"]) as on_progress,
        user_code(),
    ):
        found = find_it(
            job,
            budget=options["budget"],
            seed=options["seed"],
            run_dir=run_dir,
            on_progress=on_progress,
            **settings,
        )
        if found.is_complete and on_progress is not None:
            on_progress.finish()
    if found is None:
        click.echo(f"interrupted before there was an answer; {_go_on(run_dir)}", err=True)
        ctx.exit(INTERRUPTED)
    return found


def _go_on(run_dir: Path) -> str:
    return f"the same command with --run-dir {run_dir} goes on from here"


def _wanted(found: Any, run_dir: Path, plot: Path | None, report: Path | None) -> list[tuple[_Write, Path]]:
    """Return what is to be written, and where."""
    more = [(found.report, report)] if report is not None else []
    if hasattr(found, "table"):
        return [(found.report, run_dir / "report.html"), (found.save, run_dir / "compared.json"), *more]
    return [
        (found.report, run_dir / "report.html"),
        (found.save, run_dir / "found.json"),
        (found.plot, run_dir / "plot.png"),
        *([(found.plot, plot)] if plot is not None else []),
        *more,
    ]


def _write(wanted: Sequence[tuple[_Write, Path]], run_dir: Path) -> tuple[list[str], list[str], bool]:
    """Write the evidence; return the files written, notes, and whether all that can be written was."""
    written: list[str] = []
    notes: list[str] = []
    is_whole = True
    for write, path in wanted:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
        except ImportError as error:  # a picture is worth an extra, not an error
            note = f"no picture was drawn: {error}"
            notes += [note] if note not in notes else []
        except Exception as error:
            if os.environ.get("SUREFOOT_TRACEBACK") == "1":
                raise
            notes.append(f"{path} was not written: {error or type(error).__name__}")
            is_whole = False
        else:
            written.append(path.name if path.parent == run_dir else str(path))
    return written, notes, is_whole


def _new_run_dir(name: str, now: dt.datetime) -> Path:
    """Return a folder that is not there yet, named by the time and the job."""
    slug = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "job"
    stem = f"{now:%Y-%m-%dT%H%M%SZ}-{slug[:60]}"
    base = Path("surefoot-runs")
    path, number = base / stem, 1
    while path.exists():
        number += 1
        path = base / f"{stem}-{number}"
    return path


@contextlib.contextmanager
def user_code() -> Generator[None]:
    """Keep standard output for the answer while the user's code runs, and make our warnings one line each."""

    def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if issubclass(category, SurefootWarning):
            sys.stderr.write(f"note: {message}\n")  # not click.echo, which would write into the bar
        else:
            usual(message, category, *rest)

    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        usual = warnings.showwarning
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def _stopping_like_ctrl_c() -> Generator[None]:
    """Treat a request to end (a cluster's, or a closed terminal's) like Ctrl-C: the best answer so far is kept."""

    def interrupt(number: int, frame: object) -> None:
        del number, frame
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # not the main thread
        for number in numbers:
            if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP, and so it stays
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
