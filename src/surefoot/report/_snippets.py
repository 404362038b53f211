"""Code to paste: the found rate with the found schedule, in PyTorch, Keras and optax."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from surefoot import schedules
from surefoot.report._schedule import schedule_repr

if TYPE_CHECKING:
    from surefoot.search._found import Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A piece of code for one framework."""

    framework: str
    title: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Constructor:
    """How one optimizer is called in the three frameworks: the class, and arguments besides the rate."""

    torch: str
    keras: str
    optax: str
    torch_more: str = ""
    keras_more: str = ""
    optax_more: str = ""


NO_SCHEDULE = "my_schedule"
LONGEST = 1000  # letters of a schedule in code
_UNSAFE = {"Schedule", "from_dict", "from_function"}  # they may run what a record names

_MOMENTUM = ", momentum=0.9"
_NESTEROV = ", momentum=0.9, nesterov=True"
_OPTIMIZERS = {
    "sgd": _Constructor(torch="SGD", keras="SGD", optax="sgd"),
    "sgd_momentum": _Constructor(
        torch="SGD", keras="SGD", optax="sgd", torch_more=_MOMENTUM, keras_more=_MOMENTUM, optax_more=_MOMENTUM
    ),
    "sgd_nesterov": _Constructor(
        torch="SGD", keras="SGD", optax="sgd", torch_more=_NESTEROV, keras_more=_NESTEROV, optax_more=_NESTEROV
    ),
    "adagrad": _Constructor(torch="Adagrad", keras="Adagrad", optax="adagrad"),
    "adadelta": _Constructor(torch="Adadelta", keras="Adadelta", optax="adadelta"),
    "rmsprop": _Constructor(torch="RMSprop", keras="RMSprop", optax="rmsprop"),
    "adam": _Constructor(torch="Adam", keras="Adam", optax="adam"),
    "adamw": _Constructor(torch="AdamW", keras="AdamW", optax="adamw"),
    "adamax": _Constructor(torch="Adamax", keras="Adamax", optax="adamax"),
    "nadam": _Constructor(torch="NAdam", keras="Nadam", optax="nadam"),
}

_TORCH = """\
import torch
import surefoot as sf
from surefoot.torch import drive

optimizer = torch.optim.{name}(model.parameters(), lr={rate}{more}){note}
lr = drive(optimizer, {schedule}, total_steps={total_steps})

for batch in batches:
    optimizer.zero_grad()
    loss_of(model, batch).backward()
    optimizer.step()
    lr.step()  # after each optimizer.step()
"""

_KERAS = """\
import keras
import surefoot as sf

plan = ({schedule}).resolve({total_steps})


class FoundRate(keras.optimizers.schedules.LearningRateSchedule):
    rates = [{rate} * plan(step) for step in range({total_steps})]

    def __call__(self, step):
        rates = keras.ops.convert_to_tensor(self.rates, dtype="float32")
        last = len(self.rates) - 1
        return keras.ops.take(rates, keras.ops.minimum(keras.ops.cast({update}, "int32"), last))

    def get_config(self):
        return {{}}


optimizer = keras.optimizers.{name}(learning_rate=FoundRate(){more}){note}
model.compile(optimizer=optimizer, loss=loss)
"""

_OPTAX = """\
import optax
import surefoot as sf

plan = ({schedule}).resolve({total_steps})
optimizer = optax.{name}(lambda step: {rate} * plan(step){more}){note}
"""


def snippets(found: Found) -> tuple[Snippet, ...]:
    """Return the three snippets, that of the framework of the search first; none if there is no rate to write."""
    schedule = schedule_code(schedule_repr(found)) or NO_SCHEDULE
    if found.total_steps < 1 or not 0 < found.learning_rate < float("inf"):
        return ()
    known = _OPTIMIZERS.get((found.optimizer or "").lower())
    shape = known or _OPTIMIZERS["adam"]
    note = "" if known else "  # put your optimizer here, as in the search"
    if found.optimizer == "adamw":
        note = "  # with your weight decay: its default differs between frameworks"
    plain = {"rate": f"{found.learning_rate:.4g}", "schedule": schedule, "total_steps": found.total_steps, "note": note}
    job: Any = found.details.get("job")
    about = cast("dict[str, Any]", job) if isinstance(job, dict) else {}
    batches: Any = about.get("gradient_accumulation_steps")
    update = f"step // {batches}" if isinstance(batches, int) and batches > 1 else "step"  # Keras counts batches
    all_three = (
        Snippet(
            framework="torch", title="PyTorch", code=_TORCH.format(**plain, name=shape.torch, more=shape.torch_more)
        ),
        Snippet(
            framework="keras",
            title="Keras",
            code=_KERAS.format(**plain, name=shape.keras, more=shape.keras_more, update=update),
        ),
        Snippet(
            framework="optax", title="JAX, optax", code=_OPTAX.format(**plain, name=shape.optax, more=shape.optax_more)
        ),
    )
    order = [{"KerasJob": "keras", "JaxJob": "optax"}.get(str(about.get("kind", "")), "torch")]
    return tuple(
        sorted(all_three, key=lambda snippet: order.index(snippet.framework) if snippet.framework in order else 9)
    )


def schedule_code(text: object) -> str | None:
    """Return a schedule's repr with "sf." before its names; None if it is anything but names, numbers and operators.

    A report is pasted from, and a record may come from somebody else: nothing else gets into a snippet.

    >>> schedule_code("linear_warmup('5%') >> cosine_decay()")
    "sf.linear_warmup('5%') >> sf.cosine_decay()"
    >>> schedule_code("__import__('os').system('true')") is None
    True
    """
    if not isinstance(text, str) or not text.isascii() or len(text) > LONGEST:
        return None
    try:
        return _prefixed(ast.parse(text, mode="eval"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _prefixed(tree: ast.Expression) -> str | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if node.id in _UNSAFE or node.id not in schedules.__all__:
                return None
            node.id = f"sf.{node.id}"
        elif not isinstance(node, _HARMLESS):
            return None
    return ast.unparse(tree)


_HARMLESS = (
    ast.Expression,
    ast.Call,
    ast.keyword,
    ast.Constant,
    ast.Tuple,
    ast.List,
    ast.Dict,
    ast.BinOp,
    ast.UnaryOp,
    ast.operator,
    ast.unaryop,
    ast.expr_context,
)
