"""Symbols that note what a rule does to them.

*Arrays* (the parameters, the gradient, the slots) leave one line per operation. *Scalars* (t, lr, the rule's numbers)
leave statements of Python, run once a step in double precision. A sum over arrays is a scalar that is known only after
a pass over memory: the symbols that depend on it have a higher *level*, one for each such pass before them. A sum over
one leaf (`leaf_sum`) is the same number for all elements of a tensor, and stays among the arrays.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from typing import Any

from surefoot.rules._math import Numbers

Line = tuple[str, str, tuple[str, ...]]


@dataclass(slots=True)
class Tape:
    """What a traced rule has done so far."""

    lines: list[Line] = field(default_factory=list[Line])  # name, operation, operands
    statements: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list[tuple[str, str, tuple[str, ...]]])
    sums: list[tuple[str, str, bool]] = field(default_factory=list[tuple[str, str, bool]])  # name, of what, per leaf?
    levels: dict[str, int] = field(default_factory=dict[str, int])  # passes over memory before a name is known
    known: dict[tuple[Any, ...], str] = field(default_factory=dict[tuple[Any, ...], str])  # nothing is done twice

    # Names made here begin with an underscore, so that a rule may call its slots as it likes.

    def array(self, operation: str, *operands: Any) -> Array:
        """Note an operation on elements."""
        names = tuple(self.name_of(o) for o in operands)
        key = (operation, names)
        if key not in self.known:
            self.known[key] = name = f"_a{len(self.lines)}"
            self.lines.append((name, *key))
            self.levels[name] = self.level(names)
        return Array(self, self.known[key])

    def scalar(
        self, text: str, operands: tuple[str, ...], *, is_field: bool = False, value: float = math.nan
    ) -> Scalar:
        """Note a statement; `text` is Python."""
        if ("scalar", text) not in self.known:
            self.known["scalar", text] = name = f"_s{len(self.statements)}"
            self.statements.append((name, text, operands))
            self.levels[name] = self.level(operands)
        return Scalar(self, self.known["scalar", text], is_field=is_field, value=value)

    def sum(self, x: Array, *, is_leaf: bool) -> Array | Scalar:
        """Note a sum over all elements of the model, or of each leaf."""
        key = ("sum", x.name, is_leaf)
        if key not in self.known:
            number = sum(1 for _, _, leaf in self.sums if leaf == is_leaf)
            self.known[key] = name = f"_l{number}" if is_leaf else f"v['sum{number}']"
            self.sums.append((name, x.name, is_leaf))
            self.levels[name] = self.level((x.name,)) + 1
        name = self.known[key]
        return Array(self, name) if is_leaf else self.scalar(name, (name,))

    def level(self, names: tuple[str, ...]) -> int:
        """Return how many passes over memory must be done before these names are known."""
        return max((self.levels.get(n, 0) for n in names), default=0)

    def name_of(self, value: Any) -> str:
        """Return the name of an operand; a plain number becomes a scalar."""
        return value.name if isinstance(value, Symbol) else self.scalar(repr(float(value)), ()).name


def _call(operation: str, *operands: Any, text: str) -> Any:
    """Apply an operation to symbols and numbers: an array if any of them is one, else a scalar."""
    tape = next(o.tape for o in operands if isinstance(o, Symbol))
    if any(isinstance(o, Array) for o in operands):
        return tape.array(operation, *operands)
    names = [o.name if isinstance(o, Scalar) else repr(o) for o in operands]
    return tape.scalar(text.format(*names), tuple(o.name for o in operands if isinstance(o, Scalar)))


class _Math:
    """What `surefoot.rules._math` calls for symbols."""

    @staticmethod
    def sqrt(x: Any) -> Any:
        return _call("sqrt", x, text="sqrt({})")

    @staticmethod
    def abs(x: Any) -> Any:
        return _call("abs", x, text="abs({})")

    @staticmethod
    def sign(x: Any) -> Any:
        return _call("sign", x, text="sign({})")

    @staticmethod
    def expm1(x: Any) -> Any:
        return _call("expm1", x, text="expm1({})")

    @staticmethod
    def log(x: Any) -> Any:
        return _call("log", x, text="log({})")

    @staticmethod
    def maximum(x: Any, y: Any) -> Any:
        return _call("maximum", x, y, text="maximum({}, {})")

    @staticmethod
    def minimum(x: Any, y: Any) -> Any:
        return _call("minimum", x, y, text="minimum({}, {})")

    @staticmethod
    def where(condition: Any, a: Any, b: Any) -> Any:
        return _call("where", condition, a, b, text="({1} if {0} else {2})")

    @staticmethod
    def zeros_like(x: Any) -> Any:
        del x
        return 0.0

    @staticmethod
    def sum(x: Any) -> Any:
        return x.tape.sum(x, is_leaf=False) if isinstance(x, Array) else x

    @staticmethod
    def leaf_sum(x: Any) -> Any:
        return x.tape.sum(x, is_leaf=True) if isinstance(x, Array) else x


class Symbol:
    """An operand that notes what is done to it."""

    __slots__ = ("name", "tape")
    __rule_math__ = _Math

    def __init__(self, tape: Tape, name: str) -> None:
        self.tape, self.name = tape, name

    def __add__(self, o: Any) -> Any:
        return _call("+", self, o, text="({} + {})")

    def __radd__(self, o: Any) -> Any:
        return _call("+", o, self, text="({} + {})")

    def __sub__(self, o: Any) -> Any:
        return _call("-", self, o, text="({} - {})")

    def __rsub__(self, o: Any) -> Any:
        return _call("-", o, self, text="({} - {})")

    def __mul__(self, o: Any) -> Any:
        return _call("*", self, o, text="({} * {})")

    def __rmul__(self, o: Any) -> Any:
        return _call("*", o, self, text="({} * {})")

    def __truediv__(self, o: Any) -> Any:
        return _call("/", self, o, text="divide({}, {})")

    def __rtruediv__(self, o: Any) -> Any:
        return _call("/", o, self, text="divide({}, {})")

    def __pow__(self, o: Any) -> Any:
        return _call("pow", self, o, text="({} ** {})")

    def __rpow__(self, o: Any) -> Any:
        return _call("pow", o, self, text="({} ** {})")

    def __neg__(self) -> Any:
        return _call("neg", self, text="(-{})")

    def __gt__(self, o: Any) -> Any:
        return _call(">", self, o, text="({} > {})")

    def __lt__(self, o: Any) -> Any:
        return _call("<", self, o, text="({} < {})")

    def __bool__(self) -> bool:
        raise TypeError(
            "a rule may ask in Python only whether one of its own numbers is zero (`if self.momentum:`): what depends "
            "on t, lr, a slot or an array is not known when the rule is traced. Use `where(condition, a, b)`."
        )


class Array(Symbol):
    """An array's element."""

    __slots__ = ()


class Scalar(Symbol):
    """A number that is known only when a step is taken; `value` is what a field was when the rule was traced."""

    __slots__ = ("is_field", "value")

    def __init__(self, tape: Tape, name: str, *, is_field: bool = False, value: float = math.nan) -> None:
        super().__init__(tape, name)
        self.is_field, self.value = is_field, value

    def __bool__(self) -> bool:
        """Whether a field is not zero: the answer becomes part of the program."""
        return bool(self.value) if self.is_field else super().__bool__()


def divide(a: float, b: float) -> float:
    """Return a / b as arrays have it: no error for b = 0."""
    if b:
        return a / b
    return math.nan if a == 0.0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


SCALAR_FUNCTIONS = {
    "divide": divide,
    "sqrt": Numbers.sqrt,
    "abs": operator.abs,
    "sign": Numbers.sign,
    "expm1": math.expm1,
    "log": math.log,
    "maximum": Numbers.maximum,
    "minimum": Numbers.minimum,
}
