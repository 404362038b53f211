"""How the parameters of a torch optimizer go to kernels: sorted once, and checked at every step.

Parameters of one group that have taken the same number of steps share all scalars: a *member*. Members of one type whose
rules trace to the same program share one native call: a *bucket*. The plan of all buckets holds as long as the same
parameters have gradients, the groups keep their structure, and nobody has replaced a tensor of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import is_, itemgetter
from typing import TYPE_CHECKING, Any, cast

import torch
from surefoot._checks import refuse
from surefoot.kernels import (
    Batch,
    Kernel,
    Program,
    bundled_openmp,
    number_fields,
    structure,
    take_step,
    trace,
    warn_outside,
)
from surefoot.rules import Complete, Rule, Vector
from surefoot.torch._gather import Gatherer, native
from torch import Tensor

if TYPE_CHECKING:
    from surefoot.torch._fused import FusedStep

TYPES = {torch.float32: "float", torch.float64: "double"}


@dataclass(slots=True)
class Group:
    """What a parameter group was when it was last looked at, and its rule's numbers."""

    group: dict[str, Any]
    rule: Complete
    parameters: list[Tensor] = field(init=False)
    settings: list[Any] = field(init=False)
    numbers: dict[str, float] = field(init=False)
    structure: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters, self.settings = list(self.group["params"]), _settings(self.group)
        self.numbers, self.structure = number_fields(self.rule), structure(self.rule)

    def follow(self, rule_of: Callable[[dict[str, Any]], Complete]) -> bool:
        """Take over numbers that have changed; False if the parameters or the structure of the rule have."""
        present = self.group["params"]
        if len(present) != len(self.parameters) or not all(map(is_, present, self.parameters)):
            return False
        settings = _settings(self.group)
        if settings != self.settings:
            rule = rule_of(self.group)
            if structure(rule) != self.structure or needs_host(self.group):
                return False
            self.settings, self.numbers = settings, number_fields(rule)
        return True


def _settings(group: dict[str, Any]) -> list[Any]:
    return [value for name, value in group.items() if name not in ("params", "lr")]


def needs_host(group: dict[str, Any]) -> bool:
    """Whether a group asks for what only torch's own step does."""
    return bool(group.get("capturable") or group.get("differentiable"))


DOUBTS = (100.0, 1000.0)  # steps after which a rule is asked whether its estimate has moved


def say_doubt(name: str, rule: Rule, values: Mapping[str, float]) -> None:
    """Warn of what a rule says about its numbers after a step."""
    numbers = {slot: values[slot] for slot in rule.scalar_slots}
    if doubt := rule.doubt(values["t"], **numbers):
        warn_outside(f"`{name}`: {doubt}.", ("surefoot", "torch"))


@dataclass(slots=True)
class Member:
    """Parameters of one group and one step count, and so with the same scalars."""

    group: Group
    program: Program
    t: float  # the number of the step that is taken next
    parameters: list[Tensor] = field(default_factory=list[Tensor])
    states: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    shared: dict[str, Tensor] = field(default_factory=dict[str, Tensor])  # one tensor for all, while a plan holds
    views: dict[str, Any] = field(
        default_factory=dict[str, Any]
    )  # the same memory by the rule's names, as NumPy's: fast


@dataclass(slots=True)
class Bucket:
    """Members of one type and program: one native call a pass."""

    batch: Batch
    members: list[Member]
    parameters: list[Tensor]
    addresses: Callable[[], bool]  # fills in where parameters and gradients are; False if they are not what they were
    bump: Callable[[], Any]  # counts one more change of each parameter
    states: list[dict[str, Any]]
    slots: list[tuple[str, list[Tensor]]]  # what must stay in the states: alive while addresses are used


