"""From the results of methods to one recommendation, in words that say what it rests on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from surefoot.search._compared import MethodResult, behind

CLOSE = 0.3  # log loss between the two best of one seed that another seed might well turn around
T95 = {2: 6.31, 3: 2.92}  # Student's t, one-sided, by the number of seeds
_RANK = {"finished": 0, "unfinished": 1, "stopped": 2, "diverged": 3, "failed": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The order of the methods, the best first, why, and when not to trust it."""

    order: list[str]
    why: list[str]
    cautions: list[str]


def verdict(results: Sequence[MethodResult], *, seed: int, total_steps: int) -> Verdict | None:
    """Return what the results say, or None if no real run can be judged.

    Methods are ranked by their loss with the first seed; the two best, which may have more seeds than the others, by the
    mean over those that both have.
    """
    ended = sorted((r for r in results if _is_number(_first(r, seed))), key=lambda r: _first(r, seed))
    if not ended:
        return _early(results, total_steps)
    if len(ended) > 1:
        ended[:2] = sorted(ended[:2], key=_mean)
    rest = sorted((r for r in results if r not in ended), key=lambda r: (_RANK[r.outcome], -r.step, _look(r)))
    why, cautions = _reasons(ended)
    stopped = [r.method for r in rest if r.outcome == "stopped"]
    if stopped:
        were = "was" if len(stopped) == 1 else "were"
        cautions.append(
            f"{_listed(stopped)} {were} far behind and stopped early: a longer run may suit a slow starter better."
        )
    if any(r.outcome == "failed" for r in rest):
        cautions.append("A method that failed has not been judged: see its note.")
    cautions.append(
        "The losses are those of the validation data by which rates were searched, too: measure the winner on others."
    )
    return Verdict(order=[r.method for r in (*ended, *rest)], why=why, cautions=cautions)


def _reasons(ended: Sequence[MethodResult]) -> tuple[list[str], list[str]]:
    best, cautions = ended[0], list[str]()
    name = f"{best.method} at {best.learning_rate:.3g}" if best.is_tuned else best.method
    if len(ended) < 2:
        return [
            f"{name} is the only method that came to the end, with a validation loss of {_mean(best):.4g}."
        ], cautions
    second = ended[1]
    pairs = [(a, b) for (_, a), (_, b) in zip(best.val_losses, second.val_losses, strict=False)]
    ahead = f"{_mean(best):.4g} against {_mean(second):.4g} of {second.method}{_percent(_mean(best), _mean(second))}"
    if not math.isfinite(_mean(second)):
        return [
            f"{name} has the lowest validation loss, {_mean(best):.4g}; {second.method} diverged with another seed."
        ], cautions
    seeds = "on one seed" if len(pairs) == 1 else f"lower on {sum(a < b for a, b in pairs)} of {len(pairs)} seeds"
    if len(pairs) > 1 and not is_clear(pairs):
        why = [f"{name} and {second.method} cannot be told apart: {ahead}, {seeds}."]
        cautions.append("The two best cannot be told apart on these seeds.")
    else:
        why = [f"{name} has the lowest validation loss at the end of the real run: {ahead}, {seeds}."]
        if len(pairs) == 1 and _mean(best) > 0 and math.log(_mean(second) / _mean(best)) <= CLOSE:
            cautions.append("The two best are close, and the budget allowed one seed only.")
    free = next((r for r in ended if not r.is_tuned), None)
    if best.is_tuned and free is not None and free is not second:
        above = behind(best, free)
        told = "" if above is None else f", {100 * above:.1f} % above that"
        why.append(f"The best method without a rate, {free.method}, ended at {_mean(free):.4g}{told}.")
    if not best.is_tuned:
        why.append(f"{best.method} finds its own rate, so that no search is needed the next time either.")
    return why, cautions


def is_clear(pairs: Sequence[tuple[float, float]]) -> bool:
    """Return whether the first losses are lower than the second by more than seeds explain: a paired t test at 5 %.

    Being lower on each of three seeds is not enough: of two methods that are the same, one in eight is that by chance.

    >>> is_clear([(1.0, 1.2), (1.1, 1.3), (0.9, 1.1)]), is_clear([(1.0, 1.01), (1.0, 1.5), (1.0, 1.02)])
    (True, False)
    """
    is_positive = all(a > 0 and b > 0 for a, b in pairs)
    gains = [math.log(b / a) if is_positive else b - a for a, b in pairs]
    mean, spread = statistics.fmean(gains), statistics.stdev(gains)
    return mean > 0 and mean * math.sqrt(len(gains)) > T95[len(gains)] * spread


def _early(results: Sequence[MethodResult], total_steps: int) -> Verdict | None:
    """Return what is known before any real run has ended: the order at the last look that most have had."""
    looked = sorted(
        (r for r in results if r.looks and _is_number(r.looks[-1][1])), key=lambda r: (-r.looks[-1][0], _look(r))
    )
    if not looked or not any(r.outcome == "unfinished" for r in results):
        return None
    best = looked[0]
    at = best.looks[-1][0]
    rest = [r for r in results if r not in looked]
    why = [f"{best.method} was ahead at step {at} of {total_steps}; no real run has come to its end."]
    return Verdict(order=[r.method for r in (*looked, *rest)], why=why, cautions=[])


def _first(result: MethodResult, seed: int) -> float:
    return dict(result.val_losses).get(seed, math.inf) if result.outcome == "finished" else math.inf


def _mean(result: MethodResult) -> float:
    return math.inf if result.val_loss is None else result.val_loss


def _look(result: MethodResult) -> float:
    return result.looks[-1][1] if result.looks else math.inf


def _percent(low: float, high: float) -> str:
    return f" ({100 * (1 - low / high):.1f} % lower)" if low > 0 and math.isfinite(high) else ""


def _is_number(value: float) -> bool:
    return math.isfinite(value)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
