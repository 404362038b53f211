"""Write a file whole or not at all, and never from two processes."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from pathlib import Path
from typing import IO

from surefoot._errors import RunDirectoryError

log = logging.getLogger("surefoot")


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


def take_lock(lock: IO[str], path: Path) -> None:
    """Take the lock without waiting; the system gives it back when the process ends, however it ends."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415

            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            log.warning("%s: this file system has no locks (%s); let only one process write there.", path, error)
            return
        raise RunDirectoryError(
            f"the run directory {str(path)!r} is in use by another process. Wait for it, or choose another `run_dir`."
        ) from error
    with contextlib.suppress(OSError):
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
