"""The command line: `surefoot find digits`, `surefoot find ... -- python train.py ...`, `surefoot simulate PLAN`.

Importing it loads click and nothing heavier, so that `surefoot --help` answers at once.
"""

from surefoot.cli._main import main as main

__all__ = ["main"]
