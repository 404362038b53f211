import dataclasses
import subprocess
import sys

import pytest

from surefoot._errors import ArgumentError, MissingExtraError, RunDirectoryError
from surefoot.report import plot

PNG = b"\x89PNG\r\n\x1a\n"


def test_plot_writes_a_picture_of_the_kind_that_the_suffix_names(sample, tmp_path):
    assert plot(sample, tmp_path / "a.png").read_bytes().startswith(PNG)
    assert "<svg" in plot(sample, str(tmp_path / "b.SVG")).read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.SVG"]


def test_plot_says_the_answer_the_rungs_and_the_fates(sample, tmp_path, monkeypatch):
    import matplotlib as mpl

    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")
    text = plot(sample, tmp_path / "a.svg").read_text("utf-8")
    for words in (
        "digits: learning rate 0.0031 (good between 0.0018 and 0.0052)",
        "short runs of 20 steps",
        "forks of the real schedule, to step 100",
        "real runs, to steps 180 to 300",
        "diverged",
        "pick 0.0031",
        "default 0.001",
        "validation loss (log scale)",
    ):
        assert words in text, words


def test_the_same_record_gives_the_same_svg(sample, tmp_path):
    assert plot(sample, tmp_path / "a.svg").read_bytes() == plot(sample, tmp_path / "b.svg").read_bytes()


def test_plot_survives_odd_records(odd, tmp_path):
    assert plot(odd, tmp_path / "odd.png").stat().st_size > 1000


def test_plot_leaves_pyplot_alone(sample, tmp_path):
    code = "import sys; import surefoot.report; print([m for m in ('matplotlib', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "matplotlib" not in out
    before = "matplotlib.pyplot" in sys.modules
    plot(sample, tmp_path / "a.png")
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_the_default_is_not_drawn_where_it_is_the_pick(sample, tmp_path, monkeypatch):
    import matplotlib as mpl

    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")
    same = dataclasses.replace(sample, default_learning_rate=sample.learning_rate)
    assert "default" not in plot(same, tmp_path / "a.svg").read_text("utf-8")


@pytest.mark.parametrize("name", ["found.pdf", "found", "found.png.txt"])
def test_another_suffix_is_refused(sample, tmp_path, name):
    with pytest.raises(ArgumentError, match=r'path must be a file name that ends in "\.png" or "\.svg"'):
        plot(sample, tmp_path / name)


def test_a_missing_matplotlib_is_named_with_its_cure(sample, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError) as caught:
        plot(sample, tmp_path / "a.png")
    assert str(caught.value) == '`matplotlib` is not installed. Run: pip install "surefoot[plot]"'


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_path_that_cannot_be_written_is_named(sample, tmp_path, suffix):
    (tmp_path / f"folder{suffix}").mkdir()
    for path in (tmp_path / "missing" / f"a{suffix}", tmp_path / f"folder{suffix}"):
        with pytest.raises(RunDirectoryError, match="cannot write"):
            plot(sample, path)
    assert [path.name for path in tmp_path.iterdir()] == [f"folder{suffix}"]
