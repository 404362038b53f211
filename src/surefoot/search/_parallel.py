"""Pieces that do not wait for each other, trained at once: in processes of this machine, or wherever an executor can.

The moves of a search say which pieces they will ask for in any case (`Lab.prefetch`). A worker trains a piece with a lab
of its own, on the same job, seed and schedule, and hands back its record; the search then finds it among what is known,
as after a resume. So the answer, the costs and the log are those of a search that trains one piece after another.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from surefoot._checks import integer, one_of, refuse, refuse_type
from surefoot._errors import JobError
from surefoot.schedules import Schedule

LOADED = "_surefoot_target_"  # begins the names of modules that the command line has loaded from a file
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
Piece = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A piece that will be asked for.

    Attributes:
        x: log2 of the rate.
        short: the steps of a whole short run; or else
        to_step: where the real run shall be trained to, and
        anneal: the steps of a fork from there, None for none.
    """

    x: float
    short: int | None = None
    to_step: int = 0
    anneal: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A piece with all that a worker needs beside the job."""

    want: Want
    rung: str
    plan: Schedule
    seed: int
    initial_loss: float
    known: tuple[Piece, ...]  # of the same rate
    checkpoints: Path


class Team(Protocol):
    """Workers that hold a job."""

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, list[Piece] | str]]:
        """Carry out all tasks; yield each as it is done, by its place: its pieces, or in words why there are none."""
        ...


@runtime_checkable
class Executor(Protocol):
    """Where pieces are trained that do not wait for each other."""

    def team(self, job: Any) -> AbstractContextManager[Team]:
        """Return workers for a job, for as long as the context lasts."""
        ...


@dataclass(slots=True)
class Shelf:
    """What a lab needs of a run directory, for a worker: what is known, checkpoints, and what has been added."""

    checkpoints: Path
    pieces: list[Piece]
    added: list[Piece] = field(default_factory=list[Piece])

    def add(self, piece: Mapping[str, Any]) -> None:
        """Remember a piece, to be handed back."""
        self.added.append(dict(piece))

    def keep(self, name: str, save: Callable[[Path], None]) -> bool:
        """Write a checkpoint; without it the steps will be trained again."""
        temporary = self.checkpoints / f"{name}.{os.getpid()}.tmp"
        try:
            save(temporary)
            temporary.replace(self.checkpoints / name)
        except Exception:  # noqa: BLE001 - whatever a job's save raises
            temporary.unlink(missing_ok=True)
            return False
        return True

    def kept(self, name: str) -> Path | None:
        """Return the path of a checkpoint, or None."""
        path = self.checkpoints / name
        return path if path.is_file() else None

    def forget(self, name: str) -> None:
        """Leave it: the search decides what is no longer needed."""

    def forget_all_but(self, name: str | None) -> None:
        """Leave them."""


def carry_out(job: Any, task: Task) -> list[Piece]:
    """Train a piece, in a worker, and return its records."""
    from surefoot.search._lab import Lab  # noqa: PLC0415 - a lab knows of teams

    shelf, want = Shelf(task.checkpoints, list(task.known)), task.want
    lab = Lab(job, task.plan, seed=task.seed, allowed=math.inf, expected=1.0, directory=shelf)
    lab.rung, lab.initial_loss = task.rung, task.initial_loss
    if want.short is not None:
        lab.short(want.x, want.short)
        return shelf.added
    for step in sorted(int(piece["to_step"]) for piece in task.known if " to " in str(piece["key"])):
        lab.trunk(want.x, step)
    point = lab.trunk(want.x, want.to_step)
    if want.anneal is not None and not point.is_diverged:
        lab.fork(want.x, want.anneal)
    return shelf.added


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Train pieces that do not wait for each other in processes of this machine.

    Use it where one training run leaves processors or accelerators idle: at most two or three pieces can be trained at
    once, as a search mostly has to see one before it knows the next. Do not use it for runs of seconds: a process takes
    as long to import a framework. The answer is that of a search in one process, bit for bit if a worker has as many
    threads as this process; on a GPU to the rounding that the framework has from run to run.

    The job goes to the workers by pickle, or by cloudpickle where that is installed. Where a worker dies, what was being
    trained is trained again, alone; a piece whose worker dies then, too, counts as a failed trial after `retries` more.

    Args:
        workers: processes, at least 1.
        threads: of each worker, set before it imports anything; None leaves them as they are.
        retries: how often a piece whose worker has died alone is tried again; at least 0.

    Raises:
        ArgumentError: a number is out of its range.

    Example:
        >>> Processes(workers=2, threads=1)
        Processes(workers=2, threads=1, retries=2)
    """

    workers: int = 2
    threads: int | None = None
    retries: int = 2

    def __post_init__(self) -> None:
        integer("Processes", "workers", self.workers, at_least=1)
        if self.threads is not None:
            integer("Processes", "threads", self.threads, at_least=1)
        integer("Processes", "retries", self.retries, at_least=0)

    @contextmanager
    def team(self, job: Any) -> Generator[Team]:
        """Return workers for a job, for as long as the context lasts."""
        team = _Pool(self, pickled(job, "Processes"), _loaded_files())
        try:
            yield team
        finally:
            team.close()


