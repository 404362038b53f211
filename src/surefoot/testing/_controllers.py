"""The contract of a controller, as one function that raises an AssertionError with a sentence."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable
from typing import Any

from surefoot._errors import StateError
from surefoot.control import Controller, Decision, Reading

ACTIONS = ("continue", "skip", "restore_best", "rewind", "stop")


def check_controller(make: Callable[[], Controller], *, metric: str = "loss", readings: int = 120) -> None:
    """Check that a controller keeps the contract of controllers.

    It begins with the factor 1. Any reading has an answer, NaN and infinity too; a reading without its metric changes
    nothing. Its factor stays finite and at least 0, and every change of it has a cause in words. The state is plain
    data that JSON brings back, fixed in size; a copy that is given the state at any reading goes on exactly as the
    first. A state of another kind is refused, and nothing is changed.

    Args:
        make: returns a new controller.
        metric: the name of what it watches.
        readings: how many are tried.

    Raises:
        AssertionError: if the contract is broken; the message says where.

    Examples:
        >>> from surefoot.control import Plateau
        >>> check_controller(lambda: Plateau("loss", patience=2))
    """
    rng = random.Random(0)  # noqa: S311 - no secret
    for _ in range(3):
        _check_run(make, [_reading(rng, step, metric) for step in range(readings)])
    _check_empty_reading(make())
    _check_wrong_states(make())


def _reading(rng: random.Random, step: int, metric: str) -> Reading:
    odd = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1e300, 1e-300)
    value = rng.choice(odd) if rng.random() < 0.1 else 1.0 / (1 + step // 10) + 0.01 * rng.random()
    return Reading(step, {metric: value}, learning_rate=0.5)


def _check_run(make: Callable[[], Controller], readings: list[Reading]) -> None:
    controller, kind = make(), type(make()).__name__
    assert controller.factor == 1.0, f"{kind} begins with the factor {controller.factor!r}"
    names = set(controller.state_dict())
    for i, reading in enumerate(readings):
        twin = make()
        twin.load_state_dict(_through_json(controller.state_dict(), kind))
        before = controller.factor
        decision = controller.observe(reading)
        assert decision is None or isinstance(decision, Decision), f"{kind} decides {decision!r}"
        assert decision is None or (decision.cause and decision.action in ACTIONS), f"{kind} decides {decision!r}"
        factor = controller.factor
        assert isinstance(factor, float), f"{kind} has the factor {factor!r}"
        assert 0.0 <= factor < math.inf, f"{kind} has the factor {factor!r} after {reading!r}"
        assert decision is not None or factor == before, f"{kind} changes its factor and does not say why"
        assert set(controller.state_dict()) == names, f"{kind} has other names in its state after {i + 1} readings"
        said = twin.observe(copy.deepcopy(reading))
        is_same = (said, twin.factor, repr(twin.state_dict())) == (decision, factor, repr(controller.state_dict()))
        assert is_same, f"{kind} goes on differently from its state at reading {i}"


def _through_json(state: dict[str, Any], kind: str) -> dict[str, Any]:
    back = json.loads(json.dumps(state))
    assert repr(back) == repr(state), f"the state of {kind} is no plain data: {state!r}"
    return back


def _check_empty_reading(controller: Controller) -> None:
    before = controller.state_dict()
    decision = controller.observe(Reading(0, {"a metric that nobody watches": 1.0}))
    kind = type(controller).__name__
    assert decision is None, f"{kind} decides something on a reading without its metric"
    assert controller.state_dict() == before, f"{kind} counts a reading without its metric"


def _check_wrong_states(controller: Controller) -> None:
    before = controller.state_dict()
    wrong: list[dict[str, Any]] = [{}, {**before, "surprise": 1}, {**before, "factor": "half"}]
    wrong += [{**before, "factor": value} for value in (-1.0, math.nan, math.inf, None)]
    for state in wrong:
        try:
            controller.load_state_dict(state)
        except StateError:
            assert controller.state_dict() == before, (
                f"{type(controller).__name__} is changed by a state that it refuses"
            )
        else:
            raise AssertionError(f"{type(controller).__name__} takes the state {state!r}")
