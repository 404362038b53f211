"""Rates per layer: which variable has which factor of the learning rate."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from surefoot._checks import number, refuse, refuse_type


@dataclass(frozen=True, slots=True)
class LayerRates:
    """Factors of the learning rate by name; the last name that fits a variable decides.

    A name stands for a whole path, or for any run of whole names in it, with * and ? as wildcards: of
    "model/encoder/dense_1/kernel" fit "encoder", "dense_1", "encoder/*", "dense_?", "kernel", and the path itself.

    Args:
        entries: (name, factor) in the order in which they were given.
    """

    entries: tuple[tuple[str, float], ...]

    @classmethod
    def checked(cls, where: str, given: Any) -> LayerRates | None:
        """Return the factors of a user's mapping; None for none."""
        if given is None:
            return None
        if not isinstance(given, Mapping):
            allowed = "a mapping of names of layers or variables to factors, or None"
            raise refuse_type(where, "multipliers", given, allowed, 'For example {"encoder/*": 0.1}.')
        for name in given:
            if not isinstance(name, str) or not name.strip("/"):
                raise refuse(where, "multipliers", given, f"a mapping whose keys are names, which {name!r} is not")
        factors = {
            name: number(where, f"multipliers[{name!r}]", factor, at_least=0.0) for name, factor in given.items()
        }
        return cls(tuple(factors.items())) if factors else None

    def factors_of(self, where: str, variables: Sequence[Any]) -> tuple[float, ...]:
        """Return the factor of each variable.

        Raises:
            ArgumentError: an entry that decides for no variable.
        """
        paths = [str(v.path if hasattr(v, "path") else v.name) for v in variables]
        deciding = [
            next((i for i in reversed(range(len(self.entries))) if self._fits(i, path)), None) for path in paths
        ]
        for i, (name, _) in enumerate(self.entries):
            if i in deciding:
                continue
            known = next((path for path in paths if self._fits(i, path)), None)
            if known is None:
                allowed = "names of layers or variables of this model"
                cure = f"{name!r} fits none. The nearest: {', '.join(_nearest(name, paths))}."
            else:
                allowed = "in an order in which each entry decides for a variable"
                cure = (
                    f"The last that fits decides, and after {name!r} come others for all it fits. Put it behind them."
                )
            raise refuse(where, "multipliers", dict(self.entries), allowed, cure)
        return tuple(1.0 if i is None else self.entries[i][1] for i in deciding)

    def _fits(self, i: int, path: str) -> bool:
        name = self.entries[i][0].strip("/")
        return any(fnmatchcase(path, pattern) for pattern in (name, f"{name}/*", f"*/{name}", f"*/{name}/*"))


def _nearest(name: str, paths: Sequence[str]) -> list[str]:
    """Return the paths that come nearest to a name, whole or in one of their parts."""

    def likeness(path: str) -> float:
        return max(difflib.SequenceMatcher(None, name, part).ratio() for part in (path, *path.split("/")))

    return sorted(paths, key=likeness, reverse=True)[:3]