class _Pool:
    """The workers of one search; begun when they are first needed, and again when one has died."""

    def __init__(self, settings: Processes, job: bytes, files: Mapping[str, str]) -> None:
        self._settings, self._job, self._files = settings, job, files
        self._pool: ProcessPoolExecutor | None = None
        self._children: set[Any] = set()

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, list[Piece] | str]]:
        """Carry out all tasks at once, and alone those whose pool has broken: which of them broke it cannot be known."""
        futures = {future: i for i, task in enumerate(tasks) if (future := self._submit(task)) is not None}
        left = set(range(len(tasks)))
        for future in as_completed(futures):
            if (pieces := self._result(future)) is not None:
                left.remove(futures[future])
                yield futures[future], pieces
        for i in sorted(left):
            yield i, self._alone(tasks[i])

    def _alone(self, task: Task) -> list[Piece] | str:
        tries = self._settings.retries + 1
        for _ in range(tries):
            if (pieces := self._result(self._submit(task))) is not None:
                return pieces
        return f"its process died {tries} times; often the system is out of memory"

    def _submit(self, task: Task) -> Future[list[Piece]] | None:
        try:
            return self._workers().submit(_work, task)
        except BrokenProcessPool:
            self.close()
            return None

    def _result(self, future: Future[list[Piece]] | None) -> list[Piece] | None:
        """Return what came back, or None if a worker has died; an error of the job's is raised here, as in one process."""
        if future is None:
            return None
        try:
            return future.result()
        except BrokenProcessPool:
            self.close()
            return None
        except BaseException:
            self.close()
            raise

    def _workers(self) -> ProcessPoolExecutor:
        if self._pool is None:
            settings = self._settings
            before = set(multiprocessing.active_children())
            with _threads(settings.threads):
                self._pool = ProcessPoolExecutor(
                    settings.workers,
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=_begin,
                    initargs=(self._job, self._files),
                )
                # All begin now, with the number of threads that is set.
                said = [future.result() for future in [self._pool.submit(_ready) for _ in range(settings.workers)]]
            self._children = set(multiprocessing.active_children()) - before
            if problem := next(filter(None, said), ""):
                self.close()
                raise JobError(
                    f"the job reached another process, and could not be unpacked there: {problem}. Define its model and "
                    "loss in a module that can be imported."
                )
        return self._pool

    def close(self) -> None:
        """End the workers, also in the middle of a piece."""
        pool, self._pool = self._pool, None
        if pool is not None:
            for child in self._children:
                child.terminate()
            pool.shutdown(wait=True, cancel_futures=True)


_job: Any = None
_problem = ""


def _loaded_files() -> dict[str, str]:
    """Return the modules that are known by their file only, for workers to load from there."""
    found = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if name.startswith(LOADED)}
    return {name: file for name, file in found.items() if file}


def _load(name: str, file: str) -> None:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def _begin(job: bytes, files: Mapping[str, str]) -> None:
    """Unpack the job, once a worker. Ctrl-C is for the process that searches, which ends the workers."""
    global _job, _problem  # noqa: PLW0603 - a worker serves one job
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        for name, file in files.items():
            _load(name, file)
        _job = pickle.loads(job)  # noqa: S301 - made by the process that has begun this one
    except Exception as error:  # noqa: BLE001 - whatever a user's module raises
        _problem = f"{type(error).__name__}: {error}"


def _end_with_parent() -> None:
    """End when the process that searches has been killed: nobody would ask for anything any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _ready() -> str:
    """Return what has kept this worker from unpacking the job, if anything has."""
    return _problem


def _work(task: Task) -> list[Piece]:
    return carry_out(_job, task)


@contextmanager
def _threads(count: int | None) -> Generator[None]:
    """Set the number of threads for processes that begin within."""
    before = {name: os.environ.get(name) for name in THREADS}
    try:
        if count is not None:
            os.environ.update(dict.fromkeys(THREADS, str(count)))
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def pickled(job: Any, where: str) -> bytes:
    """Return a job as bytes.

    Raises:
        ArgumentTypeError: it cannot be pickled.
    """
    try:
        return pickle.dumps(job)
    except Exception as error:  # noqa: BLE001 - whatever a user's object raises
        try:
            dumps: Any = importlib.import_module("cloudpickle").dumps  # optional
        except ImportError:
            cure = (
                f"Pickle says: {error}. Define its model and loss at the top of a module and not as a lambda or within a "
                "function, or run: pip install cloudpickle"
            )
            raise refuse_type(where, "job", getattr(job, "name", job), "a job that can be pickled", cure) from error
        return dumps(job)


def check_executor(where: str, executor: object) -> Executor | None:
    """Return an executor by its name or as it is; None trains one piece after another.

    Raises:
        ArgumentError: an unknown name.
        ArgumentTypeError: it is no executor.
    """
    if isinstance(executor, str):
        name = one_of(where, "executor", executor, ("serial", "processes"))
        return Processes() if name == "processes" else None
    if executor is None:
        raise refuse(where, "executor", executor, '"serial", "processes" or an executor')
    if not isinstance(executor, Executor):
        cure = "As in `executor=sf.Processes(workers=2)`."
        raise refuse_type(where, "executor", executor, '"serial", "processes" or an executor', cure)
    return executor


@contextmanager
def scratch() -> Generator[Path]:
    """Return a folder for checkpoints, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="surefoot-") as folder:
        yield Path(folder)
