import base64
import re
from dataclasses import replace
from functools import lru_cache
from html.parser import HTMLParser

import pytest

from chemprop_hpo.hpo.report.content import Member, Target
from chemprop_hpo.hpo.report.html import page, write_report
from chemprop_hpo.hpo.report.plots import Pictures
from tests.hpo.report.made_content import NINE, interval, made_content, without_test
from tests.hpo.report.searched.made_search import made_search

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that what is opened is closed, and keeps what matters."""

    def __init__(self, html):
        super().__init__()
        self.open, self.references, self.tags, self.ids = [], [], [], []
        self.texts = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        names = ("src", "href", "srcset", "poster", "data", "action", "background")
        self.references += [attributes[name] for name in names if name in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data.strip())

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def without_pictures(content):
    """The page alone, which is quick."""
    return Page(page(content, Pictures((), (), (), ((),) * len(content.targets))))


@lru_cache
def small():
    return made_content(rows=40, test_rows=30, ranks=2, folds=2)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble") / "not yet there"
    return write_report(small(), folder)


# ----------------------------------------------------------------------------- the files


def test_the_page_and_every_picture_are_written_and_nothing_else(written):
    assert written.name == "report.html"
    assert {path.name for path in written.parent.iterdir()} == {"report.html", "plots"}
    pictures = list((written.parent / "plots").iterdir())
    assert {path.suffix for path in pictures} == {".png"}
    assert len(pictures) == 8
    for path in pictures:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_page_holds_the_very_pictures_that_lie_beside_it(written):
    sources = [r for r in Page(written.read_text()).references if r.startswith("data:")]
    inside = {base64.b64decode(s.removeprefix("data:image/png;base64,")) for s in sources}
    beside = {path.read_bytes() for path in (written.parent / "plots").iterdir()}
    assert inside == beside


def test_the_page_needs_nothing_from_elsewhere(written):
    html = written.read_text()
    found = Page(html)
    for reference in found.references:
        assert reference.startswith(("data:image/png;base64,", "#"))
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(found.tags)
    assert "url(" not in html
    assert "@import" not in html


def test_every_entry_of_the_contents_leads_somewhere(written):
    found = Page(written.read_text())
    anchors = [r.removeprefix("#") for r in found.references if r.startswith("#")]
    assert len(anchors) > 4
    assert set(anchors) <= set(found.ids)
    assert len(set(found.ids)) == len(found.ids)


def test_every_picture_has_words_for_those_who_do_not_see_it(written):
    pictures = re.findall(r"<img [^>]*>", written.read_text())
    assert all(re.search(r'alt="[^"]{10,}"', picture) for picture in pictures)


def test_a_second_report_replaces_the_first(written):
    before = written.read_bytes()
    assert write_report(small(), written.parent) == written
    assert written.read_bytes() == before


# ----------------------------------------------------------------------------- what it says


@pytest.mark.parametrize("name", ["rmse", "mae", "r2", "pearson", "spearman", "kendall", "rae"])
def test_a_figure_of_the_content_stands_on_the_page_with_its_interval(name):
    content = small()
    first, *others = content.ensembles
    result = first.targets[0]
    figures = {**result.test.figures, name: interval(0.43219, 0.0111)}
    changed = replace(result, test=replace(result.test, figures=figures))
    content = replace(content, ensembles=(replace(first, targets=(changed,)), *others))
    assert "0.432 [0.421, 0.443]" in without_pictures(content).text


def test_the_page_names_the_study_and_all_that_belongs_to_it():
    text = without_pictures(small()).text
    for word in (
        "postgresql+psycopg://chemist:***@db/studies",
        "2026-11-22 08:30 UTC",
        "Test data was scored once",
        "same parameters as trial 12",
        "early stopping",
        "chemprop 2.3.1",
        "cuik (not installed)",
        "ffn_type",
        "0.000123",
        "12446",  # a seed
        "rank 2, split 0",
        "50 %",  # a weight
    ):
        assert word in text


def test_both_units_stand_where_there_is_a_transform():
    text = without_pictures(made_content((Target("KSOL", "µM", "log10p1"),))).text
    assert "Test, in log₁₀(µM + 1)" in text
    assert "Test, in µM" in text


def test_several_targets_are_compared_in_one_table_and_one_by_one():
    content = made_content(NINE, ranks=2, folds=2)
    found = without_pictures(content)
    assert "Mean RAE over targets, test" in found.text
    assert [i for i in found.ids if i.startswith("target-")] == [
        f"target-{n}" for n in range(1, 10)
    ]
    assert "log₁₀(10⁻⁶ cm/s + 1)" in found.text


def test_names_that_are_markup_stay_text():
    evil = '<b>bold</b><script>alert("1")</script>'
    content = made_content((Target(evil, "<i>"), Target("b")), ranks=1, folds=1)
    content = replace(
        content,
        title=evil,
        notes=(evil,),
        warnings=(evil,),
        configurations={1: {evil: evil}},
        members=(Member(1, 1, 0, 0, 1, 0, None, None, evil, error=evil),),
    )
    found = without_pictures(content)
    assert not {"b", "i", "script"} & set(found.tags)
    assert found.text.count(evil) > 8


def test_without_test_data_the_page_says_so_and_shows_the_rest():
    text = without_pictures(without_test(small())).text
    assert "No test data were scored" in text
    assert "On test data" not in text
    assert "RMSE (log mol/L), test" not in text
    assert "Out of fold, in log mol/L" in text


def test_a_classification_has_its_own_figures():
    text = without_pictures(made_content((Target("active"),), task="classification")).text
    assert "ROC-AUC" in text
    assert "Calibration error" in text
    assert "RMSE" not in text


def test_only_what_there_is_has_a_section():
    content = small()
    bare = replace(
        content, members=(), decisions=(), configurations={}, combinations=(), versions={}, notes=()
    )
    found = without_pictures(bare)
    assert not {"members", "configurations", "weights", "search"} & set(found.ids)
    assert {"comparison", "targets", "reading"} <= set(found.ids)


def test_one_ensemble_alone_is_a_report():
    content = small()
    text = without_pictures(replace(content, ensembles=content.ensembles[-1:])).text
    assert "On test data, combined has an RMSE of" in text
    assert "clearly better than" not in text
    assert "The first row is what one model gives" not in text
    assert "The first row is what one model gives" in without_pictures(content).text


def test_no_figure_stands_where_it_is_not_defined():
    text = without_pictures(made_content(rows=2, test_rows=1, ranks=1, folds=1)).text
    assert not re.search(r"\b(nan|inf|None)\b", text)


def test_the_search_has_a_section_of_its_own_after_the_configurations():
    found = without_pictures(replace(small(), search=made_search(100, 3)))
    sections = [i for i in found.ids if i in {"configurations", "search", "members"}]
    assert sections == ["configurations", "search", "members"]
    assert "#search" in found.references
    assert "41 %" in found.text
    assert "ffn_type" in found.text
