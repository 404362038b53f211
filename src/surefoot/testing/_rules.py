"""What every rule must do through every adapter: the numbers of the slow obvious twin, before and after a resume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from surefoot.rules import Complete, Rule, Vector

Array = npt.NDArray[np.floating[Any]]

SHAPES = ((3, 4), (7,), (), (2, 1, 3))
STEPS = 24
INTERRUPTED = 9
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "decoupled decay": {"weight_decay": 0.1},
    "coupled decay": {"weight_decay": 0.1, "is_decoupled": False},
    "maximize": {"maximize": True},
    "clip_value": {"clip_value": 0.5},
    "clip_norm": {"clip_norm": 0.7},
    "clip_global_norm": {"clip_global_norm": 1.0},
}


class Train(Protocol):
    """How a test reaches an adapter: one run of an optimizer, from arrays to arrays."""

    def __call__(
        self,
        rule: Rule,
        start: Sequence[Array],
        gradients: Sequence[Sequence[Array]],
        learning_rates: Sequence[float],
        *,
        interrupt: int | None,
        settings: Mapping[str, Any],
    ) -> Sequence[Array]:
        """Return the parameters after one step per row of gradients.

        Args:
            rule: the rule.
            start: the parameters; the type of numbers is theirs.
            gradients: for each step, one per parameter.
            learning_rates: for each step.
            interrupt: after so many steps, save the state, make everything anew, load the state and go on.
            settings: arguments of `Complete` beside the rule.
        """
        ...


def check_rule(rule: Rule, train: Train, *, settings: Sequence[str] = tuple(SETTINGS), rtol: float = 1e-12) -> None:
    """Check that a rule, run through an adapter, keeps to the contract.

    Call it for every rule of your own, and for every adapter:

    - in float64 the numbers are those of the rule on NumPy arrays, whatever the gradients: usual, tiny, huge or zero;
    - in float32 they are those of float64 to the precision of float32;
    - the rate of each step is that step's;
    - what `Complete` adds acts as it says;
    - a run that is saved, made anew and loaded ends with the same numbers, bit for bit.

    Args:
        rule: the rule.
        train: one run through the adapter.
        settings: which of `SETTINGS` the adapter offers.
        rtol: how far float64 may be off, relative to the largest size that an element has had.

    Raises:
        AssertionError: what does not hold, with the setting and the parameter.
    """
    for name in settings:
        start, gradients, rates = problem(np.float64)
        expected = follow(rule, start, gradients, rates, **SETTINGS[name])
        found = train(rule, start, gradients, rates, interrupt=None, settings=SETTINGS[name])
        _compare(f"{rule!r}, {name}, float64", found, expected, rtol)
    start, gradients, rates = problem(np.float32)
    expected = follow(rule, _wide(start), _wide(gradients), rates)
    whole = train(rule, start, gradients, rates, interrupt=None, settings={})
    _compare(f"{rule!r}, float32", whole, expected, 2e-3)  # where gradients cancel, few digits are left
    resumed = train(rule, start, gradients, rates, interrupt=INTERRUPTED, settings={})
    for i, (a, b) in enumerate(zip(whole, resumed, strict=True)):
        assert np.array_equal(a, b), f"{rule!r}: parameter {i} is another after a resume: {a} and {b}"


def problem(dtype: Any) -> tuple[list[Any], list[list[Any]], list[float]]:
    """Return parameters, gradients of every size, and a rate that changes from step to step."""
    random = np.random.default_rng(11)
    start = [np.asarray(random.normal(size=shape), dtype) for shape in SHAPES]
    small, large = (1e-20, 1e12) if dtype == np.float64 else (1e-12, 1e6)
    sizes = np.array([1.0, 1.0, 1.0, 0.1, 0.0, small, large])
    gradients = [
        [np.asarray(random.normal(size=shape) * sizes[random.integers(7, size=shape)], dtype) for shape in SHAPES]
        for _ in range(STEPS)
    ]
    return start, gradients, [0.05 * (1.0 - 0.5 * step / STEPS) for step in range(STEPS)]


def follow(rule: Rule, start: Any, gradients: Any, learning_rates: Sequence[float], **settings: Any) -> list[list[Any]]:
    """Return the path of the parameters by the slow obvious twin: the rule itself, on NumPy arrays."""
    whole = Complete(rule=rule, **settings)
    x = Vector(start)
    slots, path = whole.init(x), [list(x.leaves)]
    with np.errstate(all="ignore"):
        for t, (g, lr) in enumerate(zip(gradients, learning_rates, strict=True), 1):
            dx, slots = whole.step(x, Vector(g), float(t), lr, **slots)
            x = x + dx
            path.append(list(x.leaves))
    return path


def _wide(arrays: Any) -> Any:
    if isinstance(arrays, list):
        return [_wide(a) for a in cast("list[Any]", arrays)]
    return np.asarray(arrays, np.float64)


def _compare(what: str, found: Sequence[Array], path: list[list[Array]], rtol: float) -> None:
    for i, (mine, theirs) in enumerate(zip(found, path[-1], strict=True)):
        scale = np.max([np.abs(step[i]) for step in path], axis=0)
        assert np.isfinite(theirs).all(), f"{what}: the rule itself gave {theirs}"
        off = np.abs(np.asarray(mine, np.float64) - theirs) > rtol * scale + 1e-290
        assert mine.shape == theirs.shape, f"{what}: parameter {i} has the shape {mine.shape}, not {theirs.shape}"
        assert not off.any(), f"{what}: parameter {i} is {np.asarray(mine)[off]}, not {theirs[off]}"
