"""From what was typed to a job: a bundled one, one in a file, or a command."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from surefoot._errors import JobError, SurefootError

if TYPE_CHECKING:
    from types import ModuleType

    from surefoot.search import Job

BUNDLED = ("digits", "diabetes", "chars")
_ONLY_COMMANDS = ("metric", "goal", "timeout")
_TRAIN = {"learning_rate", "steps", "seed"}


def job_of(ctx: click.Context, options: dict[str, Any], command: list[str] | None) -> Job:
    """Return the job that the user means.

    Raises:
        click.UsageError: the words and options do not fit together.
        JobError: a file cannot be loaded, or holds no job.
    """
    target: str | None = options["target"]
    if command is not None:
        return _command_job(ctx, options, command)
    for name in _ONLY_COMMANDS:
        if options[name] is not None:
            raise click.UsageError(f"--{name} is for a command after `--`; a job has its own.", ctx)
    if target is None:
        raise click.UsageError(
            f"Name a bundled job ({', '.join(BUNDLED)}), a file's job (train.py:job), or a command after `--`.", ctx
        )
    if target in BUNDLED:
        return _bundled_job(target, options)
    path, _, attribute = target.rpartition(":") if ".py:" in target else (target, "", "job")
    if path.endswith(".py"):
        return _file_job(ctx, Path(path), attribute, options)
    raise click.UsageError(_unknown(target), ctx)


def _command_job(ctx: click.Context, options: dict[str, Any], command: list[str]) -> Job:
    if options["target"] is not None:
        said = f"Both a TARGET ({options['target']}) and a command after `--`: there can only be one of them."
        raise click.UsageError(said, ctx)
    if options["optimizer"] is not None:
        raise click.UsageError("--optimizer is for bundled jobs; a command has its own optimizer.", ctx)
    if options["steps"] is None:
        raise click.UsageError("A command needs --steps N, the number of steps of its real run.", ctx)
    from surefoot.search import CommandJob  # noqa: PLC0415 - not for --help

    given = {
        name: options[name] for name in ("metric", "goal", "timeout", "learning_rate") if options[name] is not None
    }
    return CommandJob(command, total_steps=options["steps"], **given)


def _bundled_job(name: str, options: dict[str, Any]) -> Job:
    bundled = importlib.import_module("surefoot.torch.bundled")
    importlib.import_module("torch").set_num_threads(1)  # they are so small that threads slow them down
    return bundled.BUNDLED[name](optimizer=options["optimizer"], total_steps=options["steps"])


def _unknown(target: str) -> str:
    text = f"There is no job {target!r}. "
    for file in (Path(target), Path(f"{target}.py")):
        if file.is_file():
            return text + f"For a job in that file, name its variable: {file.with_suffix('.py')}:job."
    near = difflib.get_close_matches(target.lower(), BUNDLED, n=1, cutoff=0.4)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    return text + f"{guess}Bundled are {', '.join(BUNDLED)}; a job of your own is path/to/file.py:job."


def _file_job(ctx: click.Context, path: Path, attribute: str, options: dict[str, Any]) -> Job:
    if not path.is_file():
        raise click.UsageError(f"There is no file {str(path)!r}.", ctx)
    where = f"{path}:{attribute}"
    module = load_file(path)
    thing = getattr(module, attribute, None)
    if thing is None:
        raise click.UsageError(_no_such_name(module, path, attribute), ctx)
    from surefoot.search import FunctionJob, Job  # noqa: PLC0415 - not for --help

    given = {"optimizer": options["optimizer"], "total_steps": options["steps"]}
    given = {name: value for name, value in given.items() if value is not None}
    if not isinstance(thing, type) and isinstance(thing, Job):
        if given:
            raise click.UsageError(f"{where} is a job with its own settings: {_flags(given)} cannot change them.", ctx)
        return thing
    if not callable(thing):
        raise JobError(f"{where} is neither a job nor a function that returns one: it is a {type(thing).__name__}.")
    accepted = _parameters(thing)
    if accepted >= _TRAIN:
        if options["steps"] is None or options["optimizer"] is not None:
            said = f"{where} is a train function: it needs --steps N, the steps of its real run, and no --optimizer."
            raise click.UsageError(said, ctx)
        return FunctionJob(thing, options["steps"])
    refused = {name: value for name, value in given.items() if name not in accepted}
    if refused:
        said = f"{where} does not take {' and '.join(refused)}, so {_flags(refused)} cannot be used with it."
        raise click.UsageError(said, ctx)
    job = _called(where, thing, given)
    if not isinstance(job, Job):
        raise JobError(f"{where} returned a {type(job).__name__}; wanted is a job, such as a TorchJob.")
    return job


def _flags(given: dict[str, Any]) -> str:
    return " and ".join({"optimizer": "--optimizer", "total_steps": "--steps"}[name] for name in given)


def _parameters(function: Any) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return set()


def _called(where: str, function: Any, given: dict[str, Any]) -> object:
    try:
        return function(**given)
    except SurefootError:
        raise
    except Exception as error:
        raise JobError(f"{where}() raised {_said(error)}") from error


def load_file(path: Path) -> ModuleType:
    """Import a file under a private name, with its own folder on the path, as `python file.py` would have it."""
    name = f"_surefoot_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle and dataclasses look it up
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except SurefootError:
        raise
    except Exception as error:
        raise JobError(f"{path} cannot be loaded: {_said(error, path)}") from error
    except SystemExit as error:
        raise JobError(
            f"{path} ended the program (exit code {error.code}) while it was loaded. Put what trains and parses "
            "arguments under `if __name__ == '__main__':`, or search it as a command after `--`."
        ) from error
    return module


def _no_such_name(module: ModuleType, path: Path, attribute: str) -> str:
    names = [name for name in vars(module) if not name.startswith("_")]
    near = difflib.get_close_matches(attribute, names, n=1, cutoff=0.5)
    guess = f" Did you mean {path}:{near[0]}?" if near else " Define a job there, or a function that returns one."
    return f"{path} has no {attribute!r}.{guess}"


def _said(error: Exception, path: Path | None = None) -> str:
    """Say an error in one line, with the line of the user's file where it happened."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if path is not None and Path(trace.tb_frame.f_code.co_filename).resolve() == path.resolve():
            line = trace.tb_lineno
        trace = trace.tb_next
    place = f" (line {line})" if line is not None else ""
    return f"{type(error).__name__}: {error}".rstrip(": ") + place
