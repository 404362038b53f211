"""One pass over memory for torch optimizers: the host's own class, its state, its checks; our step.

Each optimizer of ours is a subclass of torch's own. It keeps torch's state under torch's names, so that a running
experiment can switch in either direction, and it falls back to torch's own step wherever a kernel cannot serve (another
device, a half-precision type, a tensor that is not contiguous, no compiler). The numbers are the same.
"""

from __future__ import annotations

import ctypes
import dataclasses
import sys
import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from operator import is_, itemgetter
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from torch.optim import Optimizer

import torch
from surefoot._errors import ArgumentError, ArgumentTypeError, SurefootWarning
from surefoot.kernels import CannotBuild, Program, load, number_fields, source, tasks, trace
from surefoot.kernels._cpp import ALONE
from surefoot.rules import Rule
from torch import Tensor

TYPES = {torch.float32: "float", torch.float64: "double"}


@dataclass(slots=True)
class _Member:
    """Parameters of one bucket that share a group and a step count, and so all scalars."""

    group: dict[str, Any]
    program: Program
    shared: dict[str, Tensor]  # step counter and scalar slots: one tensor for all parameters while the plan holds
    states: list[dict[str, Any]]
    t: float = 2.0  # for optimizers without a step count: 1 at the first step


@dataclass(slots=True)
class _Bucket:
    """Parameters of one type whose programs are the same: one call a step."""

    run: Any
    dtype: torch.dtype
    parameters: list[Tensor]
    addresses: list[int]  # of the parameters
    members: list[_Member]
    pointers: Any  # [tensor, array]: addresses
    tasks: Any
    is_large: bool
    sizes: list[int]  # bytes of each parameter: what the kernel may touch
    kept: list[tuple[str, list[dict[str, Any]], list[Tensor]]]  # name, states, slots: alive while addresses are used


@dataclass(slots=True)
class _Plan:
    """What holds as long as the same parameters have gradients and the groups keep their structure."""

    absent: list[Tensor]  # parameters without a gradient
    structure: list[tuple[Any, ...]]
    buckets: list[_Bucket]
    state: Any  # the optimizer's own dictionary, and how many parameters it knew
    known: int


