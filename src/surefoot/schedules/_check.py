"""A look at a plan before training: what jumps, what never happens, what does not fit the run.

Each question is a function from the curve to findings. Numbers decide, and for our own schedules also what they were
written as: inside a named shape every change is meant, so only joints and free functions are doubted.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from surefoot._checks import integer, number, refuse_type
from surefoot._errors import ArgumentError
from surefoot.schedules._change import Clipped, Cooldown, Shifted, Stretched, Until
from surefoot.schedules._compose import Join, Product, Scaled
from surefoot.schedules._lengths import MOST
from surefoot.schedules._points import from_function
from surefoot.schedules._schedule import Schedule
from surefoot.schedules._tables import from_table

JUMP = 1.3  # a rate that grows by more in one step surprises the optimizer's averages
SEEN = 0.01  # differences below this share of the peak change nothing that one would notice
EARLY = 0.05  # a decay may be over this share of the run before its end
_BESIDE = 1e-6  # steps; the left limit of a joint


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing about a plan that is probably not meant.

    Attributes:
        code: a short name for programs: "jump_up", "jump_down", "zero", "negative", "not_finite", "constant_zero",
            "dead_floor", "long_warmup", "does_not_fit", "ends_early", "is_cut", "climbs_at_end", "climbs_after_end",
            "raises".
        step: where it is, or None if it is the plan as a whole.
        message: what is the case.
        cure: what to do about it.
    """

    code: str
    step: int | None
    message: str
    cure: str

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curve:
    """A plan over a run: the rate at each step, and how to ask for others."""

    rates: list[float]
    at: Callable[[float], float]
    schedule: Schedule | None
    unit: str
    peak: float


