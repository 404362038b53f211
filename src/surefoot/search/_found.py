"""What a search returns: the learning rate, how sure it is, what it cost, and every trial behind it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["finished", "diverged", "abandoned", "failed"]
Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training run of the search.

    Attributes:
        rung: which part of the search it belongs to: "bracket", "fork", "race", "ladder" or "grid".
        learning_rate: its peak rate.
        horizon: the length in steps that its result speaks for: of a bracket run its own length, of a fork or a race
            the step that it reached.
        steps: optimizer steps that it trained itself (a shared beginning is counted once, in the trial that paid it).
        outcome: "finished"; "diverged" (blew up, a result); "abandoned" (clearly worse, stopped early); "failed" (the
            job itself broke: `note` says how).
        train_loss: mean training loss of its last sixth, at least 6 and at most 40 steps.
        val_loss: the last validation loss.
        best_val_loss: the lowest validation loss at any of its evaluations.
        losses: (step, training loss), thinned to at most 200 points.
        val_losses: (step, validation loss) of every evaluation.
        note: one sentence where there is something to say.
    """

    rung: str
    learning_rate: float
    seed: int
    horizon: int
    steps: int
    outcome: Outcome
    train_loss: float | None = None
    val_loss: float | None = None
    best_val_loss: float | None = None
    losses: tuple[tuple[int, float], ...] = ()
    val_losses: tuple[tuple[int, float], ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A fitted curve of one rung: loss over learning rate, for the pictures."""

    rung: str
    learning_rates: tuple[float, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A found learning rate, with its interval, its evidence and its cost.

    Attributes:
        learning_rate: the answer: the peak rate, to be used with `schedule`.
        interval: (low, high): the range that holds the best rate with about 90 % probability.
        confidence: "high", "medium" or "low"; `cautions` says why it is not high.
        why: one or two plain sentences on what the answer rests on.
        cautions: when not to trust it, in plain sentences; empty if there is nothing to say.
        cost: training steps on top of the real run, in run equivalents (1.0 = the steps of one full run). A piece of
            the real run at the chosen rate that the search has trained already is not counted: it can be continued.
        spent: all training steps of the search, in run equivalents.
        budget: what the search was allowed.
        method: "forks", "forks + race", "ladder" or "grid".
        trials: every trial, in the order in which they were run.
        curves: what was fitted, for the pictures.
        schedule: JSON form of the schedule of the real run.
        is_complete: False if the search was interrupted and this is the best answer so far.
    """

    job: str
    learning_rate: float
    interval: tuple[float, float]
    confidence: Confidence
    why: tuple[str, ...]
    cautions: tuple[str, ...]
    cost: float
    spent: float
    budget: float
    method: str
    trials: tuple[Trial, ...]
    schedule: dict[str, Any]
    total_steps: int
    seed: int
    versions: dict[str, str]
    default_learning_rate: float
    optimizer: str | None = None
    curves: tuple[Curve, ...] = ()
    is_complete: bool = True
    run_dir: str | None = None
    details: dict[str, Any] = field(default_factory=dict[str, Any])

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain data; NaN and infinity become the strings "nan", "inf", "-inf"."""
        plain: dict[str, Any] = _plain(asdict(self))
        return {"format": "surefoot.found", "version": 1, **plain}

    def save(self, path: str | Path) -> Path:
        """Write the answer as JSON, whole or not at all, and return the path."""
        from surefoot.run import write_atomically  # noqa: PLC0415 - keeps this module free of file handling

        path = Path(path)
        write_atomically(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")
        return path

    def plot(self, path: str | Path) -> Path:
        """Draw loss over learning rate, per rung, with the fit, the interval and the pick, as a PNG or SVG."""
        from surefoot.report import plot  # noqa: PLC0415 - matplotlib only when a picture is wanted

        return plot(self, path)

    def report(self, path: str | Path) -> Path:
        """Write the whole evidence as one self-contained HTML page."""
        from surefoot.report import write_report  # noqa: PLC0415 - as above

        return write_report(self, path)

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"learning rate {self.learning_rate:.2g}, good between {low:.2g} and {high:.2g}, "
            f"confidence {self.confidence}, cost {self.cost:.2f} runs"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
    return value
