"""What the controllers of one metric share: which it is, what a gain is, and how far the rate may move."""

from __future__ import annotations

import math
from collections.abc import Mapping

from surefoot._checks import refuse_type

_ROUNDING = 1e-6  # a rate that was kept in float32 and comes back is the same rate


def check_monitor(where: str, monitor: object) -> str | None:
    """Return the name of a metric, or None, or raise."""
    if monitor is None or (isinstance(monitor, str) and monitor):
        return monitor
    raise refuse_type(where, "monitor", monitor, "the name of a metric, or None")


def check_flag(where: str, name: str, value: object) -> bool:
    """Return True or False, or raise."""
    if isinstance(value, bool):
        return value
    raise refuse_type(where, name, value, "True or False")


def watched(monitor: str | None, seen: str | None, metrics: Mapping[str, float]) -> str | None:
    """Return the metric that is there to be read: `monitor`, or what None has settled on, or None.

    >>> watched(None, None, {"loss": 1.0, "val_loss": 2.0}), watched(None, "val_loss", {"loss": 1.0})
    ('val_loss', None)
    """
    name = monitor or seen or next((n for n in ("val_loss", "loss") if n in metrics), None)
    return name if name is not None and name in metrics else None


def margin(best: float, min_delta: float, *, relative: bool) -> float:
    """Return the least gain over `best` that counts: a share of |best|, right for negative values too, or absolute."""
    return min_delta * (abs(best) if relative else 1.0)


def is_gain(value: float, best: float | None, *, mode: str, min_delta: float, relative: bool) -> bool:
    """Whether a value would become the best. What is not finite never does; anything finite is better than nothing.

    >>> is_gain(0.9, 1.0, mode="min", min_delta=0.05, relative=True)
    True
    """
    if not math.isfinite(value):
        return False
    if best is None:
        return True
    least = margin(best, min_delta, relative=relative)
    return value < best - least if mode == "min" else value > best + least


def within(rate: float, by: float, lowest: float, highest: float = math.inf) -> float:
    """Return what to multiply a rate with: `by`, or as far as the limits are; 1.0 where it cannot move.

    >>> within(1.0, 0.5, lowest=0.75), within(0.1, 2.0, 0.0, highest=0.1), within(0.1, 0.5, lowest=0.2)
    (0.75, 1.0, 1.0)
    """
    if by < 1.0:
        return 1.0 if rate <= lowest * (1.0 + _ROUNDING) else max(by, lowest / rate)
    return 1.0 if rate == 0.0 or rate >= highest * (1.0 - _ROUNDING) else min(by, highest / rate)
