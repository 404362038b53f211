"""The page: one HTML file with the answer, its reasons and its evidence, that asks nothing of the network."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from surefoot.report._axis import number_text
from surefoot.report._charts import loss_chart, rung_mark, schedule_chart, trace_charts
from surefoot.report._schedule import schedule_repr
from surefoot.report._snippets import NO_SCHEDULE, schedule_code, snippets
from surefoot.report._svg import text_of
from surefoot.report._view import Series, brief, picture_of, title_of
from surefoot.run import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable

    from surefoot.search._found import Found, Trial

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
MEANING = {
    "high": "Nothing in the evidence speaks against it.",
    "medium": "Good enough to train with; read below what is missing.",
    "low": "A starting point, not a result; read below first.",
}


def write_report(found: Found, path: str | Path) -> Path:
    """Write the whole evidence as one HTML file, whole or not at all.

    The file loads nothing from anywhere and works with scripts off; a script adds read-outs, sorting and copying.

    Args:
        found: what `surefoot.find` returned.
        path: where to write.

    Returns:
        The path.

    Raises:
        RunDirectoryError: if the file cannot be written.
    """
    path = Path(path)
    write_atomically(path, page(found))
    return path


def page(found: Found) -> str:
    """Return the page as text."""
    series = picture_of(found).series
    here = files("surefoot.report")
    body = "\n".join(
        (
            _answer(found),
            _reasons(found),
            section(
                "Loss against learning rate", loss_chart(found), lead="Each mark is one training run of the search."
            ),
            _use(found),
            section("How each trial trained", trace_charts(found, series)),
            section(f"All {len(found.trials)} trials", _table(found, series)),
            _plan_and_cost(found),
            _origin(found),
        )
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{text_of(title_of(found))}</title>\n<style>\n{here.joinpath('style.css').read_text('utf-8')}</style>\n</head>\n"
        f'<body>\n<main>\n{body}\n</main>\n<script type="application/json" id="record">{record(found)}</script>\n'
        f"<script>\n{here.joinpath('script.js').read_text('utf-8')}</script>\n</body>\n</html>\n"
    )


def record(found: Found) -> str:
    """Return the JSON form of `found` so that nothing in it can end a script element or start another one."""
    text = json.dumps(found.to_dict(), allow_nan=False, default=str, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text  # json.dumps has written U+2028 and everything else beyond ASCII as an escape


def _answer(found: Found) -> str:
    low, high = found.interval
    sure = math.isfinite(low) and math.isfinite(high)
    tiles = (
        ("Good between", f"{number_text(low)} &ndash; {number_text(high)}" if sure else "unknown", "Holds the best rate with about 90\u00a0% probability." if sure else "The evidence does not bound it."),
        ("Confidence", text_of(found.confidence), MEANING.get(found.confidence, "")),
        ("Cost", _runs(found.cost), f"On top of the real run of {_steps(found.total_steps)}."),
    )  # fmt: skip
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{words}</small></dd></div>" for name, value, words in tiles)
    early = (
        '<p class="banner">The search was interrupted. This is the best answer so far.</p>'
        if not found.is_complete
        else ""
    )
    optimizer = f" with {text_of(brief(found.optimizer, 30))}" if found.optimizer else ""
    return (
        f'<header>\n<p class="eyebrow">surefoot · learning rate report</p>\n<h1>{text_of(brief(found.job, 80))}</h1>\n{early}'
        f'<div class="answer"><p class="pick"><b>{number_text(found.learning_rate)}</b><span>learning rate{optimizer}, '
        f"at the peak of the schedule</span></p><dl>{cells}</dl></div>\n</header>"
    )


def _reasons(found: Found) -> str:
    why = bullets(found.why) or '<p class="quiet">The record gives no reasons.</p>'
    cautions = bullets(found.cautions) or '<p class="quiet">The search found nothing to warn of.</p>'
    return (
        f'<div class="pair"><section><h2>Why</h2>{why}</section>'
        f'<section class="cautions"><h2>When not to trust it</h2>{cautions}</section></div>'
    )


def _use(found: Found) -> str:
    parts = [
        f"<details{' open' if k == 0 else ''}><summary>{snippet.title}</summary>"
        f'<div class="code"><pre tabindex="0"><code>{text_of(snippet.code)}</code></pre></div></details>'
        for k, snippet in enumerate(snippets(found))
    ]
    if not parts:
        return ""
    lead = "The found rate with the schedule it was found for."
    if schedule_code(schedule_repr(found)) is None:
        lead = f"{NO_SCHEDULE} stands for the schedule of the search, which this record does not hold as code."
    return section("Use it", "".join(parts), lead=lead)


COLUMNS = ("Trial", "Part", "Learning rate", "Steps", "Outcome", "Train loss", "Val loss", "Best val loss", "Note")
TEXT_COLUMNS = {"Part", "Outcome", "Note"}


def _table(found: Found, series: tuple[Series, ...]) -> str:
    if not found.trials:
        return '<p class="quiet">No trial was run.</p>'
    shown = COLUMNS if any(trial.note for trial in found.trials) else COLUMNS[:-1]
    head = "".join(f'<th scope="col"{"" if name in TEXT_COLUMNS else " class=n"}>{name}</th>' for name in shown)
    rows = "\n".join(_row(index, trial, series, has_note="Note" in shown) for index, trial in enumerate(found.trials))
    return (
        f'<div class="scroll" role="region" aria-label="All trials" tabindex="0"><table id="trials"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _row(index: int, trial: Trial, series: tuple[Series, ...], *, has_note: bool) -> str:
    def number(value: float | None, text: str) -> str:
        return f'<td class="n" data-v="{"" if value is None else value!r}">{text}</td>'

    losses = (trial.train_loss, trial.val_loss, trial.best_val_loss)
    return (
        f'<tr data-trial="{index}">{number(index + 1, str(index + 1))}'
        f"<td>{rung_mark(trial.rung, series)}{text_of(brief(trial.rung, 24))}</td>"
        f"{number(trial.learning_rate, number_text(trial.learning_rate, 3))}{number(trial.steps, str(trial.steps))}"
        f'<td><span class="{text_of(_word(trial.outcome))}">{text_of(brief(trial.outcome, 24))}</span></td>'
        f"{''.join(number(loss, number_text(loss, 4)) for loss in losses)}"
        f'{f"""<td class="note">{text_of(trial.note)}</td>""" if has_note else ""}</tr>'
    )


def _plan_and_cost(found: Found) -> str:
    drawn = schedule_chart(found)
    plan = schedule_repr(found)
    words = f"<p><code>{text_of(plan)}</code></p>" if plan else ""
    schedule = f"<section><h2>The real schedule</h2>{words}{drawn}</section>" if words or drawn else ""
    return f'<div class="pair">{schedule}<section><h2>What it cost</h2>{_cost(found)}</section></div>'


def _cost(found: Found) -> str:
    """Return the cost in words and as a bar; 1 run is the steps of the real run."""
    rows = [
        ("On top of the real run", found.cost),
        ("All training of the search", found.spent),
        ("Allowed", found.budget),
    ]
    longest = max((value for _, value in rows if math.isfinite(value)), default=0.0) or 1.0
    bars = "".join(
        f'<div><dt>{name}</dt><dd><i style="width:{100 * max(0.0, value) / longest if math.isfinite(value) else 0:.1f}%"></i>'
        f"<span>{_runs(value)}</span></dd></div>"
        for name, value in rows
    )
    saved = found.spent - found.cost
    reuse = (
        f" {_runs(saved)} of it need not be trained again: it is a piece of the real run."
        if round(saved, 2) > 0
        else ""
    )
    return (
        f'<dl class="bars">{bars}</dl><p class="quiet">1 run is the {_steps(found.total_steps)} of the real run. '
        f"The search used {text_of(brief(found.method, 40))}, {len(found.trials)} trials.{reuse}</p>"
    )


def _origin(found: Found) -> str:
    date = found.details.get("date")
    facts: list[tuple[str, object]] = [
        ("seed", found.seed),
        ("date", brief(date) if isinstance(date, str) else ""),
        ("default rate", number_text(found.default_learning_rate)),
        ("run directory", found.run_dir or ""),
        *((name, version) for name, version in found.versions.items()),
    ]
    cells = "".join(
        f"<div><dt>{text_of(name)}</dt><dd>{text_of(value)}</dd></div>" for name, value in facts if value != ""
    )
    return f'<footer><h2>Where it comes from</h2><dl class="facts">{cells}</dl></footer>'


def section(heading: str, content: str, *, lead: str = "") -> str:
    """Return a section of a page."""
    return f"<section>\n<h2>{heading}</h2>\n{f'<p class=lead>{lead}</p>' if lead else ''}{content}\n</section>"


def bullets(sentences: Iterable[str]) -> str:
    """Return sentences as a list, or nothing."""
    items = "".join(f"<li>{text_of(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _runs(value: float) -> str:
    return f"{value:.2f} run{'' if f'{value:.2f}' == '1.00' else 's'}" if math.isfinite(value) else "unknown"


def _steps(count: int) -> str:
    return f"{count:,} step{'' if count == 1 else 's'}".replace(",", "\u202f")


def _word(outcome: str) -> str:
    return outcome if outcome in ("finished", "diverged", "abandoned", "failed") else "other"
