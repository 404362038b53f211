"""Run one command to its end: bounded output, a time limit, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

KEPT_BYTES = 64 * 1024  # of each stream, its end
GRACE = 3.0  # seconds between the request to stop and the kill


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended.

    Attributes:
        exit_code: what the system reports: negative for the signal that killed it.
        timed_out: whether it was stopped at the time limit.
        stdout: the end of its output.
        stderr: the end of its error output.
    """

    exit_code: int
    timed_out: bool
    stdout: str
    stderr: str


def run(
    argv: Sequence[str], *, timeout: float | None, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Ended:
    """Run `argv` (never through a shell) and wait for it; whatever ends the wait also ends all it has started.

    The command leads a process group of its own, so that a script which starts data workers leaves none behind.

    Raises:
        OSError: it cannot be started.
    """
    with subprocess.Popen(  # noqa: S603 - running the user's command is what it is for
        list(argv),
        cwd=cwd,
        env=None if env is None else {**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        tails = (_Tail(process.stdout), _Tail(process.stderr))
        timed_out = False
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            _kill_group(process)
        except BaseException:  # Ctrl-C too
            _kill_group(process)
            raise
        finally:
            if not all(tail.has_ended(GRACE) for tail in tails):  # a child lives on and holds the pipe
                _kill_group(process)
                for tail in tails:
                    tail.has_ended(GRACE)
        stdout, stderr = (tail.text() for tail in tails)
        return Ended(exit_code=process.returncode, timed_out=timed_out, stdout=stdout, stderr=stderr)


class _Tail:
    """Reads a pipe to its end in a thread, so that the writer never waits; keeps the last bytes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._bytes = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed under us
            while chunk := os.read(self._pipe.fileno(), KEPT_BYTES):
                self._bytes += chunk
                del self._bytes[:-KEPT_BYTES]

    def has_ended(self, timeout: float) -> bool:
        """Wait for the end of the pipe."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def text(self) -> str:
        return bytes(self._bytes).decode("utf-8", errors="replace")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the command and all it started to stop, wait a moment, then kill what is left."""
    _signal_group(process, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        pass
    finally:  # a second Ctrl-C while waiting must not spare it
        _signal_group(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:  # Windows has no groups that can be signalled
            process.kill()


def ending(exit_code: int) -> str:
    """Say an exit code in words.

    >>> ending(3), ending(-9)
    ('exit code 3', 'signal 9 (SIGKILL); often the system was out of memory')
    """
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        name = f" ({signal.Signals(-exit_code).name})"
    except ValueError:
        name = ""
    hint = "; often the system was out of memory" if exit_code == -getattr(signal, "SIGKILL", 9) else ""
    return f"signal {-exit_code}{name}{hint}"


def last_lines(ended: Ended, *, count: int = 8) -> str:
    """Return the last lines of the error output, or else of the output, indented, for a message."""
    text = ended.stderr if ended.stderr.strip() else ended.stdout
    lines = [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
    if not lines:
        return "  (it printed nothing)"
    return "\n".join(f"  {line[:200]}" for line in lines)
