"""Compile a kernel once, keep it in the user's cache folder by content, and load it safely."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path

from surefoot._errors import SurefootWarning

log = logging.getLogger("surefoot")

FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    *(("-mprefer-vector-width=512",) if platform.machine() in ("x86_64", "AMD64") else ()),
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
    "-fopenmp",
)


_DIGEST = hashlib.sha256().digest_size


class CannotBuild(Exception):  # noqa: N818 - a reason for the slower path, not an error of the user's
    """There is no compiler, or no folder that only this user can write."""


def compiler() -> str | None:
    """Return the C++ compiler: $CXX, g++, clang++, or None."""
    return next(
        (found for name in (os.environ.get("CXX"), "g++", "clang++") if name and (found := shutil.which(name))), None
    )


def cache_folder() -> Path:
    """Return the folder of compiled kernels, made if it is missing; refuse one that others can write.

    Raises:
        CannotBuild: there is none, or it is not safe to load code from it.
    """
    base = os.environ.get("SUREFOOT_CACHE") or os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "surefoot" / "kernels"
    except RuntimeError as error:
        raise CannotBuild("there is no home folder for the cache: set SUREFOOT_CACHE") from error
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.stat()
    except OSError as error:
        raise CannotBuild(f"the cache folder {str(folder)!r} cannot be made: {error.strerror}") from error
    if hasattr(os, "getuid") and (info.st_uid != os.getuid() or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        raise CannotBuild(f"the cache folder {str(folder)!r} can be written by others: run `chmod 700` on it")
    return folder


@lru_cache(maxsize=256)
def load(source: str, openmp: str | None = None) -> ctypes.CDLL:
    """Return the compiled library of a C++ text, from the cache or newly built.

    Args:
        source: the text.
        openmp: path of the OpenMP runtime to link, so that the process keeps to one; None is the compiler's own.

    Raises:
        CannotBuild: no compiler, no safe cache folder, or the compiler failed.
    """
    cxx = compiler()
    if cxx is None:
        raise CannotBuild("there is no C++ compiler: install g++ or clang++, or set CXX")
    folder = cache_folder()
    key = "\0".join((source, cxx, *FLAGS, openmp or "", platform.machine(), _processor()))
    target = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.so"
    try:
        if not _is_whole(target):
            _compile(cxx, source, target, openmp)
        info = target.stat()
    except OSError as error:
        raise CannotBuild(f"the cache folder {str(folder)!r} cannot be used: {error.strerror}") from error
    if hasattr(os, "getuid") and (info.st_uid != os.getuid() or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        raise CannotBuild(f"{str(target)!r} can be written by others: remove it")
    try:
        return ctypes.CDLL(str(target))
    except OSError as error:
        raise CannotBuild(f"the kernel cannot be loaded: {error}") from error


def _is_whole(target: Path) -> bool:
    """Whether a library is there and ends in the digest of what is before: loading a torn one can kill the process."""
    try:
        content = target.read_bytes()
    except FileNotFoundError:
        return False
    return hashlib.sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]


def _compile(cxx: str, source: str, target: Path, openmp: str | None) -> None:
    """Build in a folder of its own and rename: processes that start at once each build, and the last rename wins."""
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        text, built = Path(work) / "kernel.cpp", Path(work) / "kernel.so"
        text.write_text(source, encoding="utf-8")
        flags = list(FLAGS)
        command = [cxx, *flags, str(text), "-o", str(built)]
        if openmp is not None:  # compile with OpenMP, but link the runtime that the host has loaded
            objects = Path(work) / "kernel.o"
            compile_flags = [f for f in flags if f != "-shared"]
            _run([cxx, *compile_flags, "-c", str(text), "-o", str(objects)])
            command = [cxx, "-shared", str(objects), openmp, f"-Wl,-rpath,{Path(openmp).parent}", "-o", str(built)]
        _run(command)
        content = built.read_bytes()
        built.write_bytes(content + hashlib.sha256(content).digest())
        built.chmod(0o700)
        built.replace(target)
    log.debug("built %s", target.name)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 - our own arguments
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f"the compiler did not run: {error}") from error
    if done.returncode:
        raise CannotBuild(f"the compiler failed: {done.stderr.strip()[-500:]}")


@lru_cache(maxsize=1)
def _processor() -> str:
    """Return what tells processors apart: a cache on a shared disk must not serve another one's code."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    lines = [line for line in info.splitlines() if line.startswith(("model name", "flags", "Features"))]
    return "\n".join(dict.fromkeys(lines))


def bundled_openmp(package: str) -> str | None:
    """Return the OpenMP runtime that a package brings along: a second one in the process would fight for the cores.

    Args:
        package: path of the package's `__init__.py`.
    """
    return next((str(f) for f in sorted((Path(package).parent / "lib").glob("libgomp*"))), None)


@lru_cache(maxsize=16)
def say_slow(instead: str, reason: str, inside: tuple[str, ...]) -> None:
    """Warn, once for each reason, that a slower step is taken; at the line of the user's that takes the step.

    Args:
        instead: what is done.
        reason: why.
        inside: packages whose lines are not the user's.
    """
    warn_outside(f"surefoot {instead}, which is slower, because {reason}", inside)


def warn_outside(text: str, inside: tuple[str, ...]) -> None:
    """Warn at the first line that is outside of some packages."""
    frame, level = sys._getframe(), 1  # noqa: SLF001 - the only way to know whose line it is  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in inside:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, SurefootWarning, stacklevel=level)
