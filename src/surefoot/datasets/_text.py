"""Text for a character language model that every Python has."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from surefoot._errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
LENGTH = 400_000
_PLAIN = str.maketrans("\u2018\u2019\u201c\u201d\u2013\u2014\u2026\u00a0\t", "''\"\"--.  ")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Text:
    """A text as numbers, split into a first part for training and a last part for validation.

    Attributes:
        train: the places of its characters in `alphabet`, int64.
        val: the same, of the last tenth.
        alphabet: every character that can occur.
    """

    train: NDArray[Any]
    val: NDArray[Any]
    alphabet: str

    def decode(self, codes: NDArray[Any]) -> str:
        """Return the text of some codes."""
        return "".join(self.alphabet[int(code)] for code in codes)


def python_docs() -> Text:
    """Return the language reference that comes with Python (`help("assert")`), 400,000 characters, as numbers.

    Quotes and dashes are made ASCII and other characters dropped, so the alphabet is always the same 96. The text
    itself differs a little from one version of Python to the next, and so do losses measured on it.

    Source: `pydoc_data.topics` of the running Python, (c) Python Software Foundation, licence PSF-2.0. It is read, not
    bundled.

    Raises:
        MissingExtraError: this Python was installed without its documentation topics.

    >>> data = python_docs()
    >>> data.decode(data.train[:22]), len(data.alphabet)
    ('The "assert" statement', 96)

    .. versionadded:: 0.1.0
    """
    import numpy as np  # noqa: PLC0415 - `import surefoot` loads no numpy

    text = _clean(_topics())[:LENGTH]
    places = np.full(128, -1, dtype=np.int64)
    places[np.frombuffer(ALPHABET.encode("ascii"), dtype=np.uint8)] = np.arange(len(ALPHABET))
    codes = places[np.frombuffer(text.encode("ascii"), dtype=np.uint8)]
    cut = len(codes) * 9 // 10
    return Text(train=codes[:cut], val=codes[cut:], alphabet=ALPHABET)


def _topics() -> str:
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        raise MissingExtraError(
            "`pydoc_data.topics`, a part of Python's standard library, is not in this Python. Install the full "
            "standard library (on Debian: apt install libpython3-stdlib), or use other data."
        ) from None
    return "\n".join(topics[name] for name in sorted(topics))


def _clean(text: str) -> str:
    allowed = frozenset(ALPHABET)
    return "".join(character for character in text.translate(_PLAIN) if character in allowed)
