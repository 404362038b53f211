"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from surefoot._errors import RunDirectoryError


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` through a temporary file beside it, so that no reader ever sees half a file.

    Raises:
        RunDirectoryError: the folder is missing, read-only or full; an older file at `path` is left as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RunDirectoryError(
            f"cannot write {str(path)!r}: {error.strerror or error}. Choose a folder that exists, is writable and has "
            "space left."
        ) from error
