"""What a search returns: the learning rate, how sure it is, what it cost, and every trial behind it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from surefoot._checks import number, one_of, refuse
from surefoot._errors import JobError, StateError

if TYPE_CHECKING:
    from surefoot.search._lab import Progress
    from surefoot.search._train import Keep, Trained

VERSION = 1  # of the JSON form

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


Finish = Callable[["Keep", Sequence[float], "Callable[[Progress], None] | None"], "Trained"]


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
    _finish: Finish | None = field(default=None, repr=False, compare=False)  # of this process; never saved or copied

    def train(
        self,
        *,
        keep: Keep = "end",
        late_rates: Sequence[float] = (),
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Trained:
        """Train the real run at the found rate to its end, from where the search has left it.

        It is the run that training from the start with this rate, schedule and seed gives, without the steps that the
        search has paid for already (`spent - cost`). Each call goes on from a copy and returns a run of its own.

        Args:
            keep: which model to return. "end": that of the real run at its end. "last": the best of those that have come
                to the end of their schedules: the real run, its siblings and the forks of the search. "best": the best
                of all these at any of 16 looks a run; a run that has not improved for five of them is stopped.
            late_rates: each makes a sibling of the real run, whose rate is multiplied with it from 5/8 of the run on.
            on_progress: called with a `Progress` every few steps.

        Raises:
            ArgumentError: a value is not allowed.
            JobError: the job cannot be forked, or this answer comes from a file or is a copy: then the search's runs
                are gone.
        """
        one_of("Found.train", "keep", keep, ("end", "last", "best"))
        late = [number("Found.train", "late_rates", rate, above=0.0) for rate in late_rates]
        if late and keep == "end":
            cure = "Take keep='last' or 'best'."
            raise refuse("Found.train", "late_rates", late_rates, "left out where the real run is kept anyway", cure)
        if self._finish is None:
            raise JobError(
                "this answer was loaded or copied, so the runs of its search are gone. Call train() on what `find` "
                f"returned, or start the real run yourself, with a learning rate of {self.learning_rate:g}."
            )
        return self._finish(keep, late, on_progress)

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain data; NaN and infinity become the strings "nan", "inf", "-inf"."""
        plain: dict[str, Any] = {
            f.name: as_plain(getattr(self, f.name)) for f in fields(self) if not f.name.startswith("_")
        }
        return {"format": "surefoot.found", "version": VERSION, **plain}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Found:
        """Return the answer that `to_dict` gave.

        Raises:
            StateError: this is no answer of surefoot, or one of a newer version.
        """
        if plain.get("format") != "surefoot.found" or plain.get("version") != VERSION:
            raise StateError(
                f"this is no answer that this version of surefoot can read: its format is {plain.get('format')!r}, "
                f"version {plain.get('version')!r}; wanted are 'surefoot.found' and {VERSION}."
            )
        known: dict[str, Any] = {f.name: plain[f.name] for f in fields(cls) if f.name in plain}
        try:
            for name in ("learning_rate", "cost", "spent", "budget", "default_learning_rate"):
                known[name] = float(known[name])  # "nan" and "inf", too
            known["interval"] = _numbers(known["interval"])
            known["why"], known["cautions"] = tuple(known["why"]), tuple(known["cautions"])
            known["trials"] = tuple(_trial(t) for t in known["trials"])
            known["curves"] = tuple(
                Curve(rung=c["rung"], learning_rates=_numbers(c["learning_rates"]), losses=_numbers(c["losses"]))
                for c in known["curves"]
            )
            return cls(**known)
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"this answer is damaged: {error!r}. Take the file as `Found.save` wrote it.") from error

    @classmethod
    def load(cls, path: str | Path) -> Found:
        """Read an answer that `save` wrote; its picture and report can be drawn again.

        Raises:
            StateError: the file is no answer of surefoot.
            OSError: the file cannot be read.
        """
        try:
            plain: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise StateError(f"{str(path)!r} is no answer of surefoot: {error}.") from error
        if not isinstance(plain, dict):
            raise StateError(f"{str(path)!r} is no answer of surefoot.")
        return cls.from_dict(cast("dict[str, Any]", plain))

    def __getstate__(self) -> list[Any]:
        """Leave the runs of the search behind in pickles and copies."""
        return [None if f.name == "_finish" else getattr(self, f.name) for f in fields(self)]

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


def as_plain(value: Any) -> Any:
    """Return records, mappings and sequences as JSON has them; NaN and infinity as strings."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): as_plain(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [as_plain(v) for v in cast("Sequence[Any]", value)]
    return value


def _numbers(values: Sequence[Any]) -> Any:
    return tuple(float(v) for v in values)


def _trial(plain: Mapping[str, Any]) -> Trial:
    known: dict[str, Any] = {f.name: plain[f.name] for f in fields(Trial) if f.name in plain}
    for name in ("learning_rate", "train_loss", "val_loss", "best_val_loss"):
        known[name] = None if known[name] is None else float(known[name])
    for name in ("losses", "val_losses"):
        known[name] = tuple((int(step), float(loss)) for step, loss in known[name])
    return Trial(**known)
