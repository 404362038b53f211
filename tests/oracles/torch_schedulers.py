"""PyTorch's own scheduler tests as an oracle: what passes with torch's classes must pass with ours.

    python tests/oracles/torch_schedulers.py PATH_TO/test_lrscheduler.py

The file is test/optim/test_lrscheduler.py of github.com/pytorch/pytorch, in the version of the installed torch; it is not
in the wheel. Two forms are pointed at `surefoot.torch.lr_scheduler`, and it runs twice in a temporary folder: with torch's
classes and with ours. Exit code 1 if a case that passes with torch's does not pass with ours and is not excused below.

What it does not catch (rates of two schedulers beside a plateau, groups added later, loading in any order) is in
tests/torch/test_lr_scheduler.py and test_lr_scheduler_repairs.py.
"""

import argparse
import re
import sys
from pathlib import Path

from _compare import compare

EXCUSED: dict[str, str] = {}  # case: why ours may differ


def pointed_at_ours(text: str) -> str:
    """Return the text of the tests with our module in place of torch's."""
    text, found = re.subn(
        r"^from torch\.optim\.lr_scheduler import",
        "import surefoot.torch.lr_scheduler\nfrom surefoot.torch.lr_scheduler import",
        text,
        flags=re.MULTILINE,
    )
    if not found:
        sys.exit("The file imports nothing from torch.optim.lr_scheduler: is it test_lrscheduler.py?")
    return re.sub(r"\btorch\.optim\.lr_scheduler\.", "surefoot.torch.lr_scheduler.", text)


def main() -> int:
    """Run both, compare, and return the exit code."""
    parser = argparse.ArgumentParser(description="Run PyTorch's scheduler tests with torch's classes and with ours.")
    parser.add_argument("path", type=Path, help="test/optim/test_lrscheduler.py of PyTorch's repository")
    text = parser.parse_args().path.read_text(encoding="utf-8")
    name, settings = "test_lrscheduler.py", {"pytest.ini": "[pytest]\n"}
    return compare("torch", {name: text, **settings}, {name: pointed_at_ours(text), **settings}, EXCUSED)


if __name__ == "__main__":
    sys.exit(main())
