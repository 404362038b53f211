"""Snapshots of a run to go back to: in memory, or on disk, where each is checked before it is believed."""

from __future__ import annotations

import copy
import io
import logging
import os
import re
import zlib
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from surefoot._checks import integer, refuse, refuse_type
from surefoot._errors import RunDirectoryError, StateError

log = logging.getLogger("surefoot")

_NAME = re.compile(r"snapshot-(\d+)-([0-9a-f]{8})\.pt")


@runtime_checkable
class Stateful(Protocol):
    """What can be saved and brought back, as torch's modules and optimizers."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state_dict: Any) -> Any: ...


class Checkpointer:
    """Keep the last good states of a model and its optimizer, and bring one back.

    Give it to a guard: `DivergenceGuard(rewind=Checkpointer(model=model, optimizer=optimizer))`. It takes a snapshot
    when it is made, and then every `every` steps on which all is well. Whoever goes back may be told of the damage late:
    a snapshot counts as good only when it is `settle` steps old, and one that was gone back to in vain is dropped for
    the one before.

    Leave the learning rate's owner (what `drive` returns) out of it: it remembers what went wrong.

    Args:
        directory: keep the snapshots there, one file each, written whole or not at all; None keeps them in memory,
            which costs `keep + 1` times the size of the model and its optimizer's state.
        every: steps between two snapshots.
        keep: how many good ones are kept.
        settle: how old, in steps, a snapshot must be before it is believed.
        **objects: what is saved, by name: anything with `state_dict` and `load_state_dict`.

    Raises:
        ArgumentError: a value that is not allowed.
        ArgumentTypeError: an object that cannot be saved.
        RunDirectoryError: the folder cannot be written.

    Examples:
        >>> model = torch.nn.Linear(1, 1)
        >>> checkpointer = Checkpointer(model=model)
        >>> with torch.no_grad():
        ...     _ = model.weight.fill_(float("nan"))
        >>> checkpointer.restore(step=20), bool(model.weight.isfinite())
        (0, True)
    """

    def __init__(
        self,
        *,
        directory: str | Path | None = None,
        every: int = 100,
        keep: int = 2,
        settle: int = 10,
        **objects: Stateful,
    ) -> None:
        where = "Checkpointer"
        if not objects:
            raise refuse(
                where, "objects", objects, "at least one", "As in `Checkpointer(model=model, optimizer=optimizer)`."
            )
        for name, value in objects.items():
            if not isinstance(value, Stateful):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise refuse_type(where, name, value, "something with state_dict and load_state_dict")
        self.every = integer(where, "every", every, at_least=1)
        self.keep = integer(where, "keep", keep, at_least=1)
        self.settle = integer(where, "settle", settle, at_least=0)
        self.objects = objects
        self.directory = None if directory is None else _made(Path(directory))
        self._kept: deque[tuple[int, Any]] = deque()  # oldest first: the step, and a state or a file
        self._returned_to: int | None = None  # the snapshot of the last restore, while no newer one was taken
        self._take(0)

    @property
    def steps(self) -> list[int]:
        """The steps of the snapshots that are kept, oldest first."""
        return [step for step, _ in self._kept]

    def offer(self, step: int) -> None:
        """Hear that all is well at a step; take a snapshot if the last is old enough."""
        if step - self._kept[-1][0] >= self.every:
            self._take(step)

    def restore(self, step: int) -> int:
        """Bring the last good snapshot back; return its step.

        Args:
            step: where trouble was noticed.

        Raises:
            StateError: no snapshot can be read any more; nothing has been changed.
        """
        while len(self._kept) > 1 and (
            step - self._kept[-1][0] < self.settle or self._kept[-1][0] == self._returned_to
        ):
            self._drop(self._kept.pop())
        while self._kept:
            found, kept = self._kept[-1]
            try:
                state = _read(kept)
            except (OSError, RuntimeError, ValueError) as error:
                log.warning("the snapshot of step %d is damaged and left out: %s", found, error)
                self._drop(self._kept.pop())
                continue
            for name, value in self.objects.items():
                _load(value, copy.deepcopy(state[name]))
            self._returned_to = found
            return found
        raise StateError(
            "`Checkpointer.restore`: no snapshot can be read, in "
            f"{str(self.directory)!r}. Has somebody cleared the folder? Start the run from its own checkpoint."
        )

    def _take(self, step: int) -> None:
        state = {name: copy.deepcopy(dict(value.state_dict())) for name, value in self.objects.items()}
        kept = state if self.directory is None else _write(self.directory, step, state)
        if kept is None:
            return
        self._kept.append((step, kept))
        while len(self._kept) > self.keep + 1:  # the newest may be too young to be believed
            self._drop(self._kept.popleft())

    @staticmethod
    def _drop(snapshot: tuple[int, Any]) -> None:
        if isinstance(snapshot[1], Path):
            snapshot[1].unlink(missing_ok=True)


def _load(value: Any, state: Any) -> None:
    """Load a state; an optimizer keeps the tensors that hold its rates, to which compiled steps are bound."""
    groups = getattr(value, "param_groups", None) or ()
    rates = [group["lr"] for group in groups]
    value.load_state_dict(state)
    for group, rate in zip(getattr(value, "param_groups", ()), rates, strict=True):
        group["lr"] = rate  # its owner writes the value, which has gone on


def _made(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.glob("snapshot-*.pt"):  # of a run that was killed; its state is not this run's
            old.unlink()
    except OSError as error:
        raise RunDirectoryError(
            f"cannot write to {str(directory)!r}: {error.strerror or error}. Choose another `directory`."
        ) from error
    return directory


def _write(directory: Path, step: int, state: dict[str, Any]) -> Path | None:
    """Write a snapshot with its checksum in its name; a full disk costs the snapshot, never the run."""
    buffer = io.BytesIO()
    torch.save(state, buffer)  # pyright: ignore[reportUnknownMemberType]
    data = buffer.getvalue()
    path = directory / f"snapshot-{step:08d}-{zlib.crc32(data):08x}.pt"
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if step == 0:
            raise RunDirectoryError(
                f"cannot write to {str(directory)!r}: {error.strerror or error}. Choose another `directory`."
            ) from error
        log.warning("no snapshot at step %d: %s", step, error)
        return None
    return path


def _read(kept: Any) -> dict[str, Any]:
    if not isinstance(kept, Path):
        return kept
    data = kept.read_bytes()
    match = _NAME.fullmatch(kept.name)
    if match is None or zlib.crc32(data) != int(match[2], 16):
        raise ValueError(f"{kept.name} is not what was written")
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
