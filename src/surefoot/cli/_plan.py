"""From what was typed to a plan: an expression of schedules, a JSON file, or an object in a file or a module."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from surefoot._checks import nearest
from surefoot._errors import ArgumentError, ArgumentTypeError, SurefootError
from surefoot.cli._target import load_file

if TYPE_CHECKING:
    from surefoot.schedules import Schedule

METHODS = ("clipped", "cooldown_from", "extend", "scaled", "shifted", "until")
LONGEST = 10_000  # letters of an expression
_OBJECT = re.compile(r"(?P<home>.+\.py|[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Something that has a learning rate at each step: a schedule, a function, or a framework's scheduler."""

    name: str
    schedule: Schedule | None = None
    function: Callable[[int], Any] | None = None
    scheduler: Any = None

    def rates(self, steps: int, base: float, steps_per_epoch: float | None) -> list[float]:
        """Return the learning rate of each step."""
        if self.schedule is not None:
            is_known = self.schedule.is_resolved  # it may be longer than the run, which then cuts it
            known = self.schedule if is_known else self.schedule.resolve(steps, steps_per_epoch)
            return [base * known(step) for step in range(steps)]
        if self.function is not None:
            return [base * _asked(self.name, self.function, step) for step in range(steps)]
        return _stepped(self.name, self.scheduler, steps)


def plan_of(text: str) -> Plan:
    """Return the plan that the user means.

    Raises:
        click.UsageError: the text is no plan.
        SurefootError: a file cannot be loaded, or an argument of a schedule is not allowed.
    """
    if text.endswith(".json"):
        return Plan(name=text, schedule=_from_json(Path(text)))
    match = _OBJECT.fullmatch(text)
    if match is not None:
        return _of_object(text, _imported(match["home"], match["name"]))
    schedule = evaluate(text)
    return Plan(name=repr(schedule), schedule=schedule)


def _from_json(path: Path) -> Schedule:
    from surefoot.schedules import from_dict  # noqa: PLC0415 - not for --help

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise click.UsageError(f"{path} is not JSON: {error}.") from error
    if isinstance(data, dict) and "kind" not in data and "schedule" in data:  # the record of a search
        data = cast("dict[str, Any]", data)["schedule"]
    return from_dict(cast("Any", data))


def _imported(home: str, name: str) -> object:
    if home.endswith(".py"):
        if not Path(home).is_file():
            raise click.UsageError(f"There is no file {home!r}.")
        module: Any = load_file(Path(home))
    else:
        try:
            module = importlib.import_module(home)
        except ImportError as error:
            raise click.UsageError(f"{home} cannot be imported: {error}.") from error
    if not hasattr(module, name):
        names: list[str] = [known for known in dir(module) if not known.startswith("_")]
        raise click.UsageError(f"{home} has no {name!r}. {nearest(name, names)}".rstrip())
    return getattr(module, name)


def _of_object(text: str, thing: Any) -> Plan:
    from surefoot.schedules import Schedule  # noqa: PLC0415 - not for --help

    if inspect.isfunction(thing) and _can_be_called(thing) and not _can_be_called(thing, 0):
        thing = thing()  # a function that makes the plan
    if isinstance(thing, Schedule):
        return Plan(name=repr(thing), schedule=thing)
    if hasattr(thing, "optimizer") and callable(getattr(thing, "step", None)):
        return Plan(name=text, scheduler=thing)
    if callable(thing) and not isinstance(thing, type) and _can_be_called(thing, 0):
        return Plan(name=text, function=thing)
    raise click.UsageError(
        f"{text} is a {type(thing).__name__}: wanted is a schedule, a function of the step, or a torch scheduler."
    )


def _can_be_called(thing: Any, *arguments: object) -> bool:
    try:
        inspect.signature(thing).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def _asked(name: str, function: Callable[[int], Any], step: int) -> float:
    try:
        return float(function(step))
    except Exception as error:
        raise SurefootError(f"{name} raised {type(error).__name__} at step {step}: {error}") from error


def _stepped(name: str, scheduler: Any, steps: int) -> list[float]:
    """Return the rates of the first parameter group in a run of nothing: no gradients, so no weight moves."""
    rates: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what schedulers say to their own users
        for step in range(steps):
            rates.append(float(scheduler.optimizer.param_groups[0]["lr"]))
            if step + 1 < steps:
                try:
                    scheduler.optimizer.step()
                    scheduler.step()
                except Exception as error:
                    said = f"{name} raised {type(error).__name__} at step {step}: {error}"
                    raise SurefootError(said) from error
    return rates


