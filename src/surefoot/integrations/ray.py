"""Ray: the trials of a search that do not wait for each other, on a cluster."""

from __future__ import annotations

import importlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from surefoot._checks import integer, number, refuse_type
from surefoot._errors import missing_extra
from surefoot.search._parallel import Piece, Task, Team, carry_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Ray:
    """Train pieces that do not wait for each other as tasks of a Ray cluster.

    Use it where one run fills a machine or an accelerator and more of them are there: at most two or three pieces can
    be trained at once, as a search mostly has to see one before it knows the next. On one machine `sf.Processes` does
    the same without a cluster. The answer is that of a search in one process, to the rounding of the machines.

    The job goes to the workers by Ray's own cloudpickle; modules of yours that it needs must be there, or be shipped by
    the `runtime_env` of `ray.init`, which you may call yourself before. Checkpoints go through the run directory: on
    more than one machine it must lie on storage that all of them share, under the same path. A worker or machine that
    dies costs its piece another try; then the piece counts as a failed trial. A search that is killed goes on from its
    run directory.

    Args:
        address: of the cluster, "auto" for the one that this machine belongs to; None begins one on this machine, or
            takes the one that `ray.init` has begun.
        cpus: processors that each piece asks for; above 0.
        gpus: accelerators that each piece asks for; at least 0.
        retries: how often a piece is tried again, at least 0.

    Raises:
        ArgumentError: a number is out of its range.
        ArgumentTypeError: `address` is no text.
        MissingExtraError: ray is not installed; when the search begins.

    Example:
        >>> Ray(address="auto", gpus=1)
        Ray(address='auto', cpus=1, gpus=1, retries=2)
    """

    address: str | None = None
    cpus: float = 1
    gpus: float = 0
    retries: int = 2

    def __post_init__(self) -> None:
        if self.address is not None and not isinstance(self.address, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type("Ray", "address", self.address, "a text or None", 'As in address="auto".')
        number("Ray", "cpus", self.cpus, above=0.0)
        number("Ray", "gpus", self.gpus, at_least=0.0)
        integer("Ray", "retries", self.retries, at_least=0)

    @property
    def needs_run_dir(self) -> bool:
        """Whether workers may be on other machines, so that checkpoints need a folder that all of them share."""
        return self.address is not None

    @contextmanager
    def team(self, job: Any) -> Generator[Team]:
        """Return workers for a job, for as long as the context lasts."""
        ray = _ray()
        is_ours = not ray.is_initialized()
        if is_ours:
            ray.init(
                address=self.address, log_to_driver=False, include_dashboard=False if self.address is None else None
            )
        try:
            yield _Tasks(ray, self, job)
        finally:
            if is_ours:
                ray.shutdown()


class _Tasks:
    """The tasks of one search."""

    def __init__(self, ray: Any, settings: Ray, job: Any) -> None:
        self._ray, self._job = ray, ray.put(job)
        options = {"num_cpus": settings.cpus, "num_gpus": settings.gpus, "max_retries": settings.retries}
        self._task = ray.remote(**options)(carry_out)
        self._tries = settings.retries + 1

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, list[Piece] | str]]:
        """Carry out all tasks at once, and yield each as it is done."""
        places = {self._task.remote(self._job, task): i for i, task in enumerate(tasks)}
        pending = list(places)
        try:
            while pending:
                (done,), pending = self._ray.wait(pending, num_returns=1)
                yield places[done], self._result(done)
        except BaseException:
            for reference in pending:
                self._ray.cancel(reference, force=True)
            raise

    def _result(self, reference: Any) -> list[Piece] | str:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:  # of the job's: raised here, as in one process
            raise error.cause from error
        except (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
        ) as error:
            return f"its worker died {self._tries} times: {type(error).__name__}"


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise missing_extra("ray", "ray") from error
