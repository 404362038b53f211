import subprocess
import sys
from importlib import resources

import numpy as np
import pytest

import surefoot as sf
from surefoot import datasets
from surefoot.datasets import _text


@pytest.mark.parametrize(
    ("load", "train", "val"), [(datasets.digits, (1200, 64), (597, 64)), (datasets.diabetes, (300, 10), (142, 10))]
)
def test_inputs_are_standardised_on_the_training_rows(load, train, val):
    data = load()
    assert (data.x.shape, data.x_val.shape) == (train, val)
    assert (len(data.y), len(data.y_val), len(data.features)) == (train[0], val[0], train[1])
    assert data.x.dtype == data.x_val.dtype == np.float32
    axis = 0 if load is datasets.diabetes else None  # of images, all pixels together
    assert np.abs(data.x.mean(axis=axis)).max() < 1e-5
    assert np.abs(data.x.std(axis=axis) - 1).max() < 1e-5
    assert np.isfinite(data.x_val).all()


@pytest.mark.parametrize("load", [datasets.digits, datasets.diabetes])
def test_the_split_is_always_the_same(load):
    first, second = load(), load()
    assert (first.x == second.x).all()
    assert (first.y_val == second.y_val).all()


def test_digits_are_scikit_learns():
    sklearn = pytest.importorskip("sklearn.datasets")
    images = sklearn.load_digits()
    with (resources.files("surefoot.datasets") / "data" / "digits.npz").open("rb") as file:
        stored = np.load(file)
        assert (stored["images"] == images.images).all()
        assert (stored["labels"] == images.target).all()


def test_diabetes_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.datasets")
    patients = sklearn.load_diabetes(scaled=False)
    with (resources.files("surefoot.datasets") / "data" / "diabetes.csv").open() as file:
        stored = np.loadtxt(file, delimiter=",", skiprows=1)
    assert np.allclose(stored[:, :-1], patients.data, rtol=1e-12)
    assert (stored[:, -1] == patients.target).all()


def test_digits_have_every_class_in_both_parts():
    data = datasets.digits()
    assert set(data.y.tolist()) == set(data.y_val.tolist()) == set(range(10))


def test_python_docs_are_text_in_a_fixed_alphabet():
    data = datasets.python_docs()
    assert len(data.alphabet) == len(set(data.alphabet)) == 96
    assert len(data.train) + len(data.val) == 400_000
    assert len(data.val) == 40_000
    assert data.train.min() >= 0
    assert data.train.max() < 96
    assert "import" in data.decode(data.val)


def test_other_characters_are_replaced_or_dropped(monkeypatch):
    monkeypatch.setattr(_text, "_topics", lambda: "\u201cna\u00efve\u201d\t\u2014 it\u2019s\r\n\U0001f40d" * 10)
    data = datasets.python_docs()
    assert data.decode(np.concatenate([data.train, data.val])) == '"nave" - it\'s\n' * 10


def test_a_python_without_topics_is_a_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(sf.MissingExtraError, match=r"standard library.*apt install"):
        datasets.python_docs()


def test_files_are_small_and_their_licences_are_there():
    folder = resources.files("surefoot.datasets")
    files = list((folder / "data").iterdir())
    assert sum(len(file.read_bytes()) for file in files) < 200_000
    licences = (folder / "LICENSES.md").read_text()
    assert all(f"data/{file.name}" in licences for file in files)


def test_importing_loads_no_numpy():
    code = "import sys, surefoot.datasets; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