@dataclass(slots=True)
class Plan:
    """What holds as long as the same parameters have gradients and the groups keep their structure."""

    state: Any  # the optimizer's own dictionary, and how many parameters it knew
    known: int
    groups: list[Group]
    buckets: list[Bucket]
    is_absent: Callable[[], bool]  # whether the parameters that had no gradient still have none

    def still_holds(self, optimizer: FusedStep) -> bool:
        """Whether the plan fits the optimizer and its tensors as they are now."""
        groups = self.groups
        if self.state is not optimizer.state or self.known != len(self.state):
            return False
        if len(groups) != len(optimizer.param_groups):
            return False
        for known, present in zip(groups, optimizer.param_groups, strict=True):
            if known.group is not present or not known.follow(optimizer.complete):
                return False
        return self.fits()

    def fits(self) -> bool:
        """Whether all tensors can be used as they are; notes where they lie."""
        try:
            for bucket in self.buckets:
                for name, kept in bucket.slots:
                    if not all(map(is_, map(itemgetter(name), bucket.states), kept)):
                        return False
                if not bucket.addresses():
                    return False
        except (AttributeError, KeyError, RuntimeError):  # a gradient has gone, or is sparse; a slot has gone
            return False
        return self.is_absent()

    def run(self, optimizer: FusedStep) -> None:
        """Take a step: scalars, then one pass after another over the memory of all parameters."""
        has_step = optimizer.has_step
        values: list[list[dict[str, float]]] = []
        for bucket in self.buckets:
            rows: list[dict[str, float]] = []
            for member in bucket.members:
                if has_step:
                    member.views["step"] += 1.0
                    member.t = float(member.views["step"])
                row = {"t": member.t, "lr": float(member.group.group["lr"]), **member.group.numbers}
                for name in member.group.rule.scalar_slots:
                    row[name] = float(member.views[name])
                rows.append(row)
            values.append(rows)
        take_step([b.batch for b in self.buckets], values, torch.get_num_threads())
        for bucket, rows in zip(self.buckets, values, strict=True):
            for member, row in zip(bucket.members, rows, strict=True):
                for name in member.group.rule.scalar_slots:
                    member.views[name][...] = row[name]
                if row["t"] in DOUBTS:
                    say_doubt(type(optimizer).__name__, member.group.rule, row)
            bucket.bump()  # a backward pass through old values must fail

    def release(self) -> None:
        """Give every parameter a step counter, and other numbers, of its own again; what someone has set stays."""
        for bucket in self.buckets:
            for member in bucket.members:
                for state in member.states:
                    state.update({name: t.clone() for name, t in member.shared.items() if state.get(name) is t})


def make_plan(optimizer: FusedStep, groups: list[Group]) -> Plan | None:
    """Return a plan whose kernels are built, or None if a tensor has moved meanwhile.

    Raises:
        CannotBuild: a kernel could not be built; nothing has been changed.
    """
    programs = programs_of(groups)
    kernels: dict[tuple[Any, ...], Kernel] = {}  # all of them first: where one fails, nothing has been changed
    for group, program in zip(groups, programs, strict=True):
        for dtype in {p.dtype for p in group.parameters if p.grad is not None}:
            key = (dtype, program.identity)
            kernels[key] = kernels.get(key) or Kernel(program, TYPES[dtype], bundled_openmp(torch.__file__))
    sorted_: dict[tuple[Any, ...], list[Member]] = {}
    for member in members_of(optimizer, groups, programs):
        sorted_.setdefault((member.parameters[0].dtype, member.program.identity), []).append(member)
    buckets = [_bucket(optimizer, kernels[key], members) for key, members in sorted_.items()]
    absent = [p for group in groups for p in group.parameters if p.grad is None]
    found = native()
    is_absent = found.absent(absent) if found else lambda: all(p.grad is None for p in absent)
    plan = Plan(optimizer.state, len(optimizer.state), groups, buckets, is_absent)
    return plan if plan.fits() else None


def programs_of(groups: list[Group]) -> list[Program]:
    """Return the program of each group.

    Raises:
        ArgumentError: the groups do not agree in what is summed over the whole model.
    """
    programs = [trace(group.rule) for group in groups]
    for group, program in zip(groups, programs, strict=True):
        if program.sums != programs[0].sums:
            raise refuse(
                "step",
                "param_groups",
                group.rule,
                "alike in what is summed over the whole model",
                "Clip all groups by the global norm, or none, and let the weights of all decay in the same way.",
            )
    return programs


def members_of(optimizer: FusedStep, groups: list[Group], programs: list[Program]) -> list[Member]:
    """Sort the parameters that have gradients by group, step count and type; make their state where there is none."""
    found: dict[tuple[Any, ...], Member] = {}
    for number, (group, program) in enumerate(zip(groups, programs, strict=True)):
        names = program.arrays[2:]
        news = [p for p in group.parameters if p.grad is not None]
        was_empty = {p for p in news if all(optimizer.state[p].get(optimizer.slots[n]) is None for n in names)}
        _start(optimizer, group, news, names)
        for p in news:
            state = optimizer.state[p]
            t = float(state["step"]) if optimizer.has_step else 1.0 if p in was_empty and names else 2.0
            member = found.setdefault((number, t, p.dtype), Member(group, program, t))
            member.parameters.append(p)
            member.states.append(state)
    return list(found.values())


