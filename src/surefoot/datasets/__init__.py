"""Small real data that needs no download, for first runs, examples and tests; numpy arrays, already split.

    digits         1,797 images of handwritten digits, 10 classes
    diabetes       442 patients, 10 measurements, how far a disease went on: a regression that over-fits
    python_docs    text for a character language model: the documentation that comes with Python itself

Sources and licences stand in each docstring and in `LICENSES.md` beside this file.
"""

from surefoot.datasets._tables import Table as Table
from surefoot.datasets._tables import diabetes as diabetes
from surefoot.datasets._tables import digits as digits
from surefoot.datasets._text import Text as Text
from surefoot.datasets._text import python_docs as python_docs

__all__ = ["Table", "Text", "diabetes", "digits", "python_docs"]
