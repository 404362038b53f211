"""One run's folder: identity, an append-only log, checkpoints, and a lock."""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from surefoot._errors import RunDirectoryError
from surefoot.run._files import take_lock, write_atomically

log = logging.getLogger("surefoot")

VERSION = 1


class RunDirectory:
    """The folder of one search. Opening it takes its lock; use it as a context manager.

    Each finished piece of work is appended to `pieces.jsonl`, after the checkpoint that it leaves behind, if any: so
    a search that is killed at any moment finds everything it needs to go on from the last piece in the log. While it
    runs there is one checkpoint for each real run that may still be continued; when it is complete, all are removed but
    the one at the answer's rate, from which `Found.train` can go on.

    Args:
        path: the folder; made if it is missing.
        identity: plain data that must be the same for a search that resumes here.

    Raises:
        RunDirectoryError: the folder cannot be made or written, belongs to another search, or is in use by another
            process.
    """

    def __init__(self, path: str | Path, identity: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._warned = False
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.checkpoints.mkdir(exist_ok=True)
            self._lock = (self.path / "lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise RunDirectoryError(
                f"cannot write to the run directory {str(self.path)!r}: {error.strerror or error}. "
                "Choose another with `run_dir`."
            ) from error
        try:
            take_lock(self._lock, self.path)
            self._identify(json.loads(json.dumps(_plain(identity))))
            self.pieces: list[dict[str, Any]] = self._read()
            self._log: IO[str] = (self.path / "pieces.jsonl").open("a", encoding="utf-8")
        except BaseException as error:
            self._lock.close()
            if isinstance(error, OSError) and not isinstance(error, RunDirectoryError):
                raise RunDirectoryError(
                    f"cannot use the run directory {str(self.path)!r}: {error.strerror or error}. "
                    "Choose another with `run_dir`."
                ) from error
            raise

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._log.close()
        self._lock.close()

    def add(self, piece: Mapping[str, Any]) -> None:
        """Append one finished piece of work; a full disk costs the record, said once, never the search."""
        try:
            self._log.write(json.dumps(_plain(piece), allow_nan=False) + "\n")
            self._log.flush()
        except OSError as error:
            self._say(error)

    def keep(self, name: str, save: Callable[[Path], None]) -> bool:
        """Write a checkpoint by `save(path)` to a temporary file and rename it; a full disk costs the checkpoint.

        Returns whether it was written.
        """
        final = self.checkpoints / name
        temporary = final.with_suffix(".tmp")
        try:
            save(temporary)
            temporary.replace(final)
        except Exception as error:  # noqa: BLE001 - whatever a job's save raises, the search itself can go on
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            self._say(error)
            return False
        return True

    def kept(self, name: str) -> Path | None:
        """Return the path of a checkpoint, or None."""
        path = self.checkpoints / name
        return path if path.is_file() else None

    def forget(self, name: str) -> None:
        """Remove a checkpoint that nothing will go on from."""
        with contextlib.suppress(OSError):
            (self.checkpoints / name).unlink(missing_ok=True)

    def forget_all_but(self, name: str | None) -> None:
        """Remove every checkpoint, and what a killed process left of one, but the one of this name."""
        with contextlib.suppress(OSError):
            for path in self.checkpoints.iterdir():
                if path.name != name and path.is_file():
                    self.forget(path.name)

    def _say(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "cannot write to the run directory %s: %s. The search goes on; what is not written there would be "
                "trained again after an interruption.",
                self.path,
                error,
            )

    def _identify(self, identity: dict[str, Any]) -> None:
        file = self.path / "run.json"
        if not file.exists():
            write_atomically(
                file, json.dumps({"format": "surefoot.run", "version": VERSION, **identity}, indent=1) + "\n"
            )
            return
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunDirectoryError(
                f"{str(file)!r} is not a run of surefoot: {error}. Choose another `run_dir`."
            ) from error
        if not isinstance(known, dict):
            raise RunDirectoryError(f"{str(file)!r} is not a run of surefoot. Choose another `run_dir`.")
        old, new = _flat(cast("dict[str, Any]", known)), _flat(identity)
        for key in [*new, *(k for k in old if k.partition(".")[0] in identity)]:
            if old.get(key) != new.get(key):
                raise RunDirectoryError(
                    f"the run directory {str(self.path)!r} belongs to another search: its {key} is {_short(old.get(key))}, "
                    f"yours is {_short(new.get(key))}. Choose another `run_dir`, or repeat the search with its settings to resume it."
                )

    def _read(self) -> list[dict[str, Any]]:
        file = self.path / "pieces.jsonl"
        if not file.exists():
            return []
        raw = file.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):  # a process was killed while it wrote: drop its torn last line
            with file.open("r+b") as stream:
                stream.truncate(len(whole))
        pieces: list[dict[str, Any]] = []
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                pieces.append(_piece(line))
            except (ValueError, KeyError) as error:
                raise RunDirectoryError(
                    f"{str(file)!r}, line {number}, is damaged: {error}. Remove this line to have its piece trained again, "
                    "or choose another `run_dir`."
                ) from error
        return pieces


def _piece(line: bytes) -> dict[str, Any]:
    piece = _revive(json.loads(line))
    if not isinstance(piece, dict) or "key" not in piece:
        raise ValueError("it is no piece of work")
    return cast("dict[str, Any]", piece)


_STRANGE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _plain(value: Any) -> Any:
    """Return JSON-ready data: NaN and infinity as {"float": "nan"}, tuples as lists."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in cast("list[Any]", value)]
    return value


def _revive(value: Any) -> Any:
    if isinstance(value, dict):
        known = cast("dict[str, Any]", value)
        return _STRANGE[known["float"]] if list(known) == ["float"] else {k: _revive(v) for k, v in known.items()}
    if isinstance(value, list):
        return [_revive(v) for v in cast("list[Any]", value)]
    return value


def _flat(value: Mapping[str, Any], under: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted names, so that a difference can be named."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flat(cast("Mapping[str, Any]", inner), f"{under}{key}.")
        else:
            flat[f"{under}{key}"] = inner
    return flat


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
