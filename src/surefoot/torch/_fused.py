"""One pass over memory for torch optimizers: the host's own class, its state, its checks; our step.

Each optimizer of ours that torch has too is a subclass of torch's own. It keeps torch's state under torch's names, so
that a running experiment can switch in either direction, and it falls back to torch's own step wherever a kernel cannot
serve (another device, a half-precision type, a tensor that is not contiguous, no compiler). The numbers are the same.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from inspect import signature
from typing import Any, ClassVar, Self, TypeVar, cast

from torch._compile import _disable_dynamo  # pyright: ignore[reportPrivateUsage]
from torch.optim import Optimizer

import torch
from surefoot import rules
from surefoot._checks import number, refuse
from surefoot._errors import ArgumentError, ArgumentTypeError, StateError
from surefoot.kernels import CannotBuild, bundled_openmp, interpret, load, say_slow
from surefoot.rules import Complete, Rule
from surefoot.torch._plan import (
    DOUBTS,
    TYPES,
    Group,
    Member,
    Plan,
    make_plan,
    members_of,
    needs_host,
    programs_of,
    say_doubt,
)
from torch import Tensor

_ZERO = torch.zeros(())
CLIPS = ("clip_value", "clip_norm", "clip_global_norm")


class FusedStep(Optimizer):
    """Mixed into a torch optimizer: takes its step in one pass over memory."""

    slots: ClassVar[dict[str, str]] = {}  # the rule's names -> torch's
    has_step: ClassVar[bool] = True
    is_decoupled: ClassVar[bool] = False
    has_fused: ClassVar[bool] = False  # whether torch has a fused step for the CPU
    number_type: ClassVar[torch.dtype | None] = None  # of slots that are numbers: torch's default
    _plan: Plan | None = None

    @abstractmethod
    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a parameter group, with torch's conventions."""

    def complete(self, group: dict[str, Any]) -> Complete:
        """Return the rule of a parameter group with what is around it: clipping, direction, weight decay."""
        return Complete(
            rule=self.rule_of(group),
            maximize=bool(group.get("maximize")),
            weight_decay=float(group.get("weight_decay", 0.0)),
            is_decoupled=bool(self.is_decoupled or group.get("decoupled_weight_decay", False)),
            **{name: group.get(name, self.defaults.get(name)) for name in CLIPS},  # a state of torch's own has none
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._plan = None

    def __getstate__(self) -> dict[str, Any]:
        self._drop_plan()
        return super().__getstate__()

    def state_dict(self) -> dict[str, Any]:
        """Return the state under torch's own names; torch's optimizer can load it, and the other way round."""
        self._drop_plan()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state of ours or of torch's own optimizer.

        Raises:
            StateError: a slot has another shape than its parameter; nothing has been changed.
        """
        self._refuse_other_shapes(state_dict)
        self._drop_plan()
        super().load_state_dict(state_dict)

    def clip(self, *, value: float | None = None, norm: float | None = None, global_norm: float | None = None) -> Self:
        """Clip gradients inside the step from now on, in one way: None for all three turns it off.

        Unlike `torch.nn.utils.clip_grad_norm_` it leaves `p.grad` as it is, and costs at most one pass over memory.

        Args:
            value: no element is larger in size.
            norm: no parameter's gradient has a larger Euclidean norm.
            global_norm: the gradient of the whole model has no larger one.

        Returns:
            The optimizer itself.

        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([30.0, 40.0])
        >>> from surefoot.torch import SGD
        >>> SGD([weight], lr=1.0).clip(global_norm=1.0).step()
        >>> [round(w, 3) for w in weight.tolist()]
        [-0.6, -0.8]
        """
        wanted = dict(zip(CLIPS, (value, norm, global_norm), strict=True))
        Complete(rule=rules.SGD(), **wanted)  # checks the numbers before anything is changed
        for settings in (self.defaults, *self.param_groups):
            for name, limit in wanted.items():
                settings.pop(name, None)
                if limit is not None:
                    settings[name] = limit
        return self

    @property
    def finds_rate(self) -> bool:
        """Whether the rule of any group finds its own rate, or has a warm-up of its own."""
        return any(self.rule_of(group).finds_rate for group in self.param_groups)

    def effective_learning_rates(self) -> list[float]:
        """Return for each group what the last step has multiplied its direction with.

        That is the group's `lr`, but for rules that find their own rate (`DoG`, `Prodigy` and their like): there it is
        what they have found, times `lr`, and NaN before the first step. Ask before a scheduler changes `lr`.

        >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> from surefoot.torch import DoG
        >>> optimizer = DoG([weight], start=0.5, is_start_absolute=True)
        >>> weight.square().sum().backward()
        >>> optimizer.step()  # 0.5 along a gradient of norm 10
        >>> [round(rate, 6) for rate in optimizer.effective_learning_rates()]
        [0.05]
        """
        return [self._effective_lr(group) for group in self.param_groups]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group; what it does not say is the default.

        Raises:
            ArgumentError: the rate or the weight decay is out of its range, or a parameter is there twice; nothing has
                been added.
        """
        self.check_group({**self.defaults, **param_group})
        params = param_group.get("params")
        if params is not None and not isinstance(params, Tensor):
            param_group = {**param_group, "params": list(params)}  # it may be a generator
            seen = [id(cast("Any", p)[1] if isinstance(p, tuple) else p) for p in param_group["params"]]
            if len(set(seen)) < len(seen):
                twice = next(i for i, key in enumerate(seen) if key in seen[:i])
                raise refuse(
                    type(self).__name__,
                    "params",
                    f"parameter {twice} twice",
                    "each parameter once",
                    "Leave the copy out.",
                )
        self._drop_plan()
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; `closure` is as in torch."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if not torch.compiler.is_compiling():
            self._take_step()
        elif all(p.device.type == "cpu" for group in self.param_groups for p in group["params"]):
            self._take_step_uncompiled()  # the kernel is there already
        else:
            self._host_step()  # the compiler makes its own kernels of torch's operations
        return loss

    # ---- inside -----------------------------------------------------------------------------------------------------

    def check_group(self, settings: Mapping[str, Any]) -> None:
        """Refuse numbers that torch's optimizers refuse only in their constructors, or not at all."""
        for name in ("lr", "weight_decay"):
            number(type(self).__name__, name, float(settings.get(name, 0.0)), at_least=0.0)

    def _effective_lr(self, group: dict[str, Any]) -> float:
        rule, lr = self.rule_of(group), float(group["lr"])
        if not rule.finds_rate:
            return lr
        state = next((self.state[p] for p in group["params"] if self.state.get(p)), None)
        if state is None:
            return math.nan
        numbers = {name: float(state[self.slots[name]]) for name in rule.scalar_slots}
        return float(rule.effective_lr(lr, float(state["step"]), **numbers))

    def _take_step(self) -> None:
        plan = self._present_plan()
        if plan is None:
            self._drop_plan()
            self._host_step()
            return
        plan.run(self)
        if not self.has_step and any(member.t == 1.0 for bucket in plan.buckets for member in bucket.members):
            self._drop_plan()  # their first step is over

    _take_step_uncompiled = _disable_dynamo(_take_step)  # as torch.compiler.disable, which takes a second to import

    def _present_plan(self) -> Plan | None:
        """Return the plan for the gradients that are there, or None if a kernel cannot serve them all."""
        if getattr(self, "grad_scale", None) is not None or getattr(self, "found_inf", None) is not None:
            return None  # a GradScaler leaves the unscaling to the step (fused=True): torch's step does it
        try:
            if self._plan is not None and self._plan.still_holds(self):
                return self._plan
            if any(needs_host(group) for group in self.param_groups):
                return None
            if not self._can_serve() or not _can_build():
                return None
            groups = [Group(group, self.complete(group)) for group in self.param_groups]
        except (ArgumentError, ArgumentTypeError):  # a number that torch takes and the rule does not: torch's step
            return None
        self._drop_plan()
        try:
            self._plan = make_plan(self, groups)
        except CannotBuild as reason:
            _say(str(reason))
        return self._plan

    def _can_serve(self) -> bool:
        """Whether every tensor is of a kind that kernels take."""
        names = self._array_slots()
        for p in (p for group in self.param_groups for p in group["params"] if p.grad is not None):
            g = cast("Tensor", p.grad)
            if g.layout is not torch.strided or not g.is_contiguous() or not p.is_contiguous():
                return False
            if p.dtype not in TYPES or g.dtype is not p.dtype or p.device.type != "cpu" or type(p.data) is not Tensor:
                return False
            if p.is_inference():  # its changes are not counted
                return False
            if g.shape != p.shape or not all(_fits(self.state.get(p, {}).get(name), p) for name in names):
                return False
        return True

    def _drop_plan(self) -> None:
        plan, self._plan = self._plan, None
        if plan is not None:
            plan.release()

    def _array_slots(self) -> list[str]:
        """Return torch's names of the slots that are as large as the parameter."""
        numbers = {name for group in self.param_groups[:1] for name in self.rule_of(group).scalar_slots}
        return [theirs for name, theirs in self.slots.items() if name not in numbers]

    def _host_step(self) -> None:
        """Take torch's own step; where it is to clip, which torch's does not, ours in torch's operations."""
        if any(group.get(name, self.defaults.get(name)) is not None for group in self.param_groups for name in CLIPS):
            self._own_step()
        else:
            before = [group.get("fused") for group in self.param_groups]
            try:
                if self.has_fused and self._fits_fused():
                    for group in self.param_groups:
                        group["fused"] = True  # on a CPU torch's default is its slowest way
                _unhooked(super().step)()
            finally:
                for group, fused in zip(self.param_groups, before, strict=True):
                    if "fused" in group:
                        group["fused"] = fused

    def _fits_fused(self) -> bool:
        """Whether a kernel could serve all tensors, were there a compiler, and nobody has chosen torch's way."""
        if _can_build() or torch.get_default_dtype() is not torch.float32 or not self._can_serve():
            return False
        if any(needs_host(g) or g.get("fused") is not None or g.get("foreach") is not None for g in self.param_groups):
            return False
        return all(s.get("step", _ZERO).dtype is torch.float32 for s in self.state.values())

    def _own_step(self) -> None:
        """Take the step that kernels take, in torch's operations, tensor by tensor; half precision counts in float32."""
        self._refuse_gradients()
        groups = [Group(group, self.complete(group)) for group in self.param_groups]
        members = members_of(self, groups, programs_of(groups))
        values = [self._next_values(member) for member in members]
        tensors = [
            (p, state, row) for row, m in enumerate(members) for p, state in zip(m.parameters, m.states, strict=True)
        ]

        def read(i: int) -> dict[str, Tensor]:
            p, state, row = tensors[i]
            arrays = {name: state[self.slots[name]] for name in members[row].program.arrays[2:]}
            return {name: _wide(a) for name, a in {"x": p, "g": cast("Tensor", p.grad), **arrays}.items()}

        def write(i: int, new: dict[str, Any]) -> None:
            p, state, _ = tensors[i]
            for name, value in new.items():
                (p if name == "x" else state[self.slots[name]]).copy_(value)

        interpret([m.program for m in members], values, [row for _, _, row in tensors], read, write)
        for _, state, row in tensors:
            if self.has_step:
                state["step"].fill_(values[row]["t"])
            for name in members[row].group.rule.scalar_slots:
                state[self.slots[name]].fill_(values[row][name])
        for member, row in zip(members, values, strict=True):
            if row["t"] in DOUBTS:
                say_doubt(type(self).__name__, member.group.rule, row)

    def _next_values(self, member: Member) -> dict[str, float]:
        state, numbers = member.states[0], member.group.rule.scalar_slots
        return {
            "t": member.t + 1.0 if self.has_step else member.t,
            "lr": float(member.group.group["lr"]),
            **member.group.numbers,
            **{name: float(state[self.slots[name]]) for name in numbers},
        }

    def _refuse_gradients(self) -> None:
        """Refuse what no step of ours can take."""
        for p in (p for group in self.param_groups for p in group["params"] if p.grad is not None):
            if p.grad.layout is not torch.strided:
                raise _refusal(self, "a sparse gradient", "dense gradients", "Use sparse=False in the embedding.")
            if p.is_complex():
                raise _refusal(self, f"a parameter of {p.dtype}", "real", "Use torch.view_as_real.")

    def _refuse_other_shapes(self, state_dict: dict[str, Any]) -> None:
        """Refuse a state whose slots are not shaped like the parameters."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        indices = [i for group in state_dict.get("param_groups", ()) for i in group["params"]]
        for p, index in zip(parameters, indices, strict=False):  # torch compares the counts
            for name in self._array_slots():
                slot = state_dict["state"].get(index, {}).get(name)
                if isinstance(slot, Tensor) and slot.shape != p.shape:
                    raise StateError(
                        f"`{type(self).__name__}.load_state_dict`: {name!r} of parameter {index} has the shape "
                        f"{tuple(slot.shape)}; it must have that of the parameter, {tuple(p.shape)}. Load the state "
                        "of the same model, its parameters in the same order."
                    )


def _refusal(optimizer: Optimizer, value: str, allowed: str, cure: str) -> ArgumentError:
    return ArgumentError(f"`{type(optimizer).__name__}(params=...)`: there is {value}; all must be {allowed}. {cure}")


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _fits(slot: Any, p: Tensor) -> bool:
    """Whether a kernel can use a slot as it is; one that is not there yet will be made to fit."""
    if slot is None:
        return True
    return slot.shape == p.shape and slot.dtype is p.dtype and slot.device == p.device and slot.is_contiguous()


def _unhooked(step: Any) -> Callable[[], Any]:
    """Return torch's own step without the hooks that have run for ours already."""
    function = step.__func__
    while getattr(function, "hooked", False):
        function = function.__wrapped__
    return lambda: function(step.__self__)


@lru_cache(maxsize=1)
def _can_build() -> bool:
    """Whether a kernel can be built and loaded here; says once why not."""
    try:
        load('extern "C" int answer() { return 42; }\n', bundled_openmp(torch.__file__))
    except CannotBuild as reason:
        _say(str(reason))
        return False
    return True


def _say(reason: str) -> None:
    say_slow("takes torch's own optimizer steps", reason, ("surefoot", "torch"))


Host = TypeVar("Host", bound=FusedStep)


def in_our_words(cls: type[Host]) -> type[Host]:
    """Let a subclass of torch's say which argument was wrong and what is allowed, where torch refuses a value."""
    host = cls.__init__

    @wraps(host)
    def __init__(self: Host, *args: Any, **settings: Any) -> None:  # noqa: N807 - it takes the place of one
        try:
            host(self, *args, **settings)
        except ArgumentError:
            raise
        except ValueError:
            given = signature(host).bind(self, *args, **settings)
            given.apply_defaults()
            self.check_group(given.arguments)
            self.defaults = {}
            self.complete(given.arguments)
            raise

    cls.__init__ = __init__
    return cls