def check(
    plan: Schedule | Callable[[int], float],
    *,
    base: float = 1.0,
    total_steps: int | None = None,
    steps_per_epoch: float | None = None,
    floor: float | None = None,
    unit: str = "step",
) -> list[Finding]:
    """Look over a plan for the learning rate, and say what is probably not meant.

    Use it before a long run, and in the tests of a project's own schedules. It trains nothing, and knows nothing about
    which rate is good: for that there is `find`. No finding does not mean that the plan is a good one.

    It looks for: a rate that jumps, without being a step between two flat parts; that is zero, negative or not a number
    at a step that trains; a warm-up that outlasts the run; a plan that ends long before the run, or is cut off by its
    end; a run that ends higher than it has been, or a rate that climbs when the run goes on; a floor at or above every
    rate. The zero at step 0 with which a warm-up starts is fine.

    Args:
        plan: a schedule, or any function of the step that returns a rate (or a factor of `base`).
        base: the learning rate that factors multiply.
        total_steps: the steps of the run. May be left out for a schedule whose length is known.
        steps_per_epoch: for lengths in epochs.
        floor: the least rate that something else will keep, such as a `min_lr`.
        unit: what a step is called in messages; "epoch" for a function of the epoch.

    Returns:
        The findings in the order of time; an empty list if there are none.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import math
        >>> def tutorial(epoch):
        ...     return 0.01 if epoch < 5 else 0.01 * math.exp(0.1 * (10 - epoch))
        >>> print(*check(tutorial, total_steps=20, unit="epoch"))
        The rate jumps up by 65 %, from 0.01 to 0.0165, at epoch 5. Let the parts meet, or begin with `linear_warmup`.
        >>> from surefoot.schedules import cosine_decay, linear_warmup
        >>> check(linear_warmup("5%") >> cosine_decay(), total_steps=1000)
        []
    """
    base = number("check", "base", base, above=0)
    if not isinstance(unit, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise refuse_type("check", "unit", unit, 'a name for a step, such as "epoch"')
    if floor is not None:
        floor = number("check", "floor", floor, at_least=0)
    if not isinstance(plan, Schedule) and not _takes_a_step(plan):
        raise refuse_type("check", "plan", plan, "a schedule, or a function of the step alone")
    length = plan.length if isinstance(plan, Schedule) and plan.is_resolved else None
    steps = math.ceil(length) if total_steps is None and isinstance(length, int | float) and length > 0 else total_steps
    total = integer("check", "total_steps", steps, at_least=1, at_most=MOST, cure="Give the steps of the run.")
    schedule = plan if isinstance(plan, Schedule) else None
    if schedule is not None:
        try:
            schedule = schedule.resolve(total, steps_per_epoch)
        except ArgumentError as error:
            if not schedule.is_resolved:
                return [Finding(code="does_not_fit", step=None, message=str(error), cure="")]
    at = _asked(plan if schedule is None else schedule, base)
    rates: list[float] = []
    for step in range(total):
        try:
            rates.append(at(step))
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises
            said = f"The plan raises {type(error).__name__} at {unit} {step}: {error}.".replace("..", ".")
            return [
                Finding(code="raises", step=step, message=said, cure="It must have a value at each step of the run.")
            ]
    broken = _not_numbers(rates, unit)
    if broken:
        return broken
    curve = _Curve(rates=rates, at=at, schedule=schedule, unit=unit, peak=max(rates))
    findings = [
        *_floors(curve, floor),
        *_warmups(curve),
        *_jumps(curve),
        *_horizons(curve),
        *_ends(curve),
    ]
    return sorted(findings, key=lambda finding: -1 if finding.step is None else finding.step)


def _takes_a_step(plan: object) -> bool:
    if not callable(plan) or isinstance(plan, type):
        return False
    try:
        inspect.signature(plan).bind(0)
    except TypeError:
        return False
    except ValueError:  # a builtin that does not tell
        return True
    return True


def _asked(plan: Callable[[int], float], base: float) -> Callable[[float], float]:
    ask: Callable[[float], float] = plan  # pyright: ignore[reportAssignmentType] - schedules take fractions
    return lambda step: base * float(ask(step))


def _not_numbers(rates: list[float], unit: str) -> list[Finding]:
    """Return what makes the other questions meaningless, or else the zeros."""
    if not any(rates):
        cure = "Nothing would be trained: check the factors."
        return [Finding(code="constant_zero", step=None, message="The rate is 0 at every step.", cure=cure)]
    for step, rate in enumerate(rates):
        if not math.isfinite(rate):
            said = f"The rate is {rate} at {unit} {step}."
            return [Finding(code="not_finite", step=step, message=said, cure="Bound what it is computed from.")]
        if rate < 0:
            said = f"The rate is negative, {rate:.3g}, at {unit} {step}."
            return [Finding(code="negative", step=step, message=said, cure="It would climb the loss: clip it at 0.")]
    return []


def _floors(curve: _Curve, floor: float | None) -> Iterator[Finding]:
    if floor is not None and floor >= curve.peak:
        said = f"The floor, {floor:.3g}, is at or above every rate (the highest is {curve.peak:.3g})."
        yield Finding(code="dead_floor", step=None, message=said, cure="The rate could never fall: lower the floor.")
    for leaf, _, _ in _leaves(curve.schedule, 0.0):
        if getattr(leaf, "to", None) == 1.0:
            said = f"`{leaf!r}` falls to the factor 1, so it never falls."
            yield Finding(code="dead_floor", step=None, message=said, cure="Lower `to`, or write `constant`.")
    if isinstance(curve.schedule, Clipped) and curve.schedule.low > 0:
        low, inner = curve.schedule.low, curve.schedule.schedule
        if all(inner(step) <= low for step in range(len(curve.rates))):
            said = f"The factors of `{inner!r}` never rise above the floor, {low:g}."
            yield Finding(code="dead_floor", step=None, message=said, cure="Lower `low`.")


def _warmup_end(rates: list[float]) -> int:
    """Return the last step of the rise with which the run begins; 0 if it does not begin with one."""
    return next((step for step, (a, b) in enumerate(pairwise(rates)) if b <= a), len(rates) - 1)


def _warmups(curve: _Curve) -> Iterator[Finding]:
    last = len(curve.rates) - 1
    if last > 0 and _warmup_end(curve.rates) == last:
        said = f"The warm-up is as long as the run or longer: the rate still rises at its last {curve.unit}, {last}."
        yield Finding(code="long_warmup", step=last, message=said, cure="Shorten the warm-up, or train longer.")


def _jumps(curve: _Curve) -> Iterator[Finding]:
    rates, at, peak = curve.rates, curve.at, curve.peak
    start, total = _warmup_end(rates), len(rates)
    has_fallen, was_up = False, False
    doubted = _doubted(curve.schedule, total)
    for step in range(1, total):
        before, now = rates[step - 1], rates[step]
        is_joint = doubted.get(step)
        if is_joint:  # a schedule can be asked beside the joint, where a steep slope is no jump
            before, now = at(is_joint - _BESIDE), at(is_joint)
        is_flat = _same(rates[max(step - 2, 0)], rates[step - 1]) and _same(
            rates[step], rates[min(step + 1, total - 1)]
        )
        is_large = abs(now - before) > SEEN * peak and step > start and is_joint is not None
        is_up = is_large and now > JUMP * before and not (is_flat and not has_fallen)
        if is_up and not was_up:  # the first of several
            yield _jump(before, now, step, curve.unit)
        is_down = is_large and now < before / JUMP and not is_flat
        if is_down and (is_joint or _is_alone(rates, step)):
            yield _jump(before, now, step, curve.unit)
        was_up = is_up
        has_fallen = has_fallen or rates[step] < rates[step - 1]


def _is_alone(rates: list[float], step: int) -> bool:
    """Return whether a fall is much larger than those beside it; else it is a steep decay."""
    fall = rates[step - 1] - rates[step]
    beside = [rates[k - 1] - rates[k] for k in (step - 1, step + 1) if 1 <= k < len(rates)]
    return all(abs(other) < fall / 2 for other in beside)


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9)


