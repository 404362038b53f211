import json
import re
from html.parser import HTMLParser

import pytest

from surefoot._errors import RunDirectoryError
from surefoot.report import write_report
from surefoot.report._page import page, record

VOID = {"meta", "input", "path", "line", "rect", "br"}


class Reader(HTMLParser):
    """Collects what a browser would see: elements, attributes, text; and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.words, self.open, self.faults = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def html(sample):
    return page(sample)


def test_the_page_asks_nothing_of_the_network(html):
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert "url(" not in html
    reader = Reader(html)
    assert not {"link", "iframe", "img", "object", "embed", "form", "base"} & set(reader.elements)
    assert not {"src", "href", "srcset", "action"} & {name for name, _ in reader.attributes}
    assert "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:" in html


def test_the_page_works_without_its_script(html):
    still = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert "polyline" in still
    assert "short runs of 20 steps" in still
    assert "<title>bracket, learning rate 0.142: diverged</title>" in still
    assert "<button" not in still  # what only a script could do is not offered


def test_the_page_tells_the_whole_story(html, sample):
    words = " ".join(" ".join(Reader(html).words).split())
    for part in (
        "digits",
        "0.0031",
        "0.0018 \u2013 0.0052",
        "Holds the best rate with about 90\u00a0% probability.".replace("\u00a0", " "),
        "1.22 runs",
        "On top of the real run of 400 steps.",
        *sample.why,
        *sample.cautions,
        "forks of the real schedule, to step 100",
        "linear_warmup('5%') >> cosine_decay()",
        "The loss became NaN at step 10.",
        "2.13.0",
        "2026-11-23",
        "16 trials",
    ):
        assert part in words, part
    assert html.count("<tr data-trial=") == 16


def test_every_element_is_closed(odd):
    reader = Reader(page(odd))
    assert reader.faults == []
    assert reader.open == []


def test_odd_records_make_a_page(odd, tmp_path):
    text = write_report(odd, tmp_path / "odd.html").read_text("utf-8")
    assert text.endswith("</html>\n")
    assert not re.search(r'(x|y|x1|x2|y1|y2|width|points)="[^"]*(nan|inf)', text)


def test_text_from_the_record_never_becomes_markup(odd_one, hostile):
    text = page(odd_one("hostile text"))
    reader = Reader(text)
    assert reader.elements.count("script") == 2
    assert "img" not in reader.elements
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert "<script>alert" not in text
    assert "\u2028" not in text
    assert "\x00" not in text
    assert hostile.split("\u2028")[0].strip() in " ".join(reader.words)


def test_the_page_carries_the_record_itself(odd):
    text = page(odd)
    inside = text.split('id="record">')[1].split("</script>")[0]
    assert inside == record(odd)
    assert not set("<>&\u2028\u2029") & set(inside)
    assert json.loads(inside)["trials"] == json.loads(json.dumps(odd.to_dict()))["trials"]


def test_a_report_is_small(sample, odd_one):
    assert len(page(odd_one("no trials"))) < 40_000
    assert len(page(sample)) < 120_000
    assert len(page(odd_one("200 trials"))) < 1_500_000


def test_lone_surrogates_can_be_written(sample, tmp_path):
    import dataclasses

    assert write_report(dataclasses.replace(sample, job="\ud800", run_dir="\udcff"), tmp_path / "a.html").exists()


def test_an_interrupted_search_says_so(odd_one, html):
    assert "The search was interrupted." in page(odd_one("very long names"))
    assert "The search was interrupted." not in html


def test_a_path_that_cannot_be_written_is_named(sample, tmp_path):
    with pytest.raises(RunDirectoryError, match="cannot write"):
        write_report(sample, tmp_path / "missing" / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_replaced_whole(sample, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    assert write_report(sample, str(path)) == path
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
