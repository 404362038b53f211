"""Run a rule once on symbols and read off what it does: a list of array operations, and the scalars that they need.

Two kinds of symbols flow through the rule's own code. *Arrays* (the parameters, the gradient, the slots) leave one line
per operation. *Scalars* (t, lr, the rule's numbers) are gathered into one small Python function, run once a step in
double precision; where a scalar meets an array it becomes a run-time argument of the kernel, so that a new rate, or a
new beta, never rebuilds it. A rule may branch on a scalar (`if self.momentum:`): the answer becomes part of the
program's identity.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from surefoot.rules import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a rule does to one element.

    Attributes:
        arrays: names of the arrays, "x" and "g" first, then the slots; all but g are written.
        lines: (name, operation, operands) in order; an operand is an array's name, "k<i>" for scalar i, or a line's name.
        outputs: the array that is written, and the operand that it becomes.
        width: how many scalars there are.
        scalars: returns the values k0, k1, … and the new scalar slots, from t, lr, the fields and the scalar slots.
        source: the text of `scalars`, for people.
    """

    arrays: tuple[str, ...]
    lines: tuple[tuple[str, str, tuple[str, ...]], ...]
    outputs: tuple[tuple[str, str], ...]
    width: int
    scalars: Callable[[Mapping[str, float]], tuple[list[float], dict[str, float]]]
    source: str

    @property
    def identity(self) -> tuple[Any, ...]:
        """What two programs must share to be one kernel."""
        return self.arrays, self.lines, self.outputs


@dataclass(slots=True)
class _Tape:
    lines: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list[tuple[str, str, tuple[str, ...]]])
    known: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict[tuple[str, tuple[str, ...]], str])
    statements: list[str] = field(default_factory=list[str])
    scalars: dict[str, str] = field(default_factory=dict[str, str])  # text of a scalar -> its name
    arguments: dict[str, str] = field(default_factory=dict[str, str])  # name of a scalar -> k<i>

    def array(self, operation: str, *operands: Any) -> Array:
        names = tuple(self._operand(o) for o in operands)
        key = (operation, names)
        if key not in self.known:
            self.known[key] = f"a{len(self.lines)}"
            self.lines.append((self.known[key], *key))
        return Array(self, self.known[key])

    def _operand(self, value: Any) -> str:
        if isinstance(value, Array):
            return value.name
        scalar = value if isinstance(value, Scalar) else self.scalar(repr(float(value)), float(value))
        return self.arguments.setdefault(scalar.name, f"k{len(self.arguments)}")

    def scalar(self, text: str, value: Any) -> Scalar:
        if text not in self.scalars:
            self.scalars[text] = f"s{len(self.scalars)}"
            self.statements.append(f"{self.scalars[text]} = {text}")
        return Scalar(self, self.scalars[text], value)


def _larger(x: float, y: float) -> float:
    return max(x, y)


def _power(x: float, y: float) -> float:
    return float(x**y)


def _smaller(x: float, y: float) -> float:
    return min(x, y)


def _sign(x: float) -> float:
    return math.copysign(1.0, x) if x else 0.0


class _Math:
    """What `surefoot.rules._math` calls for symbols."""

    @staticmethod
    def sqrt(x: Any) -> Any:
        return _call("sqrt", x, text="math.sqrt({})", value=math.sqrt)

    @staticmethod
    def abs(x: Any) -> Any:
        return _call("abs", x, text="abs({})", value=operator.abs)

    @staticmethod
    def sign(x: Any) -> Any:
        return _call("sign", x, text="sign({})", value=_sign)

    @staticmethod
    def expm1(x: Any) -> Any:
        return _call("expm1", x, text="math.expm1({})", value=math.expm1)

    @staticmethod
    def log(x: Any) -> Any:
        return _call("log", x, text="math.log({})", value=math.log)

    @staticmethod
    def maximum(x: Any, y: Any) -> Any:
        return _call("maximum", x, y, text="max({}, {})", value=_larger)

    @staticmethod
    def minimum(x: Any, y: Any) -> Any:
        return _call("minimum", x, y, text="min({}, {})", value=_smaller)

    @staticmethod
    def where(condition: Any, a: Any, b: Any) -> Any:
        def choose(c: Any, p: float, q: float) -> float:
            return p if c else q

        return _call("where", condition, a, b, text="({1} if {0} else {2})", value=choose)

    @staticmethod
    def zeros_like(x: Any) -> Any:
        return 0.0 * x


def _call(operation: str, *operands: Any, text: str, value: Callable[..., Any]) -> Any:
    """Apply an operation to symbols and numbers: an array if any of them is one, else a scalar."""
    tape = next(o.tape for o in operands if isinstance(o, Symbol))
    if any(isinstance(o, Array) for o in operands):
        return tape.array(operation, *operands)
    names = [o.name if isinstance(o, Scalar) else repr(o) for o in operands]
    values = [o.value if isinstance(o, Scalar) else o for o in operands]
    try:
        result = value(*values)
    except (ValueError, ZeroDivisionError, OverflowError):
        result = math.nan  # at the traced t; the function itself raises or not at its own
    return tape.scalar(text.format(*names), result)


