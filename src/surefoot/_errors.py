"""Every error that surefoot raises on purpose.

    SurefootError
    ├── ArgumentError        (ValueError)    an argument has a value that is not allowed
    ├── ArgumentTypeError    (TypeError)     an argument has a type that is not allowed
    ├── StateError           (ValueError)    a state_dict does not fit the object that loads it
    ├── OrderError           (RuntimeError)  a call that must come after another one
    ├── JobError             (RuntimeError)  a job cannot be searched: it breaks before it learns
    ├── RunDirectoryError    (OSError)       a run directory cannot be made, written, locked or resumed
    └── MissingExtraError    (ImportError)   a framework or library of an extra is not installed

Outcomes of training (a diverged trial, a script that timed out) are values in results, not exceptions.
"""

from __future__ import annotations


class SurefootError(Exception):
    """Base class of every error that surefoot raises on purpose."""


class ArgumentError(SurefootError, ValueError):
    """An argument has a value that is not allowed."""


class ArgumentTypeError(SurefootError, TypeError):
    """An argument has a type that is not allowed."""


class StateError(SurefootError, ValueError):
    """A state_dict does not fit the object that loads it."""


class OrderError(SurefootError, RuntimeError):
    """A call that must come after another one."""


class JobError(SurefootError, RuntimeError):
    """A job cannot be searched, because it breaks before it learns anything."""


class RunDirectoryError(SurefootError, OSError):
    """A run directory cannot be made, written, locked or resumed."""


class MissingExtraError(SurefootError, ImportError):
    """A framework or library that belongs to an extra is not installed."""


class SurefootWarning(UserWarning):
    """Something silently useless or risky was asked for; said once per cause."""


def missing_extra(module: str, extra: str) -> MissingExtraError:
    """Return the error for a missing optional dependency, with the command that cures it."""
    return MissingExtraError(f'`{module}` is not installed. Run: pip install "surefoot[{extra}]"')
