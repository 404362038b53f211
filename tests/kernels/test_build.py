"""Kernels: what is read off a rule, and that code is built and loaded safely."""

import subprocess
import sys

import pytest

from surefoot import rules
from surefoot.kernels import CannotBuild, load, source, trace
from surefoot.kernels import _build as build

TEXT = 'extern "C" int answer() {{ return {}; }}\n'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SUREFOOT_CACHE", str(tmp_path))
    return tmp_path / "surefoot" / "kernels"


@pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")
def test_a_kernel_is_built_once_and_kept_for_this_user_alone(cache):
    assert load(TEXT.format(41)).answer() == 41
    (kept,) = cache.iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    assert cache.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")
def test_a_folder_that_others_can_write_is_refused(cache):
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    with pytest.raises(CannotBuild, match="can be written by others"):
        load(TEXT.format(42))


@pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")
def test_processes_that_build_at_once_all_load(cache):
    code = f"from surefoot.kernels import load; assert load({TEXT.format(43)!r}).answer() == 43"
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in started] == [0, 0, 0]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")
@pytest.mark.usefixtures("cache")
def test_a_text_that_does_not_compile_says_why():
    with pytest.raises(CannotBuild, match="the compiler failed"):
        load("int broken(")


@pytest.mark.usefixtures("cache")
def test_no_compiler_says_what_to_install(monkeypatch):
    monkeypatch.setattr(build, "compiler", lambda: None)
    with pytest.raises(CannotBuild, match=r"install g\+\+"):
        load(TEXT.format(44))


def test_a_changed_number_leaves_the_text_as_it_is():
    assert source(trace(rules.Adam(b1=0.8, eps=1e-3)), "float") == source(trace(rules.Adam()), "float")
    assert source(trace(rules.Adam(amsgrad=True)), "float") != source(trace(rules.Adam()), "float")
