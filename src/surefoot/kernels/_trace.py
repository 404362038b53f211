"""Run a rule once on symbols and read off what it does: passes over memory, and the scalars that they need.

Where a scalar meets an array it becomes a run-time argument of the kernel, so that a new rate, or a new beta, never
rebuilds it. A rule may ask whether one of its own numbers is zero (`if self.momentum:`): the answer becomes part of the
program's identity.

Most rules are one pass. A rule that needs sums over the whole model (or over each leaf) has one pass more for each sum
that depends on another: a pass reads the parameters, the gradient and the slots, and only the last one writes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from surefoot.kernels._symbols import SCALAR_FUNCTIONS, Array, Line, Scalar, Tape
from surefoot.rules import Rule

Values = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass over memory.

    Attributes:
        lines: (name, operation, operands) in order; an operand is an array's name, "_k<i>" for scalar i, "_l<i>" for the
            sum i over a leaf, or a line's name.
        sums: (name, operand): what is added up, "v['sum<i>']" over everything or "_l<i>" over each leaf.
        outputs: (array that is written, operand that it becomes).
        width: how many scalars there are.
        scalars: returns k0, k1, … from t, lr, the fields, the scalar slots and the sums of earlier passes.
    """

    lines: tuple[Line, ...]
    sums: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    width: int
    scalars: Callable[[Values], list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a rule does in one step.

    Attributes:
        arrays: names of the arrays, "x" and "g" first, then the slots; all but g may be written.
        passes: in order; most rules have one.
        leaf_sums: how many sums over leaves there are.
        new_scalars: returns the new scalar slots, when all passes are done.
        source: the text of all functions of scalars, for people.
    """

    arrays: tuple[str, ...]
    passes: tuple[Pass, ...]
    leaf_sums: int
    new_scalars: Callable[[Values], dict[str, float]]
    source: str

    @property
    def identity(self) -> tuple[Any, ...]:
        """What two programs must share to be one kernel."""
        return self.arrays, tuple((p.lines, p.sums, p.outputs) for p in self.passes)

    @property
    def sums(self) -> frozenset[tuple[int, str]]:
        """The sums over the whole model, by pass and name: what the groups of one model must agree in."""
        return frozenset((i, n) for i, p in enumerate(self.passes) for n, _ in p.sums if not n.startswith("_l"))


def number_fields(rule: Rule, prefix: str = "") -> dict[str, float]:
    """Return the rule's fields that are numbers and so may change from step to step; those of a rule inside too.

    >>> from surefoot.rules import Complete, SGD
    >>> number_fields(Complete(rule=SGD(momentum=0.9), clip_norm=1.0))
    {'rule.momentum': 0.9, 'rule.dampening': 0.0, 'clip_norm': 1.0, 'weight_decay': 0.0}
    """
    found: dict[str, float] = {}
    for name in _names(rule):
        value = getattr(rule, name)
        if isinstance(value, Rule):
            found.update(number_fields(value, f"{prefix}{name}."))
        elif isinstance(value, float | int) and not isinstance(value, bool):
            found[prefix + name] = float(value)
    return found


def structure(rule: Rule) -> tuple[Any, ...]:
    """Return what decides a rule's program: its type, its flags, and which of its numbers are zero."""
    values = (getattr(rule, name) for name in _names(rule))
    return (
        type(rule),
        *(structure(v) if isinstance(v, Rule) else v if isinstance(v, bool) or v is None else not v for v in values),
    )


def trace(rule: Rule) -> Program:
    """Return the program of a rule.

    Raises:
        TypeError: the rule asks in Python for something that is not known when it is traced.
    """
    tape = Tape()
    symbols = {name: Scalar(tape, f"v[{name!r}]") for name in ("t", "lr")}
    fields = {
        name: Scalar(tape, f"v[{name!r}]", is_field=True, value=value) for name, value in number_fields(rule).items()
    }
    slots = rule.init(1.0)
    arrays = ("x", "g", *(name for name in slots if name not in rule.scalar_slots))
    named: dict[str, Any] = {name: Array(tape, name) for name in arrays}
    named.update({name: Scalar(tape, f"v[{name!r}]") for name in rule.scalar_slots})
    x, g = named.pop("x"), named.pop("g")
    dx, new = _with_fields(rule, fields).step(x, g, symbols["t"], symbols["lr"], **named)
    outputs = [("x", tape.name_of(x + dx)), *((name, tape.name_of(new[name])) for name in arrays[2:])]
    outputs = tuple((name, value) for name, value in outputs if name != value)
    scalar_slots = {name: tape.name_of(new[name]) for name in rule.scalar_slots}
    last = max([tape.level(tuple(value for _, value in outputs)), *(tape.level((of,)) for _, of, _ in tape.sums)])
    made = [
        _pass(
            tape,
            [(name, of) for name, of, _ in tape.sums if tape.level((of,)) == level],
            outputs if level == last else (),
        )
        for level in range(last + 1)
    ]
    text = f"return {{{', '.join(f'{name!r}: {value}' for name, value in scalar_slots.items())}}}"
    new_scalars, source = _function(tape, scalar_slots.values(), text)
    return Program(
        arrays=arrays,
        passes=tuple(p for p, _ in made),
        leaf_sums=sum(1 for _, _, is_leaf in tape.sums if is_leaf),
        new_scalars=new_scalars,
        source="\n\n".join([*(text for _, text in made), source]),
    )


def _pass(tape: Tape, sums: Iterable[tuple[str, str]], outputs: tuple[tuple[str, str], ...]) -> tuple[Pass, str]:
    """Return one pass, and the text of its scalars: what its sums and outputs need, and nothing else."""
    sums = tuple(sums)
    wanted = {operand for _, operand in (*sums, *outputs)}
    lines: list[Line] = []
    for name, operation, operands in reversed(tape.lines):
        if name in wanted:
            wanted.update(operands)
            lines.append((name, operation, operands))
    lines.reverse()
    scalars = list(dict.fromkeys(o for _, _, operands in lines for o in operands if _is_scalar(o)))
    scalars += [value for _, value in outputs if _is_scalar(value) and value not in scalars]
    argument = {name: f"_k{i}" for i, name in enumerate(scalars)}
    function, text = _function(tape, scalars, f"return [{', '.join(scalars)}]")
    return Pass(
        lines=tuple(
            (name, operation, tuple(argument.get(o, o) for o in operands)) for name, operation, operands in lines
        ),
        sums=sums,
        outputs=tuple((name, argument.get(value, value)) for name, value in outputs),
        width=len(scalars),
        scalars=function,
    ), text


def _is_scalar(name: str) -> bool:
    return name.startswith(("v[", "_s"))


def _function(tape: Tape, wanted: Iterable[str], last: str) -> tuple[Callable[[Values], Any], str]:
    """Return a function of v that runs the statements which `wanted` needs and then `last`, and its text."""
    names = set(wanted)
    lines = [f"    {last}"]
    for name, text, operands in reversed(tape.statements):
        if name in names:
            names.update(operands)
            lines.append(f"    {name} = {text}")
    source = "\n".join(["def scalars(v):", *reversed(lines)])
    space: dict[str, Any] = dict(SCALAR_FUNCTIONS)
    exec(compile(source, "<scalars of a rule>", "exec"), space)  # noqa: S102 - our own text, made above
    return cast("Callable[[Values], Any]", space["scalars"]), source


def _names(rule: Rule) -> list[str]:
    return [f.name for f in dataclasses.fields(rule)]  # pyright: ignore[reportArgumentType] - every rule is a dataclass


def _with_fields(rule: Rule, symbols: Mapping[str, Scalar], prefix: str = "") -> Rule:
    """Return a copy of a frozen rule with symbols for its numbers, unchecked; of a rule inside too."""
    copy = object.__new__(type(rule))
    for name in _names(rule):
        value = getattr(rule, name)
        inner = _with_fields(value, symbols, f"{prefix}{name}.") if isinstance(value, Rule) else value
        object.__setattr__(copy, name, symbols.get(prefix + name, inner))
    return copy
