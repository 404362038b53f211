"""PyTorch's own scheduler tests as an oracle: what passes with torch's classes must pass with ours.

    python tests/oracles/torch_schedulers.py PATH_TO/test_lrscheduler.py

The file is test/optim/test_lrscheduler.py of github.com/pytorch/pytorch, in the version of the installed torch; it is not
in the wheel. Two forms are pointed at `surefoot.torch.lr_scheduler`, and it runs twice in a temporary folder: with torch's
classes and with ours. Exit code 1 if a case that passes with torch's does not pass with ours and is not excused below.

What it does not catch (rates of two schedulers beside a plateau, groups added later, loading in any order) is in
tests/torch/test_lr_scheduler.py.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

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


def outcomes(folder: Path, text: str) -> dict[str, str]:
    """Run the tests in a folder and return the outcome of each case."""
    folder.mkdir()
    (folder / "test_lrscheduler.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "--junitxml=result.xml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    result = folder / "result.xml"
    if not result.exists():
        sys.exit(done.stdout + done.stderr)
    found = {}
    for case in ET.parse(result).getroot().iter("testcase"):
        first = next((child for child in case if child.tag in {"failure", "error", "skipped"}), None)
        found[case.get("name", "")] = "passed" if first is None else first.tag
        if first is not None and first.tag != "skipped":
            with (folder / "failures.txt").open("a", encoding="utf-8") as file:
                file.write(f"{case.get('name')}\n{first.text}\n\n")
    return found


def shown(found: dict[str, str]) -> str:
    """Return how many cases ended how."""
    count = Counter(found.values())
    return ", ".join(f"{count[kind]} {kind}" for kind in sorted(count))


def main() -> int:
    """Run both, compare, and return the exit code."""
    parser = argparse.ArgumentParser(description="Run PyTorch's scheduler tests with torch's classes and with ours.")
    parser.add_argument("path", type=Path, help="test/optim/test_lrscheduler.py of PyTorch's repository")
    text = parser.parse_args().path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        theirs = outcomes(Path(folder, "torch"), text)
        print("torch:   ", shown(theirs), flush=True)
        ours = outcomes(Path(folder, "ours"), pointed_at_ours(text))
        print("surefoot:", shown(ours))
        failures = Path(folder, "ours", "failures.txt")
        said = failures.read_text(encoding="utf-8") if failures.exists() else ""
    worse = [case for case, outcome in theirs.items() if outcome == "passed" and ours.get(case) != "passed"]
    for case in worse:
        print(f"  {ours.get(case, 'missing')}: {case}: {EXCUSED.get(case, 'NOT EXCUSED')}")
    unexcused = [case for case in worse if case not in EXCUSED]
    if unexcused:
        print(said)
    return 1 if unexcused else 0


if __name__ == "__main__":
    sys.exit(main())
