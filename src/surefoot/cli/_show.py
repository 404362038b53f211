"""The words of the answer: numbers for people, aligned lines, wrapped to the terminal."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from surefoot.search import Compared, Found, Job

MAX_WIDTH = 100
_LABEL = 15  # columns of the label
_OPTIMIZERS = {
    "adadelta": "Adadelta",
    "adagrad": "Adagrad",
    "adam": "Adam",
    "adamw": "AdamW",
    "nadam": "NAdam",
    "radam": "RAdam",
    "rmsprop": "RMSprop",
    "sgd": "SGD",
    "sgd_momentum": "SGD with momentum",
}
_SHAPES = {
    "linear_warmup": "linear warm-up",
    "cosine_decay": "cosine",
    "linear_decay": "linear decay",
    "inverse_sqrt_decay": "inverse square root",
    "warmup_stable_decay": "warm-up, stable, decay",
    "from_function": "a function",
}


def rate(value: float) -> str:
    """Write a number with two significant digits.

    >>> [rate(value) for value in (0.00312, 3.14e-5, 0.0001, 1.5, 123.0)]
    ['0.0031', '3.1e-05', '0.0001', '1.5', '120']
    """
    text = f"{value:.2g}"
    return f"{float(text):.0f}" if "e+" in text else text


def duration(seconds: float) -> str:
    """Write a time as h:mm:ss.

    >>> duration(14.2), duration(3725)
    ('0:00:14', '1:02:05')
    """
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def headline(job: Job, methods: Sequence[str] = ()) -> str:
    """Say what is about to happen, with what the answer depends on."""
    facts = job.describe()
    name = None if methods else facts.get("optimizer")
    optimizer = _OPTIMIZERS.get(name, name) if isinstance(name, str) else None
    schedule = "its own schedule" if facts.get("schedule") == "own" else shape(job.schedule)
    parts = [part for part in (optimizer, f"{job.total_steps:,} steps", schedule) if part]
    begin = f"comparing {', '.join(methods)} on" if methods else "finding the learning rate of"
    return f"{begin} {job.name} ({', '.join(parts)})"


def shape(schedule: object) -> str:
    """Say a schedule in words, from its repr.

    >>> shape("linear_warmup('5%') >> cosine_decay(to=0.1)")
    'linear warm-up, cosine'
    """
    kinds: list[str] = re.findall(r"\b([a-z_]+)\(", str(schedule))
    return ", ".join(_SHAPES.get(kind, kind.replace("_", " ")) for kind in kinds)


def answer(found: Found, run_dir: Path, written: Sequence[str], seconds: float) -> str:
    """Return the block of lines that the search ends with."""
    low, high = found.interval
    trials = len(found.trials)
    pick = (
        f"{rate(found.learning_rate):9s}  good between {rate(low)} and {rate(high)}      confidence: {found.confidence}"
    )
    in_all, on_top = f"{found.spent:.1f}", f"{found.cost:.1f}"
    of_all = f"{in_all} trained in all, " if in_all != on_top else ""
    cost = f"{on_top} runs ({of_all}{trials} trial{'s' * (trials != 1)}, {duration(seconds)})"
    rows = [("learning rate", pick)]
    if found.why:
        rows.append(("why", " ".join(found.why)))
    rows += [("caution", caution) for caution in found.cautions]
    rows += [("cost", cost), ("files", "  ".join([f"{run_dir}/", *written]))]
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
    return "\n".join(row(label, text, width) for label, text in rows)


def comparison(compared: Compared, run_dir: Path, written: Sequence[str], seconds: float) -> str:
    """Return the table and the recommendation that a comparison ends with."""
    table, _, _ = str(compared).partition("\n\n")
    cost = f"{compared.cost:.1f} runs of {compared.allowed:.1f} allowed ({duration(seconds)})"
    rows = [("recommended", compared.best), ("why", " ".join(compared.why))]
    rows += [("note", f"{r.method}: {r.note}") for r in compared.table if r.note]
    rows += [("caution", caution) for caution in compared.cautions]
    rows += [("cost", cost), ("files", "  ".join([f"{run_dir}/", *written]))]
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
    return "\n".join(
        [*(f"  {line}" for line in table.splitlines()), "", *(row(label, text, width) for label, text in rows)]
    )


def row(label: str, text: str, width: int) -> str:
    """Return a label and its text, wrapped and aligned."""
    indent = " " * (2 + _LABEL)
    lines = textwrap.wrap(
        text, max(width, 40), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False,
        break_long_words=False,
    ) or [indent]  # fmt: skip
    style: dict[str, Any] = {"fg": "yellow"} if label == "caution" else {"bold": True}
    first = "  " + click.style(label, **style) + " " * (_LABEL - len(label)) + lines[0].lstrip()
    return "\n".join([first, *lines[1:]])
