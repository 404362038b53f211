"""Models of a job: made anew for every trial, copied in the middle of a run, saved and compared."""

from __future__ import annotations

import copy
import hashlib
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from torch.nn.parameter import is_lazy

import torch
from surefoot._checks import refuse, refuse_type
from surefoot._errors import JobError, SurefootWarning
from surefoot.torch._random import borrowed, seeded
from torch import Tensor, nn

_ANEW = "Build the model inside the function, or pass the module itself: then copies of it are trained."


class Models:
    """Where a job's models come from: a function that returns a new one, or a module of which copies are trained."""

    def __init__(self, source: Callable[[], nn.Module] | nn.Module, device: torch.device) -> None:
        self._source, self._device = source, device
        self._given: dict[int, weakref.ref[nn.Parameter]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out which parameters have been seen: in another process they are others."""
        return {**self.__dict__, "_given": {}}

    def first(self) -> nn.Module:
        """Return a model, after a look at two of them: they must be independent, and the same for the same seed."""
        with borrowed(self._device):
            one, two = self.new(0), self.new(0)
        shared = _shared(one, two)
        if shared:
            raise refuse("TorchJob", "model", self._source, _anew(shared), _ANEW)
        if isinstance(self._source, nn.Module):
            shared = _shared(self._source, one)
            if shared:
                cure = "Its __deepcopy__ keeps them. Pass a function that builds the model instead."
                raise refuse(
                    "TorchJob", "model", type(one).__name__, f"a module whose copies have a {shared} of their own", cure
                )
        if fingerprint(one) != fingerprint(two):
            warnings.warn(
                "`TorchJob(model=...)` built two models with different weights under the same seed, so no two searches "
                "will be the same. Draw initial weights from torch's, NumPy's or Python's global generators.",
                SurefootWarning,
                stacklevel=3,
            )
        return one

    def new(self, seed: int) -> nn.Module:
        """Seed the global generators, which the caller has borrowed, and return a new model on the device."""
        seeded(seed, self._device)
        model = self._made().to(self._device)
        self._check(model)
        return model

    def twin(self, model: nn.Module, seed: int) -> nn.Module:
        """Return an independent copy; a model that deepcopy cannot copy (a lock, a kept activation) is built anew.

        Raises:
            JobError: if neither way gives an equal, independent model.
        """
        try:
            twin = copy.deepcopy(model)
            shared = _shared(model, twin)
            why = f"its copy keeps its {shared}" if shared else ""
        except Exception as error:  # noqa: BLE001 - whatever the module's parts raise
            twin, why = None, f"deepcopy says: {error}"
        if twin is not None and not why:
            return twin
        twin = self.new(seed)
        try:
            restore(twin, state_of(model))
        except Exception as error:
            raise _not_forked(why, f"the state of one does not fit another ({error})") from error
        for other, mine in zip(model.modules(), twin.modules(), strict=False):
            mine.training = other.training
        missing = _difference(model, twin)
        if missing:
            raise _not_forked(why, f"{missing} is not in its state_dict")
        return twin

    def _made(self) -> nn.Module:
        if isinstance(self._source, nn.Module):
            try:
                return copy.deepcopy(self._source)
            except Exception as error:
                kind = type(self._source).__name__
                cure = "Pass a function that builds it instead."
                raise refuse_type("TorchJob", "model", kind, f"a module that can be copied ({error})", cure) from error
        model = self._source()
        if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance] - users have no type checker
            raise refuse_type("TorchJob", "model", model, "a function that returns an nn.Module")
        return model

    def _check(self, model: nn.Module) -> None:
        kind = type(model).__name__
        trained = [p for p in model.parameters() if p.requires_grad]
        if not trained:
            raise refuse("TorchJob", "model", kind, "a module with at least one trainable parameter")
        if any(is_lazy(p) for p in model.parameters()):
            cure = "Run one batch through it inside the function that builds it."
            raise refuse("TorchJob", "model", kind, "a module whose lazy layers know their sizes", cure)
        # A weak reference that is alive proves that the parameter is the one seen before, and not a new one at its id.
        if any((seen := self._given.get(id(p))) is not None and seen() is p for p in trained):
            raise refuse("TorchJob", "model", self._source, _anew("parameter"), _ANEW)
        alive = {key: seen for key, seen in self._given.items() if seen() is not None}
        self._given = alive | {id(p): weakref.ref(p) for p in trained}


def state_of(model: nn.Module) -> dict[str, Any]:
    """Return everything that training may have changed: the state_dict, and the buffers that it leaves out."""
    kept = model.state_dict()
    return {"kept": kept, "buffers": {name: b for name, b in model.named_buffers() if name not in kept}}


def restore(model: nn.Module, state: dict[str, Any]) -> None:
    """Write what `state_of` returned into a model of the same make."""
    model.load_state_dict(state["kept"])
    buffers = dict(model.named_buffers())
    with torch.no_grad():
        for name, value in state["buffers"].items():
            buffers[name].copy_(value)


@contextmanager
def judging(model: nn.Module) -> Generator[None]:
    """Put a model into evaluation mode; afterwards every part is back in its own."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def fingerprint(model: nn.Module) -> str:
    """Return a short hash of names, shapes and (roughly) weights: enough to tell two jobs apart."""
    parts = [f"{n}:{tuple(p.shape)}:{float(p.detach().double().abs().sum()):.6e}" for n, p in model.named_parameters()]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _shared(one: nn.Module, two: nn.Module) -> str:
    """Return what a training of one would change in the other: "parameter", "running statistic", or ""."""
    for kind, of in (("parameter", _trained), ("running statistic", _running)):
        memory = {_address(t) for t in of(one)} - {0}
        if any(_address(t) in memory for t in of(two)):
            return kind
    return ""


def _trained(model: nn.Module) -> list[Tensor]:
    return [p for p in model.parameters() if p.requires_grad]


def _running(model: nn.Module) -> list[Tensor]:
    return [b for name, b in model.named_buffers() if name.rpartition(".")[2].startswith("running_")]


def _address(tensor: Tensor) -> int:
    """Return where the tensor's memory begins; 0 if it has none."""
    return tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided else 0


def _difference(one: nn.Module, two: nn.Module) -> str:
    """Return the name of the first tensor in which two models differ, or ""."""
    others = dict(_tensors(two))
    for name, tensor in _tensors(one):
        other = others.get(name)
        if other is None or tensor.shape != other.shape or not bool(((tensor == other) | (tensor != tensor)).all()):  # noqa: PLR0124 - NaN
            return name
    return ""


def _anew(shared: str) -> str:
    return f"a function that returns a new module at each call; it returned a {shared} that an earlier one has, too"


def _not_forked(why: str, then: str) -> JobError:
    return JobError(
        f"a run of this model cannot be copied in the middle: {why}; and of a model that is built anew, {then}. Give the "
        "model a __deepcopy__ that works, or use surefoot.FunctionJob, which needs no copies."
    )
