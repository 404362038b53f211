"""`surefoot transfer`: a known good learning rate at another setting, by known rules, without training."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from surefoot.cli import _show

if TYPE_CHECKING:
    from surefoot.search import Transferred

_PAIR = "KNOWN WANTED"


@click.command(short_help="Carry a known good rate to another batch size, length or model size.")
@click.argument("learning_rate", type=float, metavar="LR")
@click.option("--batch-size", type=int, nargs=2, metavar=_PAIR, help="Samples in a batch.")
@click.option("--total-steps", type=int, nargs=2, metavar=_PAIR, help="Optimizer steps of the run.")
@click.option("--width", type=int, nargs=2, metavar=_PAIR, help="Width of the hidden layers, for models in µP.")
@click.option("--tokens", type=float, nargs=2, metavar=_PAIR, help="Tokens that a language model is trained on.")
@click.option("--parameters", type=float, nargs=2, metavar=_PAIR, help="Parameters of a language model.")
@click.option("--optimizer", default="adam", show_default=True, metavar="NAME", help="Such as sgd, adamw or rmsprop.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON, and nothing else.")
def transfer(learning_rate: float, *, as_json: bool, **settings: Any) -> None:
    """Carry a known good learning rate to another setting, by known rules with their sources. Nothing is trained.

    Give one or several settings, each where the rate is known and where it is wanted; their factors multiply.

    \b
    Examples:
      surefoot transfer 0.003 --batch-size 32 256 --optimizer adam
      surefoot transfer 0.1 --batch-size 256 1024 --total-steps 8000 2000 --optimizer sgd_momentum
      surefoot transfer 0.003 --width 256 1024 --optimizer adamw
      surefoot transfer 6e-4 --parameters 1e8 1e9 --tokens 2e9 2e10 --json

    \b
    Exit codes: 0 shown, 1 failed, 2 wrong usage.
    """  # noqa: D301 - click's mark for lines to be left as they are
    from surefoot.search import transfer as carried  # noqa: PLC0415 - not for --help

    moved = carried(learning_rate, **settings)
    click.echo(_json(moved) if as_json else answer(moved))


def _json(moved: Transferred) -> str:
    steps = [{**asdict(step), "factor": step.factor, "octaves": step.octaves} for step in moved.steps]
    return json.dumps({**asdict(moved), "steps": steps}, indent=1, allow_nan=False)


def answer(moved: Transferred) -> str:
    """Return what is shown: the rate, each rule with its source, and what to be careful about."""
    low, high = moved.interval
    rows = [
        (
            "learning rate",
            f"{_show.rate(moved.learning_rate):9s}  good between {_show.rate(low)} and {_show.rate(high)}",
        )
    ]
    if moved.vector_learning_rate != moved.learning_rate:
        vector = f"{_show.rate(moved.vector_learning_rate):9s}  for biases, gains and embeddings"
        rows.append(("", vector))
    for step in moved.steps:
        name = step.setting.replace("_", " ")
        rows.append((name, f"{step.before:g} -> {step.after:g}: x {step.factor:.3g}. {step.rule} ({step.source})"))
    rows += [("caution", warning) for warning in moved.warnings]
    width = min(shutil.get_terminal_size().columns, _show.MAX_WIDTH)
    return "\n".join(_show.row(label, text, width) for label, text in rows)