def _start(optimizer: FusedStep, group: Group, parameters: list[Tensor], names: tuple[str, ...]) -> None:
    """Make what is missing in the state of some parameters, as torch would: on the first step they take."""
    states = [optimizer.state[p] for p in parameters]
    numbers = [optimizer.slots[name] for name in group.rule.scalar_slots]
    wanted = [*(optimizer.slots[name] for name in names), *numbers]
    missing = [i for i, state in enumerate(states) if any(state.get(name) is None for name in wanted)]
    for state in states:
        if optimizer.has_step and "step" not in state:
            is_wide = torch.get_default_dtype() is torch.float64
            state["step"] = torch.tensor(0.0, dtype=torch.float64 if is_wide else torch.float32)  # as torch has it
    if not missing:
        return
    start = group.rule.init(Vector(parameters[i].detach() for i in missing))
    news = start if not group.rule.is_global else _model_numbers(optimizer, group, numbers)
    for name in names:
        for i, value in zip(missing, start[name].leaves, strict=True):
            if states[i].get(optimizer.slots[name]) is None:
                states[i][optimizer.slots[name]] = value
    for name in group.rule.scalar_slots:
        for i in missing:
            states[i].setdefault(optimizer.slots[name], torch.tensor(float(news[name]), dtype=optimizer.number_type))


def _model_numbers(optimizer: FusedStep, group: Group, numbers: list[str]) -> dict[str, Any]:
    """Return the scalar slots of a rule for the whole model: what the group has, or a start from all parameters."""
    states = (optimizer.state[p] for p in group.parameters)
    older = next((state for state in states if all(name in state for name in numbers)), None)
    if older is not None:
        return {name: older[optimizer.slots[name]] for name in group.rule.scalar_slots}
    return group.rule.init(Vector(p.detach() for g in optimizer.param_groups for p in g["params"]))


def _bucket(optimizer: FusedStep, kernel: Kernel, members: list[Member]) -> Bucket:
    parameters = [p for member in members for p in member.parameters]
    sizes = [p.numel() for p in parameters]
    rows = [row for row, member in enumerate(members) for _ in member.parameters]
    batch = Batch(kernel, [member.program for member in members], sizes, rows)
    slots = [optimizer.slots[name] for name in kernel.program.arrays[2:]]
    states = [state for member in members for state in member.states]
    numbers = {name: optimizer.slots[name] for name in members[0].group.rule.scalar_slots}
    numbers |= {"step": "step"} if optimizer.has_step else {}
    shared = list(numbers.values())
    for member in members:
        member.shared = {name: member.states[0][name].clone() for name in shared}
        member.views = {ours: member.shared[theirs].numpy() for ours, theirs in numbers.items()}
        for state in member.states:
            state.update(member.shared)
    for column, name in enumerate(slots, 2):
        batch.pointers[:, column] = [state[name].data_ptr() for state in states]
    kept = [(name, [state[name] for state in states]) for name in (*shared, *slots)]
    found = native() if all(sizes) else None  # an empty tensor lies nowhere
    if found:
        ask = Gatherer(found, parameters, batch.pointers)
        return Bucket(batch, members, parameters, ask, ask.bump, states, kept)
    bump = partial(_increment_version, parameters)
    return Bucket(batch, members, parameters, addresses(parameters, batch.pointers), bump, states, kept)


def addresses(parameters: list[Tensor], pointers: Any) -> Callable[[], bool]:
    """Return what `Gatherer` is, in Python: it fills in where parameters and gradients are, if they are as they were."""
    sizes, dtype = [p.nbytes for p in parameters], parameters[0].dtype

    def ask() -> bool:
        gradients = [cast("Tensor", p.grad) for p in parameters]
        for tensors in (parameters, gradients):
            if not all(t.is_contiguous() for t in tensors) or [t.nbytes for t in tensors] != sizes:
                return False
            if any(t.dtype is not dtype or t.device.type != "cpu" for t in tensors):
                return False
        pointers[:, 0] = [p.data_ptr() for p in parameters]
        pointers[:, 1] = [g.data_ptr() for g in gradients]
        return True

    return ask


def _increment_version(tensors: list[Tensor]) -> None:
    try:
        torch.autograd.graph.increment_version(tensors)
    except (AttributeError, TypeError):  # torch before 2.6 takes one at a time
        for tensor in tensors:
            torch.autograd.graph.increment_version(tensor)
