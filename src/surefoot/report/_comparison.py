"""The page of a comparison: the recommendation, the table, and how each method stood when it was looked at."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from surefoot.report._axis import number_text, padded, wants_log
from surefoot.report._page import POLICY, bullets, section
from surefoot.report._svg import chart, lines, polyline, text_of
from surefoot.report._view import brief
from surefoot.run import write_atomically
from surefoot.search._compared import COLUMNS, cells

if TYPE_CHECKING:
    from surefoot.search._compared import Compared

NUMBERS = {"val loss", "to the best", "seeds", "cost"}


def write_comparison(compared: Compared, path: str | Path) -> Path:
    """Write a comparison as one HTML file, whole or not at all, that asks nothing of the network.

    Args:
        compared: what `surefoot.find(job, methods=...)` returned.
        path: where to write.

    Returns:
        The path.

    Raises:
        RunDirectoryError: if the file cannot be written.
    """
    path = Path(path)
    write_atomically(path, comparison_page(compared))
    return path


def comparison_page(compared: Compared) -> str:
    """Return the page as text."""
    style = files("surefoot.report").joinpath("style.css").read_text("utf-8")
    title = text_of(f"{brief(compared.job, 80)}: {len(compared.table)} methods compared")
    cautions = bullets(compared.cautions) or '<p class="quiet">There is nothing to warn of.</p>'
    lead = (
        f"1 run is the {compared.total_steps} steps of the real run; {compared.cost:.2f} of {compared.allowed:.2f} allowed were "
        "trained. Each method may cost its search and one real run."
    )
    on_the_way = "A copy of each real run, its rate let fall to 0; last, the end of the run."
    parts = [
        _head(compared),
        f'<div class="pair"><section><h2>Why</h2>{bullets(compared.why)}</section>',
        f'<section class="cautions"><h2>When not to trust it</h2>{cautions}</section></div>',
        section("All methods", _table(compared), lead=lead),
        section("On the way", _looks(compared), lead=on_the_way),
        section("What the searches found", _searches(compared)),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f'<script type="application/json" id="record">{_record(compared)}</script>\n</body>\n</html>\n'
    )


def _head(compared: Compared) -> str:
    best = compared[compared.best]
    rate = f"at {number_text(best.learning_rate)}" if best.is_tuned else "which finds its own learning rate"
    early = (
        "" if compared.is_complete else '<p class="banner">The comparison was interrupted. This is what was known.</p>'
    )
    return (
        f'<header>\n<p class="eyebrow">surefoot · methods compared</p>\n<h1>{text_of(brief(compared.job, 80))}</h1>\n{early}'
        f'<div class="answer"><p class="pick"><b>{text_of(brief(compared.best, 30))}</b><span>{rate}</span></p></div>\n</header>'
    )


def _table(compared: Compared) -> str:
    columns = (*COLUMNS, "note")
    head = "".join(
        f'<th scope="col"{" class=n" if name in NUMBERS else ""}>{name.capitalize()}</th>' for name in columns
    )
    rows = "\n".join(
        "<tr>"
        + "".join(
            f"<td{_css(name)}>{text_of(value)}</td>"
            for name, value in zip(columns, (*cells(compared, result), result.note), strict=True)
        )
        + "</tr>"
        for result in compared.table
    )
    return (
        f'<div class="scroll" role="region" aria-label="All methods" tabindex="0"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _css(column: str) -> str:
    return ' class="n"' if column in NUMBERS else ' class="note"' if column == "note" else ""


def _looks(compared: Compared) -> str:
    """Return the losses at the looks and at the end, a line for each method."""
    curves = {
        result.method: [(float(step), loss) for step, loss in result.looks if abs(loss) < float("inf")]
        + ([(float(compared.total_steps), result.val_loss)] if result.val_loss is not None else [])
        for result in compared.table
    }
    curves = {
        name: curve for name, curve in curves.items() if len(curve) > 1 and all(abs(v) < float("inf") for _, v in curve)
    }
    losses = [loss for curve in curves.values() for _, loss in curve]
    if not losses:
        return '<p class="quiet">No two losses of one method can be drawn.</p>'
    x, y = padded([0.0, float(compared.total_steps)], is_log=False), padded(losses, is_log=wants_log(losses))
    drawn = lines(polyline(curve, x, y, css="fit other", title=name) for name, curve in curves.items())
    ends = "".join(
        f'<text class="end" x="{100 * x.place(curve[-1][0]):.2f}%" y="{100 * (1 - y.place(curve[-1][1])):.2f}%" dy="-.4em">'
        f"{text_of(brief(name, 20))}</text>"
        for name, curve in curves.items()
    )
    return chart(
        [drawn, ends],
        x,
        y,
        label="validation loss of each method over the real run",
        x_words="step",
        y_words="validation loss",
    )


def _searches(compared: Compared) -> str:
    if not compared.found:
        return '<p class="quiet">No method needed one.</p>'
    return "".join(
        f"<details><summary>{text_of(name)}: {text_of(found)}</summary>{bullets((*found.why, *found.cautions))}</details>"
        for name, found in compared.found.items()
    )


def _record(compared: Compared) -> str:
    text = json.dumps(compared.to_dict(), allow_nan=False, default=str, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
