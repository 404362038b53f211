"""README.md is run: its Python as it stands, its two commands by `.ci/run`, which is checked here to find them."""

import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(.*?)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [body for language, body in BLOCKS if language == "python"]


def block(language):
    (body,) = [body for info, body in BLOCKS if info == language]
    return body.strip()


def test_the_two_commands_are_where_the_ci_looks_for_them():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for name in ("first-command", "second-command"):
        found = re.findall(rf"^```bash {name}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
        assert len(found) == 1
        assert len(found[0].splitlines()) == 1, "each is one line"
        assert f"as_printed {name}" in script


def test_the_first_command_is_the_promised_one():
    assert block("bash first-command") == "pip install -c constraints.txt -e '.[torch]' && surefoot find digits"


def test_the_second_command_installs_and_checks():
    assert block("bash second-command").startswith("pip install -c constraints.txt -e '.[")
    assert block("bash second-command").endswith(" && scripts/check")


@pytest.mark.parametrize("body", PYTHON, ids=[f"line-{README[: README.find(b)].count(chr(10))}" for b in PYTHON])
def test_a_python_block_runs(body, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(body, "README.md", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    for said in re.findall(r"^print\(.*\)  # (.+)$", body, re.MULTILINE):
        assert said in printed


_BRINGS = {"accelerate": "transformers"}  # whose Trainer needs it
PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning", "ignore::UserWarning:lightning")
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    space = {"__name__": page.stem.replace("-", "_")}
    monkeypatch.setitem(sys.modules, space["__name__"], types.ModuleType(space["__name__"]))  # dataclasses look it up
    for needed in ("optuna", "lightning", "accelerate", "skorch"):
        if any(re.search(rf"^(import|from) {_BRINGS.get(needed, needed)}\b", body, re.MULTILINE) for body in blocks):
            pytest.importorskip(needed, reason=f"{needed} is not installed: see the extras of surefoot")
    for body in blocks:
        exec(compile(body, page.name, "exec"), space)
    printed = capsys.readouterr().out.splitlines()
    said = [s for body in blocks for s in re.findall(r"^print\(.*\)  # (.+)$", body, re.MULTILINE)]
    assert printed == said


def test_every_link_to_a_file_leads_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_picture_is_small():
    assert 5_000 < (ROOT / "docs" / "images" / "digits.png").stat().st_size < 80_000


def test_every_script_is_executable_and_parses():
    for script in [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"]:
        assert script.stat().st_mode & 0o111, f"{script.name} is not executable"
        if script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash"):
            subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_constraints_are_names_and_versions_only():
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"(#.*|[\w-]+==[\w.]+|)", line), line
        assert "://" not in line


@pytest.mark.parametrize("line", re.findall(r"^surefoot find .*$", README, re.MULTILINE))
def test_a_printed_command_is_one_that_the_command_line_takes(line):
    from surefoot.cli._find import find

    words = shlex.split(line, comments=True)[2:]
    find.make_context("surefoot find", words)  # parses and checks; runs nothing
