"""Axes: a range, a scale, and ticks with texts that people read. Pure functions, shared by both pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HUGE = 1e70  # no loss and no rate: such numbers are overflow on its way
PLAIN = (1e-4, 1e6)  # numbers between these are written without an exponent
NONE = "\u2013"
ENOUGH = 3  # ticks on an axis
CROWDED = 34  # letters of tick texts, with their gaps, that fit on a narrow axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis; a fine one loses its text where there is little room."""

    value: float
    text: str
    is_fine: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A range of values on a linear or logarithmic scale."""

    low: float
    high: float
    is_log: bool

    def place(self, value: float) -> float:
        """Return where `value` lies: 0 at the low end, 1 at the high end.

        >>> Axis(low=0.001, high=0.1, is_log=True).place(0.01)
        0.5
        """
        low, high = self._scaled(self.low), self._scaled(self.high)
        return round((self._scaled(value) - low) / (high - low), 6)

    def holds(self, value: float) -> bool:
        """Return whether `value` lies in the range."""
        return self.low <= value <= self.high

    def ticks(self) -> list[Tick]:
        """Return the marks, from low to high."""
        return log_ticks(self.low, self.high) if self.is_log else linear_ticks(self.low, self.high)

    def _scaled(self, value: float) -> float:
        if not self.is_log:
            return value
        return math.log10(value) if value > 0 else -320.0  # below every float: off the picture, not an error


def number_text(value: float | None, digits: int = 2) -> str:
    """Return a number with `digits` significant digits, as short as people write it.

    >>> [number_text(x) for x in (0.00312, 3.1e-7, 154.0, 0.1, 2e9)]
    ['0.0031', '3.1e-7', '154', '0.1', '2e9']
    """
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    if PLAIN[0] <= abs(rounded) < PLAIN[1]:
        return f"{value:.0f}" if abs(value) >= 10**digits else f"{rounded:.10f}".rstrip("0").rstrip(".")
    mantissa, exponent = f"{rounded:.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def padded(values: Sequence[float], *, is_log: bool, share: float = 0.05, least: float = 2.0) -> Axis:
    """Return an axis that holds all values, with some air; a single value gets a factor `least` to either side.

    >>> padded([0.01], is_log=True)
    Axis(low=0.005, high=0.02, is_log=True)
    """
    low, high = (min(values), max(values)) if values else (1.0, 1.0)
    if is_log:
        air = (high / low) ** share if high > low * 1.01 else least
        return Axis(low=low / air, high=high * air, is_log=True)
    air = share * (high - low)
    if high - low <= max(1 / HUGE, 1e-9 * abs(low), 1e-9 * abs(high)):
        air = 0.5 * abs(low) or 1.0
    return Axis(low=low - air, high=high + air, is_log=False)


def wants_log(values: Sequence[float], ratio: float = 4.0) -> bool:
    """Return whether the values are all positive and span enough for a logarithmic axis."""
    return bool(values) and min(values) > 1 / HUGE and max(values) / min(values) >= ratio


def log_ticks(low: float, high: float) -> list[Tick]:
    """Return decades; between them 2 and 5 where there is room; a linear scale's ticks for less than a factor of 3."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = max(1, math.ceil((last - first) / 7))
    decades = [Tick(value=10.0**e, text=number_text(10.0**e)) for e in range(first, last + 1, stride)]
    decades = [tick for tick in decades if low <= tick.value <= high]
    if len(decades) >= ENOUGH:
        return decades
    between = [
        Tick(value=m * 10.0**e, text=number_text(m * 10.0**e), is_fine=m != 1 and bool(decades))
        for e in range(first, last + 1)
        for m in (1, 2, 5)
        if low <= m * 10.0**e <= high
    ]
    return between if len(between) >= ENOUGH else [tick for tick in linear_ticks(low, high) if tick.value > 0]


def linear_ticks(low: float, high: float, about: int = 5) -> list[Tick]:
    """Return about five round values.

    >>> [tick.text for tick in linear_ticks(0.0, 1.0)]
    ['0', '0.2', '0.4', '0.6', '0.8', '1']
    """
    raw = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(raw))
    stride = next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw * 0.999)
    start, stop = math.ceil(low / stride - 1e-9), math.floor(high / stride + 1e-9)
    digits = max(2, 1 + math.floor(math.log10(max(abs(low), abs(high)) / stride)) + 1)
    values = [k * stride for k in range(start, stop + 1)]
    texts = [number_text(value, digits) for value in values]
    is_crowded = sum(len(text) + 2 for text in texts) > CROWDED
    return [
        Tick(value=value, text=text, is_fine=is_crowded and k % 2 == 1)
        for k, (value, text) in enumerate(zip(values, texts, strict=True))
    ]
