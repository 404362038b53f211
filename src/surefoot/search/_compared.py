"""What a comparison of methods returns: one table, one recommendation, and what it cost."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from surefoot._errors import JobError, StateError
from surefoot.search._found import Found, as_plain

if TYPE_CHECKING:
    from surefoot.search._train import Trained

VERSION = 1  # of the JSON form

MethodOutcome = Literal["finished", "stopped", "diverged", "failed", "unfinished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """One line of the table: one optimizer, and how far its real run came.

    Attributes:
        method: the optimizer's name.
        is_tuned: whether its learning rate was searched; if not, the method finds its own.
        learning_rate: the found peak rate; of a method that finds its own, the factor that it was given. NaN if the
            search failed.
        interval: (low, high) of a found rate, as in `Found`.
        outcome: "finished"; "stopped" (clearly behind at a look, so not trained on); "diverged"; "failed" (its search
            found no rate, or the job broke: `note` says how); "unfinished" (the comparison was interrupted).
        step: how far its real run was trained.
        val_loss: the validation loss at the end of its real run, the mean over its seeds; None if it has none.
        val_losses: (seed, that loss) for each seed; infinity where the run diverged.
        looks: (step, loss) where it was compared with the others on the way: of a copy, its rate let fall to 0.
        search_cost: training steps of its search, in run equivalents.
        cost: all training steps spent on it, in run equivalents.
        note: one sentence where there is something to say.
    """

    method: str
    is_tuned: bool
    learning_rate: float
    interval: tuple[float, float] | None = None
    outcome: MethodOutcome
    step: int
    val_loss: float | None = None
    val_losses: tuple[tuple[int, float], ...] = ()
    looks: tuple[tuple[int, float], ...] = ()
    search_cost: float = 0.0
    cost: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison of methods on one job, one schedule, the same seeds and the same budget.

    Attributes:
        best: the recommended method.
        table: all methods, the best first.
        why: what the recommendation rests on, in plain sentences.
        cautions: when not to trust it.
        found: the answer of the search of each method whose rate was searched and found.
        cost: all training steps, in run equivalents (1.0 = the steps of one real run).
        budget: what each search was allowed.
        allowed: what all of it was allowed: for each method its search and one real run.
        seed: the first seed.
        is_complete: False if it was interrupted, and this is what was known by then.
    """

    job: str
    best: str
    table: tuple[MethodResult, ...]
    why: tuple[str, ...]
    cautions: tuple[str, ...]
    found: Mapping[str, Found]
    cost: float
    budget: float
    allowed: float
    seed: int
    total_steps: int
    schedule: dict[str, Any]
    versions: dict[str, str]
    is_complete: bool = True
    run_dir: str | None = None
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    _finish: Callable[[], Trained] | None = field(default=None, repr=False, compare=False)  # of this process

    @property
    def learning_rate(self) -> float:
        """The rate of the best method; if it finds its own, the factor that it is given."""
        return self[self.best].learning_rate

    def __getitem__(self, method: str) -> MethodResult:
        """Return the line of a method."""
        for result in self.table:
            if result.method == method:
                return result
        raise KeyError(f"{method!r} was not compared; there are {', '.join(r.method for r in self.table)}")

    def train(self) -> Trained:
        """Return the trained model of the best method: its real run, trained to its end if it was not yet.

        Each call returns a copy of its own.

        Raises:
            JobError: the job cannot be forked, or this comparison comes from a file or is a copy.
        """
        if self._finish is None:
            raise JobError(
                "this comparison was loaded or copied, so its runs are gone. Call train() on what `find` returned, or "
                f"start the real run yourself: {self.best} with a learning rate of {self.learning_rate:g}."
            )
        return self._finish()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; floats that are not finite become strings."""
        skipped = {"found", "_finish"}
        plain = {f.name: as_plain(getattr(self, f.name)) for f in fields(self) if f.name not in skipped}
        found = {method: answer.to_dict() for method, answer in self.found.items()}
        return {"format": "surefoot.compared", "version": VERSION, **plain, "found": found}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Compared:
        """Return the comparison that `to_dict` gave.

        Raises:
            StateError: it is something else, damaged, or of another version.
        """
        if plain.get("format") != "surefoot.compared" or plain.get("version") != VERSION:
            raise StateError(
                "this is no comparison that this version of surefoot can read: its format is "
                f"{plain.get('format')!r}, version {plain.get('version')!r}; wanted are 'surefoot.compared' and {VERSION}."
            )
        known: dict[str, Any] = {f.name: plain[f.name] for f in fields(cls) if f.name in plain}
        try:
            for name in ("cost", "budget", "allowed"):
                known[name] = float(known[name])
            known["why"], known["cautions"] = tuple(known["why"]), tuple(known["cautions"])
            known["table"] = tuple(_result(row) for row in known["table"])
            known["found"] = {name: Found.from_dict(answer) for name, answer in known["found"].items()}
            compared = cls(**known)
            compared[compared.best]  # the best one has a line
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            cure = "Take the file as `Compared.save` wrote it."
            raise StateError(f"this comparison is damaged: {error!r}. {cure}") from error
        return compared

    @classmethod
    def load(cls, path: str | Path) -> Compared:
        """Read a comparison that `save` wrote.

        Raises:
            StateError: the file is no comparison of surefoot.
            OSError: the file cannot be read.
        """
        try:
            plain: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise StateError(f"{str(path)!r} is no comparison of surefoot: {error}.") from error
        if not isinstance(plain, dict):
            raise StateError(f"{str(path)!r} is no comparison of surefoot.")
        return cls.from_dict(cast("dict[str, Any]", plain))

    def save(self, path: str | Path) -> Path:
        """Write the comparison as JSON, whole or not at all, and return the path."""
        from surefoot.run import write_atomically  # noqa: PLC0415 - keeps this module free of file handling

        path = Path(path)
        write_atomically(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")
        return path

    def report(self, path: str | Path) -> Path:
        """Write table, recommendation and the evidence of each search as one self-contained HTML page."""
        from surefoot.report import write_comparison  # noqa: PLC0415 - as in `Found.report`

        return write_comparison(self, path)

    def __getstate__(self) -> list[Any]:
        """Leave the runs behind in pickles and copies."""
        return [None if f.name == "_finish" else getattr(self, f.name) for f in fields(self)]

    def __str__(self) -> str:
        """Return the table, and the recommendation below it."""
        rows = [COLUMNS, *(cells(self, result) for result in self.table)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, "", *self.why])


COLUMNS = ("method", "learning rate", "val loss", "to the best", "seeds", "cost", "outcome")


def cells(compared: Compared, result: MethodResult) -> tuple[str, ...]:
    """Return a line of the table as texts, in the order of COLUMNS."""
    rate = "" if math.isnan(result.learning_rate) else f"{result.learning_rate:.3g}"
    if not result.is_tuned:
        rate = f"its own x {rate}" if result.learning_rate != 1.0 else "its own"
    above = None if result.method == compared.best else behind(compared[compared.best], result)
    outcome = result.outcome
    step = result.looks[-1][0] if outcome == "stopped" and result.looks else result.step
    if outcome in ("stopped", "diverged", "unfinished") and 0 < step < compared.total_steps:
        outcome = f"{outcome} at step {step}"
    seeds = str(len(result.val_losses) or "")
    loss = "" if result.val_loss is None else f"{result.val_loss:.4g}"
    percent = "" if above is None else f"{100 * above:+.1f} %"
    return result.method, rate, loss, percent, seeds, f"{result.cost:.2f}", outcome


def behind(best: MethodResult, other: MethodResult) -> float | None:
    """Return how far another loss is above the best one, as a share, on the seeds that both have; None if that has no meaning."""
    known, others = dict(best.val_losses), dict(other.val_losses)
    seeds = [seed for seed in known if seed in others]
    low, high = sum(known[seed] for seed in seeds), sum(others[seed] for seed in seeds)
    return high / low - 1 if 0 < low < math.inf and math.isfinite(high) else None


def _result(plain: Mapping[str, Any]) -> MethodResult:
    known: dict[str, Any] = {f.name: plain[f.name] for f in fields(MethodResult) if f.name in plain}
    for name in ("learning_rate", "search_cost", "cost"):
        known[name] = float(known[name])
    if known["val_loss"] is not None:
        known["val_loss"] = float(known["val_loss"])
    if known["interval"] is not None:
        low, high = cast("Sequence[Any]", known["interval"])
        known["interval"] = float(low), float(high)
    for name in ("val_losses", "looks"):
        known[name] = tuple((int(at), float(loss)) for at, loss in known[name])
    return MethodResult(**known)