class Symbol:
    """An operand that notes what is done to it."""

    __slots__ = ("name", "tape")
    __rule_math__ = _Math

    def __init__(self, tape: _Tape, name: str) -> None:
        self.tape, self.name = tape, name

    def __add__(self, o: Any) -> Any:
        return _call("+", self, o, text="({} + {})", value=operator.add)

    def __radd__(self, o: Any) -> Any:
        return _call("+", o, self, text="({} + {})", value=operator.add)

    def __sub__(self, o: Any) -> Any:
        return _call("-", self, o, text="({} - {})", value=operator.sub)

    def __rsub__(self, o: Any) -> Any:
        return _call("-", o, self, text="({} - {})", value=operator.sub)

    def __mul__(self, o: Any) -> Any:
        return _call("*", self, o, text="({} * {})", value=operator.mul)

    def __rmul__(self, o: Any) -> Any:
        return _call("*", o, self, text="({} * {})", value=operator.mul)

    def __truediv__(self, o: Any) -> Any:
        return _call("/", self, o, text="divide({}, {})", value=_divide)

    def __rtruediv__(self, o: Any) -> Any:
        return _call("/", o, self, text="divide({}, {})", value=_divide)

    def __pow__(self, o: Any) -> Any:
        return _call("pow", self, o, text="({} ** {})", value=_power)

    def __rpow__(self, o: Any) -> Any:
        return _call("pow", o, self, text="({} ** {})", value=_power)

    def __neg__(self) -> Any:
        return _call("neg", self, text="(-{})", value=operator.neg)

    def __gt__(self, o: Any) -> Any:
        return _call(">", self, o, text="({} > {})", value=operator.gt)

    def __lt__(self, o: Any) -> Any:
        return _call("<", self, o, text="({} < {})", value=operator.lt)


class Array(Symbol):
    """An array's element."""

    __slots__ = ()

    def __rule_zeros__(self) -> float:
        return 0.0


class Scalar(Symbol):
    """A number that is known only when a step is taken; `value` is what it was when the rule was traced."""

    __slots__ = ("value",)

    def __init__(self, tape: _Tape, name: str, value: Any) -> None:
        super().__init__(tape, name)
        self.value = value

    def __bool__(self) -> bool:
        return bool(self.value)


def _divide(a: float, b: float) -> float:
    """Return a / b as arrays have it: no error for b = 0."""
    if b:
        return a / b
    return math.nan if a == 0.0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


def number_fields(rule: Rule) -> dict[str, float]:
    """Return the rule's fields that are numbers and so may change from step to step."""
    return {
        f.name: float(getattr(rule, f.name))
        for f in dataclasses.fields(rule)  # pyright: ignore[reportArgumentType] - every rule is a dataclass
        if isinstance(getattr(rule, f.name), float | int) and not isinstance(getattr(rule, f.name), bool)
    }


def trace(
    rule: Rule, step: Callable[..., tuple[Any, dict[str, Any]]] | None = None, extra: Mapping[str, float] | None = None
) -> Program:
    """Return the program of a rule.

    Args:
        rule: the rule; its structure (flags, zero or not) is fixed by its present fields.
        step: what to trace instead of `rule.step`: `step(rule, x, g, t, lr, extra, **slots)`.
        extra: further scalars by name, for `step`.
    """
    tape = _Tape()
    fields = number_fields(rule)
    inputs = {"t": 2.0, "lr": 1e-3, **fields, **(extra or {})}
    symbols = {name: Scalar(tape, f"v[{name!r}]", value) for name, value in inputs.items()}
    symbolic = _with_fields(rule, {name: symbols[name] for name in fields})
    slots = rule.init(1.0)
    arrays = ("x", "g", *(name for name in slots if name not in rule.scalar_slots))
    named: dict[str, Any] = {name: Array(tape, name) for name in arrays}
    named.update({name: Scalar(tape, f"v[{name!r}]", float(slots[name])) for name in rule.scalar_slots})
    x, g, t, lr = named.pop("x"), named.pop("g"), symbols["t"], symbols["lr"]
    if step is None:
        dx, new = symbolic.step(x, g, t, lr, **named)
    else:
        dx, new = step(symbolic, x, g, t, lr, {name: symbols[name] for name in extra or {}}, **named)
    outputs = [("x", (x + dx).name)]
    outputs += [(name, new[name].name) for name in arrays[2:]]
    scalar_slots = {name: new[name].name for name in rule.scalar_slots}
    source = "\n".join(
        [
            "def scalars(v):",
            *(f"    {line}" for line in tape.statements),
            f"    return [{', '.join(tape.arguments)}], {{{', '.join(f'{k!r}: {v}' for k, v in scalar_slots.items())}}}",
        ]
    )
    names: dict[str, Any] = {"math": math, "divide": _divide, "sign": _sign}
    exec(compile(source, f"<scalars of {type(rule).__name__}>", "exec"), names)  # noqa: S102 - our own text, made above
    return Program(
        arrays=arrays,
        lines=tuple(tape.lines),
        outputs=tuple(outputs),
        width=len(tape.arguments),
        scalars=names["scalars"],
        source=source,
    )


def _with_fields(rule: Rule, symbols: Mapping[str, Scalar]) -> Rule:
    """Return a copy of a frozen rule with symbols for its numbers, unchecked."""
    copy = object.__new__(type(rule))
    for f in dataclasses.fields(rule):  # pyright: ignore[reportArgumentType]
        object.__setattr__(copy, f.name, symbols.get(f.name, getattr(rule, f.name)))
    return copy
