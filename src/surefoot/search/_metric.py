"""Read a metric from what a script printed: a JSON line, `name=value`, `name: value`, or a regular expression."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from surefoot import _checks

_NUMBER = r"[-+]?(?>(?>\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)(?!\w|,\d{3}(?!\d))"
_WHERE = "CommandJob"
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Metric:
    """A metric by its name, or by `re:` and a regular expression with one group.

    >>> Metric("val_loss").read("step 1 val_loss=0.9, best_val_loss=0.1")
    0.9
    >>> Metric("loss").read('{"step": 9, "loss": 1.2e-3}')
    0.0012
    """

    def __init__(self, text: object) -> None:
        if not isinstance(text, str):
            raise _checks.refuse_type(_WHERE, "metric", text, "a name such as 'val_loss', or 're:' and a pattern")
        self.text = text
        if text.startswith("re:"):
            try:
                self._pattern = re.compile(text[3:], re.MULTILINE)
            except re.error as error:
                cure = f"It does not compile: {error}."
                raise _checks.refuse(_WHERE, "metric", text, "a valid regular expression", cure) from None
            if self._pattern.groups != 1:
                cure = "Put the number in it in parentheses, as in 're:val loss is ([0-9.]+)'."
                raise _checks.refuse(_WHERE, "metric", text, "a regular expression with exactly one group", cure)
            self._name = None
        else:
            if not text.strip():
                raise _checks.refuse(_WHERE, "metric", text, "a name such as 'val_loss', or 're:' and a pattern")
            self._name = text.strip()
            # Whole names only: `loss` is neither `val_loss` nor `val/loss`. Quotes: a printed dict.
            word = rf"(?<![\w./-])(?P<quote>[\"']?){re.escape(self._name)}(?P=quote)"
            self._pattern = re.compile(rf"{word}\s*[=:]\s*({_NUMBER})", re.IGNORECASE)

    def read(self, *outputs: str) -> float | None:
        """Return the last value in the first of `outputs` that has one; None if none has.

        Raises:
            ValueError: the regular expression's group is no number; the message is that text.
        """
        for output in outputs:
            value = self._last(_ANSI.sub("", output))
            if value is not None:
                return value
        return None

    def _last(self, output: str) -> float | None:
        if self._name is None:
            found = self._pattern.findall(output)
            return _as_number(found[-1]) if found else None
        for line in reversed(output.splitlines()):
            value = self._from_json(line.strip())
            if value is not None:
                return value
            matches = list(self._pattern.finditer(line))
            if matches:
                return float(matches[-1].group(2))
        return None

    def _from_json(self, line: str) -> float | None:
        if self._name is None or not line.startswith("{"):
            return None
        try:
            record: Any = json.loads(line)
        except (ValueError, RecursionError):
            return None
        value = cast("dict[str, Any]", record).get(self._name)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return None
        try:
            return float(value)  # "nan" and "inf" too: JSON has no other way to say them
        except (ValueError, OverflowError):
            return None

    def wanted(self) -> str:
        """Say what was looked for."""
        if self._name is None:
            return f"text that matches {self.text[3:]!r}"
        return f'`{self._name}=0.123`, `{self._name}: 0.123` or a JSON line {{"{self._name}": 0.123}}'


def _as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(text) from None