def _jump(before: float, now: float, step: int, unit: str) -> Finding:
    is_up = now > before
    by = f" by {now / before - 1:.0%}".replace("%", " %") if is_up and 0 < before < now < 100 * before else ""
    way = "up" if is_up else "down"
    cure = "Let the parts meet, or begin with `linear_warmup`." if is_up else "Let the parts meet."
    said = f"The rate jumps {way}{by}, from {before:.3g} to {now:.3g}, at {unit} {step}."
    return Finding(code=f"jump_{way}", step=step, message=said, cure=cure)


def _doubted(schedule: Schedule | None, total: int) -> dict[int, float]:
    """Return the steps at which a change may not be meant: 0.0 inside a free function, else the time of a joint."""
    if schedule is None:
        return dict.fromkeys(range(1, total), 0.0)
    steps: dict[int, float] = {}
    leaves = list(_leaves(schedule, 0.0))
    for _, start, _ in leaves:
        if 0 < start < total:
            steps[math.ceil(start)] = start
    for leaf, start, end in leaves:
        if isinstance(leaf, from_function | from_table):
            steps |= dict.fromkeys(range(math.floor(start) + 1, min(math.ceil(end) + 1, total)), 0.0)
    return steps


def _leaves(schedule: Schedule | None, start: float) -> Iterator[tuple[Schedule, float, float]]:
    """Return the named shapes in a resolved schedule, each with the steps from which and to which it lasts."""
    match schedule:
        case None:
            return
        case Join(pieces=pieces):
            for piece in pieces:
                yield from _leaves(piece, start)
                start += _number(piece)
        case Product(schedules=parts):
            for part in parts:
                yield from _leaves(part, start)
        case Scaled(schedule=inner) | Clipped(schedule=inner) | Cooldown(schedule=inner):
            yield from _leaves(inner, start)
        case Shifted(schedule=inner, steps=steps):
            yield from _leaves(inner, start + steps)
        case Stretched(schedule=inner, step=step, length=length):
            slower = (_steps(length) - step) / (_number(inner) - step)
            for leaf, *ends in _leaves(inner, 0.0):
                first, last = (start + (t if t < step else step + (t - step) * slower) for t in ends)
                yield leaf, first, last
        case Until(schedule=before, step=step, then=after):
            change = start + step
            yield from ((leaf, a, min(b, change)) for leaf, a, b in _leaves(before, start) if a < change)
            yield from ((leaf, max(a, change), b) for leaf, a, b in _leaves(after, start) if b > change)
        case _:
            yield schedule, start, start + _number(schedule)