def evaluate(text: str) -> Schedule:
    """Return the schedule that an expression such as `linear_warmup('5%') >> cosine_decay()` means.

    The expression is walked, never run: it can name schedules, numbers, texts and lists, and nothing else.

    >>> evaluate("linear_warmup('5%') >> 0.5 * cosine_decay(to=1/10)")
    linear_warmup('5%') >> 0.5 * cosine_decay(to=0.1)
    """
    from surefoot.schedules import Schedule  # noqa: PLC0415 - not for --help

    if len(text) > LONGEST:
        raise click.UsageError(f"The plan has {len(text)} letters, more than {LONGEST}. Put it into a file.")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        value = _value(tree.body)
    except SyntaxError as error:
        raise click.UsageError(f"{text!r} is not a plan: {error.msg}. {_HOW}") from error
    except (RecursionError, MemoryError) as error:
        raise click.UsageError("The plan is nested too deeply. Put it into a file.") from error
    except TypeError as error:
        if isinstance(error, ArgumentTypeError):
            raise
        raise click.UsageError(f"{text!r} is not a plan: {error}.") from error
    except (ArithmeticError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise click.UsageError(f"{text!r} is not a plan: {error}.") from error
    if not isinstance(value, Schedule):
        raise click.UsageError(f"{text!r} is not a schedule. {_HOW}")
    return value


_HOW = (
    "Write schedules as in Python, \"linear_warmup('5%') >> cosine_decay(to=0.1)\", "
    "or name a .json file, path/to/file.py:name or package.module:name."
)


def _names() -> dict[str, Any]:
    from surefoot import schedules  # noqa: PLC0415 - not for --help

    public: dict[str, Any] = {name: getattr(schedules, name) for name in schedules.__all__}
    kinds = {name: kind for name, kind in public.items() if isinstance(kind, type) and name[0].islower()}
    kinds.pop("from_function")  # takes a function, which no expression can give
    return kinds


def _value(node: ast.expr) -> Any:
    from surefoot.schedules import Schedule  # noqa: PLC0415 - not for --help

    match node:
        case ast.Constant(value=int() | float() | str() | None as value):
            return value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return tuple(_value(element) for element in elements)
        case ast.Dict(keys=keys, values=values):
            return {_value(_given(key)): _value(value) for key, value in zip(keys, values, strict=True)}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_operand(_value(operand))
        case ast.BinOp(left=left, op=ast.RShift(), right=right):
            return _operand(_value(left)) >> _operand(_value(right))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _operand(_value(left)) * _operand(_value(right))
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _operand(_value(left)) / _operand(_value(right))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            known = _names()
            if name not in known:
                raise click.UsageError(f"There is no schedule {name!r}. {nearest(name, known)}".rstrip())
            return _called(known[name], args, keywords)
        case ast.Call(func=ast.Attribute(value=owner, attr=name), args=args, keywords=keywords):
            schedule = _value(owner)
            if not isinstance(schedule, Schedule) or name not in METHODS:
                said = f"There is no .{name}(...) in a plan. {nearest(name, METHODS)}".rstrip()
                raise click.UsageError(said)
            return _called(getattr(schedule, name), args, keywords)
        case _:
            raise click.UsageError(f"{ast.unparse(node)!r} cannot stand in a plan. {_HOW}")


def _given(key: ast.expr | None) -> ast.expr:
    if key is None:
        raise click.UsageError("`**` cannot stand in a plan.")
    return key


def _operand(value: Any) -> Any:
    """Refuse to calculate with texts and lists, which a product could make endless."""
    from surefoot.schedules import Schedule  # noqa: PLC0415 - not for --help

    if not isinstance(value, int | float | Schedule):
        raise click.UsageError(f"{value!r} cannot be calculated with.")
    return value


def _called(function: Callable[..., Any], args: list[ast.expr], keywords: list[ast.keyword]) -> Any:
    named = {_text(keyword.arg): _value(keyword.value) for keyword in keywords}
    return function(*(_value(arg) for arg in args), **named)


def _text(name: str | None) -> str:
    if name is None:
        raise click.UsageError("`**` cannot stand in a plan.")
    return name
