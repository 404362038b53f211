"""A user's own script as a job: a command line with {lr}, {steps} and {seed}, and a metric that it prints."""

from __future__ import annotations

import difflib
import itertools
import logging
import math
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from surefoot import _checks
from surefoot._errors import JobError
from surefoot.schedules import constant
from surefoot.search import _process
from surefoot.search._job import TrialFailed
from surefoot.search._metric import Metric

_log = logging.getLogger(__name__)
_TOKENS = ("lr", "steps", "seed")
# {{name}} stands for a literal {name}. Other braces, as in JSON, are no placeholders.
_TOKEN = re.compile(r"\{\{(?P<literal>[A-Za-z_]\w*)\}\}|\{(?P<token>[A-Za-z_]\w*)\}")
_WHERE = "CommandJob"


@dataclass(slots=True)
class _Run:
    """What the search asked for so far, and the value that it got."""

    learning_rate: float
    seed: int
    steps: int = 0
    value: float | None = None


class CommandJob:
    """Search the learning rate of an unmodified script.

    The script is run from start to end for each trial, with the rate, the number of steps and the seed on its command
    line, and prints its validation loss. It applies its own schedule, which must reach its end at `{steps}`.

    Args:
        command: the command and its arguments, with the placeholders `{lr}`, `{steps}` and, if the script takes one,
            `{seed}`. Never run through a shell. Other braces are left alone; `{{name}}` stands for `{name}`.
        total_steps: the length of the real run in steps.
        metric: what to read from the output, its last value counts: a name, found in a JSON line or as `name=value`
            or `name: value`, or "re:" and a regular expression with one group. Standard output goes before standard
            error; only the last 64 KB of each are kept.
        learning_rate: where the search starts.
        timeout: seconds that one trial may take; it is then stopped, with everything it started, and counts as failed.
        goal: "min", or "max" for a metric between 0 and 1 such as an accuracy, which is searched as 1 - value.
        name: what to call it; the script's name if not given.
        cwd: the folder to run in.
        env: environment variables to add to the present ones.

    Attributes:
        log_dir: a folder for the output of every trial, or None. May be set at any time.

    Raises:
        ArgumentError: a placeholder is missing or unknown, or another argument is not allowed.
        JobError: the command does not exist.

    >>> job = CommandJob(["echo", "val_loss={lr}", "after {steps}"], total_steps=100)
    >>> run = job.start(0.01, seed=0)
    >>> job.advance(run, [1.0] * 100)
    ()
    >>> job.evaluate(run)
    0.01

    .. versionadded:: 0.1.0
    """

    can_fork = False
    epochs: float | None = None

    def __init__(
        self,
        command: Sequence[str],
        *,
        total_steps: int,
        metric: str = "val_loss",
        learning_rate: float = 1e-3,
        timeout: float | None = None,
        goal: Literal["min", "max"] = "min",
        name: str | None = None,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._command = _checked_command(command)
        self.total_steps = _checks.integer(_WHERE, "total_steps", total_steps, at_least=1)
        self._metric = Metric(metric)
        self.default_learning_rate = _checks.number(_WHERE, "learning_rate", learning_rate, above=0)
        self._timeout = None if timeout is None else _checks.number(_WHERE, "timeout", timeout, above=0)
        self._goal = _checks.one_of(_WHERE, "goal", goal, ("min", "max"))
        self.name = _script_name(self._command) if name is None else name
        self._cwd = None if cwd is None else Path(cwd)
        if self._cwd is not None and not self._cwd.is_dir():
            raise _checks.refuse(_WHERE, "cwd", str(cwd), "an existing folder")
        self._env = None if env is None else dict(env)
        self.schedule = constant()  # the script has its own
        self.log_dir: Path | None = None
        if not _exists(self._command[0], self._cwd, self._env):
            raise _not_found(self._command[0], self._cwd)

    def start(self, learning_rate: float, *, seed: int) -> _Run:
        """Note the rate and the seed; nothing is run before `evaluate`."""
        return _Run(learning_rate, seed)

    def advance(self, run: _Run, factors: Sequence[float]) -> tuple[float, ...]:
        """Count the steps; the script follows its own schedule, so the factors' values are not used."""
        run.steps += len(factors)
        run.value = None
        return ()

    def evaluate(self, run: _Run) -> float:
        """Run the command, once, and return its metric; NaN where there are no steps to train."""
        if run.value is None:
            run.value = self._measure(run) if run.steps else float("nan")
        return run.value

    def fork(self, run: _Run) -> _Run:
        """Refuse: a script's run cannot be copied in the middle."""
        del run
        raise RuntimeError("A CommandJob cannot fork (`can_fork` is False): its runs go from start to end.")

    def describe(self) -> dict[str, Any]:
        """Return plain data that tells this job from another."""
        return {
            "kind": "command",
            "name": self.name,
            "command": list(self._command),
            "metric": self._metric.text,
            "goal": self._goal,
            "total_steps": self.total_steps,
            "schedule": "own",
            "learning_rate": self.default_learning_rate,
        }

    def command_line(self, learning_rate: float, steps: int, seed: int) -> list[str]:
        """Return the command as it is run for one trial.

        >>> CommandJob(["echo", '{"lr": {lr}}', "{steps}"], total_steps=9).command_line(1e-5, 9, 0)
        ['echo', '{"lr": 1.0e-05}', '9']
        """
        values = {"lr": _exactly(learning_rate), "steps": str(steps), "seed": str(seed)}

        def fill(match: re.Match[str]) -> str:
            return "{" + match["literal"] + "}" if match["literal"] else values[match["token"]]

        return [_TOKEN.sub(fill, part) for part in self._command]

    def _measure(self, run: _Run) -> float:
        argv = self.command_line(run.learning_rate, run.steps, run.seed)
        try:
            ended = _process.run(argv, timeout=self._timeout, cwd=self._cwd, env=self._env)
        except OSError as error:
            raise _not_found(argv[0], self._cwd, why=str(error)) from error
        self._write_log(run, argv, ended)
        tail = _process.last_lines(ended)
        if ended.timed_out:
            raise TrialFailed(
                f"`{self.name}` ran longer than timeout={self._timeout:g} s and was stopped, with everything it had "
                f"started. Its last lines:\n{tail}"
            )
        if ended.exit_code != 0:
            raise TrialFailed(f"`{self.name}` ended with {_process.ending(ended.exit_code)}. Its last lines:\n{tail}")
        return self._value(ended, tail)

    def _value(self, ended: _process.Ended, tail: str) -> float:
        try:
            value = self._metric.read(ended.stdout, ended.stderr)
        except ValueError as error:
            raise TrialFailed(
                f"`{self.name}`: the group of {self._metric.text!r} matched {str(error)!r}, which is no number."
            ) from None
        if value is None:
            raise TrialFailed(
                f"`{self.name}` ended well but did not print its metric {self._metric.text!r}. Looked for: "
                f"{self._metric.wanted()}. Its last lines:\n{tail}"
            )
        if self._goal == "min" or math.isnan(value):
            return value
        if not 0 <= value <= 1:
            raise TrialFailed(
                f"`{self.name}` printed {self._metric.text} = {value:g}; with goal='max' it must be between 0 and 1. "
                "Print a share instead of percent, or a loss with goal='min'."
            )
        return 1.0 - value

    def _write_log(self, run: _Run, argv: Sequence[str], ended: _process.Ended) -> None:
        if self.log_dir is None:
            return
        path = self.log_dir / f"lr{_exactly(run.learning_rate)}-steps{run.steps}-seed{run.seed}.txt"
        how = "stopped at its time limit" if ended.timed_out else _process.ending(ended.exit_code)
        text = f"$ {argv!r}\n# {how}\n# stdout\n{ended.stdout}\n# stderr\n{ended.stderr}\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:  # the trial is worth more than its log
            _log.warning("cannot write %s: %s", path, error)


def _checked_command(command: object) -> tuple[str, ...]:
    allowed = "a list of the command and its arguments"
    if isinstance(command, str | bytes) or not isinstance(command, Sequence):
        cure = "There is no shell: split a line with shlex.split(command)."
        raise _checks.refuse_type(_WHERE, "command", command, allowed, cure)
    parts: list[str] = []
    for part in command:  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(part, str | os.PathLike):
            raise _checks.refuse_type(_WHERE, "command", command, f"{allowed}, all strings")  # pyright: ignore[reportUnknownArgumentType]
        parts.append(os.fspath(part))  # pyright: ignore[reportUnknownArgumentType]
    if not parts or not parts[0]:
        raise _checks.refuse(_WHERE, "command", parts, allowed, "For example ['python', 'train.py', '--lr', '{lr}'].")
    _check_placeholders(parts)
    return tuple(parts)


def _check_placeholders(parts: list[str]) -> None:
    used = {match["token"] for part in parts for match in _TOKEN.finditer(part) if match["token"]}
    for token in sorted(used.difference(_TOKENS)):
        close = difflib.get_close_matches(token, _TOKENS, n=1, cutoff=0.5)
        guess = {"learning_rate": "lr", "rate": "lr"}.get(token, close[0] if close else "")
        hint = f"Did you mean {{{guess}}}? " if guess else ""
        cure = f"{{{token}}} is none of them. {hint}Write {{{{{token}}}}} if the script is to see {{{token}}}."
        raise _checks.refuse(_WHERE, "command", parts, "written with the placeholders {lr}, {steps} and {seed}", cure)
    if "lr" not in used:
        cure = "Without it every trial would be the same. Put it where the rate goes, as in `--lr {lr}`."
        raise _checks.refuse(_WHERE, "command", parts, "a command with the placeholder {lr}", cure)
    if "steps" not in used:
        cure = (
            "The search tries rates in runs that are shorter than the real one, so the script must be told how long "
            "to train, as in `--steps {steps}`."
        )
        raise _checks.refuse(_WHERE, "command", parts, "a command with the placeholder {steps}", cure)


def _exactly(learning_rate: float) -> str:
    """Write a rate so that it reads back the same; with a point, since YAML takes 1e-05 for a word."""
    text = repr(float(learning_rate))
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _script_name(command: Sequence[str]) -> str:
    """Return the script's name: of `python train.py`, train; of `python -m pack.train`, pack.train."""
    first = Path(command[0]).name
    if not re.fullmatch(r"(python|pypy)[\d.]*(\.exe)?", first):
        return first
    for previous, part in itertools.pairwise(command):
        if part.endswith(".py"):
            return Path(part).stem
        if previous == "-m":
            return part
    return "command"


def _exists(program: str, cwd: Path | None, env: Mapping[str, str] | None) -> bool:
    if os.path.dirname(program) and cwd is not None:  # noqa: PTH120 - Path drops the "./" that matters here
        program = str(cwd / program)
    return shutil.which(program, path=(env or {}).get("PATH")) is not None


def _not_found(program: str, cwd: Path | None, *, why: str = "") -> JobError:
    """Return the error for a command that cannot be started, with the nearest cure."""
    path = (cwd or Path()) / program
    if path.is_file() and path.suffix == ".py":
        cure = f"Start it with Python: `python {program} ...`."
    elif path.is_file():
        cure = f"The file is there but cannot be run: make it executable (`chmod +x {program}`)."
    elif program.startswith("python"):
        cure = f"The Python that runs surefoot is `{sys.executable}`."
    else:
        cure = "Check the spelling, or give the full path of the program."
    said = f" ({why})" if why else ""
    return JobError(f"The command `{program}` cannot be started{said}. {cure}")