def _number(schedule: Schedule) -> float:
    return _steps(schedule.length)


def _steps(length: float | str | None) -> float:
    return float(length) if isinstance(length, int | float) else math.inf


def _horizons(curve: _Curve) -> Iterator[Finding]:
    rates, at, unit, total = curve.rates, curve.at, curve.unit, len(curve.rates)
    zeros = [step for step, rate in enumerate(rates) if rate == 0 and not (step == 0 and total > 1 and rates[1] > 0)]
    length = math.inf if curve.schedule is None else _number(curve.schedule)
    if length < (1 - EARLY) * total and at(length) < curve.peak * (1 - SEEN):
        last, end = at(length), math.ceil(length)
        said = f"The schedule ends at {unit} {end} of {total}; after it the rate stays at {last:.3g}."
        cure = "Give it the length of the run, or leave `length` out."
        yield Finding(code="ends_early", step=end, message=said, cure=cure)
        zeros = [step for step in zeros if step < end]
    if zeros:
        said = f"The rate is 0 at {len(zeros)} of {total} {unit}s, from {unit} {zeros[0]} on."
        cure = "Nothing is trained there: end the run earlier, or decay over all of it."
        yield Finding(code="zero", step=zeros[0], message=said, cure=cure)
    is_warmup = _warmup_end(rates) == total - 1  # which has a finding of its own
    if curve.schedule is not None and math.isfinite(length) and length > total and not is_warmup:
        cut = [leaf for leaf, start, end in _leaves(curve.schedule, 0.0) if start < total < end]
        is_meant = bool(cut) and all(leaf._HAS_OWN_PACE for leaf in cut)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        now, last = at(total), at(length)
        if abs(now - last) > SEEN * curve.peak and not is_meant:
            said = f"The schedule is {length:g} {unit}s long; the run cuts it at {total}, at {now:.3g} instead of {last:.3g}."
            cure = "Give it the length of the run, or end it with `cooldown_from`."
            yield Finding(code="is_cut", step=total, message=said, cure=cure)


def _ends(curve: _Curve) -> Iterator[Finding]:
    rates, total = curve.rates, len(curve.rates)
    if _warmup_end(rates) == total - 1:  # which has a finding of its own, or is a single step
        return
    last = rates[-1]
    end = 2 * last - rates[-2]  # where it is heading for: the end is a step after the last update
    top = rates.index(curve.peak)
    lowest = min(range(top, total), key=lambda step: rates[step])
    if end > JUMP * rates[lowest] and end - rates[lowest] > SEEN * curve.peak:
        said = f"The run ends at {last:.3g}, higher than the {rates[lowest]:.3g} of {curve.unit} {lowest}."
        cure = "Let the last cycle end with the run, or end with a decay."
        yield Finding(code="climbs_at_end", step=total - 1, message=said, cure=cure)
        return
    for step in (total, total + 1, total + max(1, total // 10)):
        try:
            later = curve.at(step)
        except Exception:  # noqa: BLE001 - it need not have a value after its end
            return
        if later > last * (1 + SEEN) and later - last > SEEN * curve.peak:
            said = f"The rate climbs when the run goes on: {last:.3g} at its end, {later:.3g} at {curve.unit} {step}."
            cure = "Let it hold its last value, as schedules here do."
            yield Finding(code="climbs_after_end", step=step, message=said, cure=cure)
            return
