"""What the oracle scripts share: a framework's own tests run twice, with its classes and with ours, case by case."""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET


def compare(
    host: str, theirs: Mapping[str, str], ours: Mapping[str, str], excused: Mapping[str, str], *more: str
) -> int:
    """Run both, print what differs, and return the exit code: 1 if a case that passes with the host's fails with ours.

    Args:
        host: the framework's name.
        theirs: the files to run, by name; `pytest.ini` among them.
        ours: the same, pointed at our classes.
        excused: cases of which a reason says why ours may differ.
        *more: for pytest.
    """
    with tempfile.TemporaryDirectory() as folder:
        reference, _ = outcomes(Path(folder, "theirs"), theirs, *more)
        print(f"{host + ':':9s}", shown(reference), flush=True)
        found, said = outcomes(Path(folder, "ours"), ours, *more)
        print("surefoot:", shown(found))
    worse = [case for case, outcome in reference.items() if outcome == "passed" and found.get(case) != "passed"]
    for case in worse:
        print(f"  {found.get(case, 'missing')}: {case}: {excused.get(case, 'NOT EXCUSED')}")
    unexcused = [case for case in worse if case not in excused]
    if unexcused:
        print(said)
    return 1 if unexcused else 0


def outcomes(folder: Path, files: Mapping[str, str], *more: str) -> tuple[dict[str, str], str]:
    """Run tests in a folder; return the outcome of each case, "file::class::case", and what failures said."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", "--tb=short"]
    done = subprocess.run(
        [*command, "--junitxml=result.xml", *more], cwd=folder, capture_output=True, text=True, check=False
    )
    result = folder / "result.xml"
    if not result.exists():
        sys.exit(done.stdout + done.stderr)
    found: dict[str, str] = {}
    said: list[str] = []
    for case in ET.parse(result).getroot().iter("testcase"):
        first = next((child for child in case if child.tag in {"failure", "error", "skipped"}), None)
        file, _, kind = case.get("classname", "").rpartition(".")
        found[f"{file}::{kind}::{case.get('name')}"] = "passed" if first is None else first.tag
        if first is not None and first.tag != "skipped":
            said.append(f"{case.get('name')}\n{first.text}\n")
    return found, "\n".join(said)


def shown(found: Mapping[str, str]) -> str:
    """Return how many cases ended how."""
    count = Counter(found.values())
    return ", ".join(f"{count[kind]} {kind}" for kind in sorted(count))
