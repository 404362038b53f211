"""How far a search is, on standard error: a bar in a terminal, now and then a line elsewhere, nothing if quiet."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Self

import click

from surefoot.cli._show import duration

if TYPE_CHECKING:
    from surefoot.search import Progress

LINE_EVERY = 30.0  # seconds between lines where there is no terminal
DRAW_EVERY = 0.1  # seconds between updates of the bar


@contextlib.contextmanager
def watch(headline: str, *, is_quiet: bool) -> Generator[Lines | Bar | None]:
    """Show the headline and then the progress; yields what `find` reports to."""
    if is_quiet:
        yield None
        return
    is_terminal = sys.stderr.isatty()
    click.echo("  " + (click.style(headline, bold=True) if is_terminal else headline), err=True)
    if not is_terminal:
        yield Lines(time.monotonic)
        return
    with Bar(time.monotonic) as bar:
        yield bar


class Lines:
    """Writes one plain line now and then, for logs, and one at the end."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._started = self._last = now()
        self._spent = 0.0

    def __call__(self, progress: Progress) -> None:
        """Take note of the progress."""
        now, self._spent = self._now(), progress.spent
        if now - self._last >= LINE_EVERY:
            self._last = now
            left = time_left(progress, now - self._started)
            said = f"  {share(progress):4.0%}  {progress.spent:.1f} runs  {progress.phase}  {left}"
            click.echo(said.rstrip(), err=True)

    def finish(self) -> None:
        """Say that all is done."""
        click.echo(f"  100%  {self._spent:.1f} runs  {duration(self._now() - self._started)}", err=True)


class Bar:
    """Draws a bar with the phase, percent, runs spent, time passed and time left."""

    def __init__(self, now: Callable[[], float]) -> None:
        from rich import progress  # noqa: PLC0415 - only where there is a terminal
        from rich.console import Console  # noqa: PLC0415

        self._now = now
        self._started = now()
        self._drawn = -DRAW_EVERY
        self._spent = 0.0
        self._bar = progress.Progress(
            progress.TextColumn("  {task.fields[phase]:9s}"),
            progress.BarColumn(bar_width=30),
            progress.TextColumn("{task.percentage:3.0f} %  {task.fields[spent]:.1f} runs "),
            progress.TimeElapsedColumn(),
            progress.TextColumn(" {task.fields[left]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=1.0, phase="start", spent=0.0, left="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Take note of the progress."""
        now, self._spent = self._now(), progress.spent
        if now - self._drawn >= DRAW_EVERY:
            self._drawn = now
            left = time_left(progress, now - self._started)
            self._draw(share(progress), progress.phase, left)

    def finish(self) -> None:
        """Fill the bar."""
        self._draw(1.0, "done", "")

    def _draw(self, completed: float, phase: str, left: str) -> None:
        self._bar.update(self._task, completed=completed, phase=phase, spent=self._spent, left=left)


def share(progress: Progress) -> float:
    """Return how much of the expected work is done, from 0 to 1."""
    return min(1.0, progress.spent / progress.expected) if progress.expected > 0 else 0.0


def time_left(progress: Progress, elapsed: float) -> str:
    """Say how long it will take, once that can be told."""
    done = share(progress)
    return f"{duration(elapsed * (1 - done) / done)} left" if done > 0.02 else ""