class FusedStep(Optimizer):
    """Mixed into a torch optimizer: takes its step in one pass over memory."""

    slots: ClassVar[dict[str, str]] = {}  # the rule's names -> torch's
    has_step: ClassVar[bool] = True
    is_decoupled: ClassVar[bool] = False
    _plan: _Plan | None = None

    @abstractmethod
    def rule_of(self, group: dict[str, Any]) -> Rule:
        """Return the rule of a parameter group, with torch's conventions."""

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
        """Load a state of ours or of torch's own optimizer."""
        self._drop_plan()
        super().load_state_dict(state_dict)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group."""
        self._drop_plan()
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; `closure` is as in torch."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        plan = self._present_plan()
        if plan is None:
            self._drop_plan()
            _unhooked(super().step)()
            return loss
        for bucket in plan.buckets:
            self._run(bucket)
            _increment_version(bucket.parameters)  # a backward pass through old values must fail
        if any(member.t == 1.0 for bucket in plan.buckets for member in bucket.members):
            self._drop_plan()  # their first step is over
        return loss

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _present_plan(self) -> _Plan | None:
        """Return the plan for the gradients that are there, or None if a kernel cannot serve them all."""
        try:
            structure = [_structure(self.rule_of(group), group) for group in self.param_groups]
        except (ArgumentError, ArgumentTypeError):  # a number that torch takes and the rule does not: torch's step
            return None
        if getattr(self, "grad_scale", None) is not None or getattr(self, "found_inf", None) is not None:
            return None  # a GradScaler leaves the unscaling to the step (fused=True): torch's step does it
        plan = self._plan
        is_same = plan is not None and plan.state is self.state and plan.known == len(self.state)
        if plan is not None and is_same and plan.structure == structure and _still_holds(plan):
            return plan
        parameters = [p for group in self.param_groups for p in group["params"]]
        mine = [p for p in parameters if p.grad is not None]
        for p in mine:
            g = cast("Tensor", p.grad)
            if g.layout is not torch.strided or not g.is_contiguous() or not p.is_contiguous():
                return None
            if p.dtype not in TYPES or g.dtype is not p.dtype or p.device.type != "cpu" or type(p.data) is not Tensor:
                return None
            if g.shape != p.shape or not all(_fits(self.state.get(p, {}).get(name), p) for name in self._array_slots()):
                return None
        if torch.compiler.is_compiling() or not _can_build():
            return None
        for group in self.param_groups:
            if group.get("capturable") or group.get("differentiable"):
                return None
        self._drop_plan()
        absent = [p for p in parameters if p.grad is None]
        try:
            buckets = self._buckets()
        except CannotBuild as reason:
            _say(str(reason))
            return None
        self._plan = plan = _Plan(absent, structure, buckets, self.state, len(self.state))
        return plan if _still_holds(plan) else None

    def _drop_plan(self) -> None:
        """Forget the plan, and give every parameter a step counter of its own again."""
        plan, self._plan = self._plan, None
        for bucket in plan.buckets if plan else ():
            for member in bucket.members:
                for state in member.states:
                    own = {name: t.clone() for name, t in member.shared.items() if state.get(name) is t}
                    state.update(own)  # what someone has set since stays

    def _buckets(self) -> list[_Bucket]:
        """Sort parameters by type and program, and lay out their addresses."""
        sorted_: dict[tuple[Any, ...], dict[tuple[int, float], list[Tensor]]] = {}
        programs = [_program(self.rule_of(g), g, is_decoupled=self._decouples(g)) for g in self.param_groups]
        runs: dict[tuple[Any, ...], Any] = {}  # all kernels first: where one fails, nothing has been changed
        for group, program in zip(self.param_groups, programs, strict=True):
            for dtype in {p.dtype for p in group["params"] if p.grad is not None}:
                key = (dtype, program.identity)
                runs[key] = runs.get(key) or _kernel(program, dtype)
        for number, (group, program) in enumerate(zip(self.param_groups, programs, strict=True)):
            for p in group["params"]:
                if p.grad is not None:
                    t = self._prepare(p, self.rule_of(group), program)
                    members = sorted_.setdefault((p.dtype, program.identity), {})
                    members.setdefault((number, t), []).append(p)
        return [self._bucket(runs[key], key[0], members, programs) for key, members in sorted_.items()]

    def _bucket(
        self, run: Any, dtype: torch.dtype, found: dict[tuple[int, float], list[Tensor]], programs: list[Program]
    ) -> _Bucket:
        members: list[_Member] = []
        parameters: list[Tensor] = []
        rows: list[list[int]] = []
        offsets: list[int] = []
        kept: list[tuple[str, list[dict[str, Any]], list[Tensor]]] = []
        offset = 0
        for (number, t), tensors in found.items():
            program, states = programs[number], [self.state[p] for p in tensors]
            numbers = [self.slots[name] for name in self.rule_of(self.param_groups[number]).scalar_slots]
            shared = {name: states[0][name].clone() for name in (["step"] if self.has_step else []) + numbers}
            member = _Member(self.param_groups[number], program, shared, states, t)
            for state in states:
                state.update(shared)
                rows.append([0, 0, *(state[self.slots[name]].data_ptr() for name in program.arrays[2:])])
                offsets.append(offset)
            names = [*shared, *(self.slots[name] for name in program.arrays[2:])]
            kept += [(name, states, [state[name] for state in states]) for name in names]
            members.append(member)
            parameters += tensors
            offset += program.width
        sizes = [p.numel() for p in parameters]
        pointers = np.array(rows, dtype=np.uint64).reshape(len(rows), -1)
        flat = np.array(tasks(sizes, offsets), dtype=np.int64)
        return _Bucket(
            run,
            dtype,
            parameters,
            [],
            members,
            pointers,
            flat,
            sum(sizes) >= ALONE,
            [p.nbytes for p in parameters],
            kept,
        )

    def _run(self, bucket: _Bucket) -> None:
        """Compute the scalars of this step and pass once over the memory of all parameters."""
        scalars: list[float] = []
        for member in bucket.members:
            rule, t = self.rule_of(member.group), member.t
            if self.has_step:
                t = member.shared["step"].add_(1.0).item()
            values = {"t": t, "lr": float(member.group["lr"]), **_settings(rule, member.group)}
            for name in rule.scalar_slots:
                values[name] = member.shared[self.slots[name]].item()
            k, new = member.program.scalars(values)
            scalars += k
            for name, value in new.items():
                member.shared[self.slots[name]].fill_(value)
        k = np.array(scalars)
        threads = torch.get_num_threads() if bucket.is_large else 1
        bucket.run(
            k.ctypes.data, bucket.pointers.ctypes.data, bucket.tasks.ctypes.data, len(bucket.tasks) // 4, threads
        )

    def _prepare(self, p: Tensor, rule: Rule, program: Program) -> float:
        """Make the state of a parameter as torch would, where there is none; return the step that comes to an end."""
        state = self.state[p]
        is_new = all(state.get(self.slots[name]) is None for name in program.arrays[2:])
        if self.has_step and "step" not in state:
            state["step"] = torch.tensor(0.0)
        start = rule.init(0.0)
        for name in program.arrays[2:]:
            if state.get(self.slots[name]) is None:
                state[self.slots[name]] = torch.full_like(p, float(start[name]), memory_format=torch.preserve_format)
        for name in rule.scalar_slots:
            state.setdefault(self.slots[name], torch.tensor(float(start[name])))
        return float(state["step"]) if self.has_step else 1.0 if is_new and program.arrays[2:] else 2.0

    def _array_slots(self) -> list[str]:
        """Return torch's names of the slots that are as large as the parameter."""
        numbers = {name for group in self.param_groups[:1] for name in self.rule_of(group).scalar_slots}
        return [theirs for name, theirs in self.slots.items() if name not in numbers]

    def _decouples(self, group: dict[str, Any]) -> bool:
        return bool(self.is_decoupled or group.get("decoupled_weight_decay", False))


def _still_holds(plan: _Plan) -> bool:
    """Whether a plan fits the tensors as they are now; notes the addresses of their gradients on the way.

    It runs at every step over every parameter: list comprehensions, and nothing twice.
    """
    try:
        for bucket in plan.buckets:
            gradients = [p.grad for p in bucket.parameters]
            if not all([g.is_contiguous() for g in gradients]):  # noqa: C419 - a list is faster  # pyright: ignore[reportOptionalMemberAccess]
                return False
            if not all([p.is_contiguous() for p in bucket.parameters]):  # noqa: C419
                return False
            if [g.nbytes for g in gradients] != bucket.sizes:  # pyright: ignore[reportOptionalMemberAccess]
                return False
            if not all([all(map(is_, map(itemgetter(name), states), slots)) for name, states, slots in bucket.kept]):  # noqa: C419
                return False
            addresses = [p.data_ptr() for p in bucket.parameters]
            if addresses != bucket.addresses:
                if [p.nbytes for p in bucket.parameters] != bucket.sizes:
                    return False
                if any(p.dtype is not bucket.dtype or p.device.type != "cpu" for p in bucket.parameters):
                    return False
                bucket.addresses = addresses
                bucket.pointers[:, 0] = addresses
            bucket.pointers[:, 1] = [g.data_ptr() for g in gradients]  # pyright: ignore[reportOptionalMemberAccess]
    except (AttributeError, KeyError, RuntimeError):  # a gradient has gone, or is sparse; a slot has gone
        return False
    return all(p.grad is None for p in plan.absent)


def _fits(slot: Any, p: Tensor) -> bool:
    """Whether a kernel can use a slot as it is; one that is not there yet will be made to fit."""
    if slot is None:
        return True
    return slot.shape == p.shape and slot.dtype is p.dtype and slot.device == p.device and slot.is_contiguous()


def _kernel(program: Program, dtype: torch.dtype) -> Any:
    run = load(source(program, TYPES[dtype]), _openmp()).run
    run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int]
    run.restype = None
    return run


def _increment_version(tensors: list[Tensor]) -> None:
    try:
        torch.autograd.graph.increment_version(tensors)
    except (AttributeError, TypeError):  # torch before 2.6 takes one at a time
        for tensor in tensors:
            torch.autograd.graph.increment_version(tensor)


def _unhooked(step: Any) -> Callable[[], Any]:
    """Return torch's own step without the hooks that have run for ours already."""
    function = step.__func__
    while getattr(function, "hooked", False):
        function = function.__wrapped__
    return lambda: function(step.__self__)


def _settings(rule: Rule, group: dict[str, Any]) -> dict[str, float]:
    return {**number_fields(rule), "weight_decay": float(group.get("weight_decay", 0.0))}


def _structure(rule: Rule, group: dict[str, Any]) -> tuple[Any, ...]:
    """Return what decides the program: flags, and which numbers are zero."""
    numbers = _settings(rule, group)
    names = (f.name for f in dataclasses.fields(rule))  # pyright: ignore[reportArgumentType] - every rule is a dataclass
    flags = tuple(getattr(rule, name) for name in names if name not in numbers)
    return (
        [id(p) for p in group["params"]],  # the plan keeps them alive, so no other gets the same
        type(rule),
        flags,
        tuple(v == 0.0 for v in numbers.values()),
        bool(group.get("maximize")),
        bool(group.get("decoupled_weight_decay")),
    )


def _program(rule: Rule, group: dict[str, Any], *, is_decoupled: bool) -> Program:
    maximize, decays = bool(group.get("maximize")), group.get("weight_decay", 0.0) != 0.0

    def step(
        rule: Rule, x: Any, g: Any, t: Any, lr: Any, extra: dict[str, Any], **slots: Any
    ) -> tuple[Any, dict[str, Any]]:
        g = -g if maximize else g
        if decays and not is_decoupled:
            g = g + extra["weight_decay"] * x
        dx, new = rule.step(x, g, t, lr, **slots)
        return (dx - lr * extra["weight_decay"] * x if decays and is_decoupled else dx), new

    return trace(rule, step, {"weight_decay": float(group.get("weight_decay", 0.0))})


@lru_cache(maxsize=1)
def _openmp() -> str | None:
    """Return torch's own OpenMP runtime: a second one in the process would fight for the cores."""
    folder = Path(torch.__file__).parent / "lib"
    return next((str(f) for f in sorted(folder.glob("libgomp*"))), None)


@lru_cache(maxsize=1)
def _can_build() -> bool:
    """Whether a kernel can be built and loaded here; says once why not."""
    try:
        load('extern "C" int answer() { return 42; }\n', _openmp())
    except CannotBuild as reason:
        _say(str(reason))
        return False
    return True


@lru_cache(maxsize=16)
def _say(reason: str) -> None:
    """Warn once a reason, at the line of the user's that takes the step."""
    frame, level = sys._getframe(), 1  # noqa: SLF001 - the only way to know whose line it is  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("surefoot", "torch"):
        frame, level = frame.f_back, level + 1
    warnings.warn(
        f"surefoot takes torch's own optimizer steps, which are slower, because {reason}",
        SurefootWarning,
        stacklevel=level,
    )
