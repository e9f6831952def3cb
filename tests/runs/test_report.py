"""The report says what the files say, in red where a result falls short, and fetches nothing."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from rich.console import Console

from jaxnash.psro.tournament import from_json, interval, winrate
from jaxnash.runs.report import terminal_report, write_report
from jaxnash.runs.results import gap_text, read_results, warnings
from jaxnash.runs.run import read_json, write_bytes, write_json
from jaxnash.types import JaxnashError
from tests.runs.fixture import PHASES, SCRIPTED, exactly, make_run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "good")


@pytest.fixture(scope="module")
def page(run_dir):
    return write_report(run_dir).read_text()


def on_terminal(run_dir, width=100, **kwargs):
    out = io.StringIO()
    terminal_report(run_dir, Console(file=out, width=width, **kwargs))
    return out.getvalue()


class Balanced(HTMLParser):
    """Fails on a tag that is closed wrongly; collects what a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.open, self.fetched = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_self_contained(page):
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.fetched) == 4 and all(
        f.startswith("data:image/svg+xml;base64,") for f in parser.fetched
    )
    for image in parser.fetched:
        svg = b64decode(image.partition(",")[2])
        assert ElementTree.fromstring(svg).tag.endswith("svg") and b'href="http' not in svg
    assert "url(" not in page and "@import" not in page and "<script" not in page


def test_the_page_has_the_numbers_of_the_files(run_dir, page):
    table = from_json(read_json(run_dir / "iteration_3" / "interaction_matrix.json"))
    assert len(table.cells) == 36
    for cell in table.cells.values():
        (low, high), rate = interval(cell), winrate(cell)
        assert f"{100 * rate:.1f}<small>{100 * low:.1f}–{100 * high:.1f}</small>" in page
        assert f"{cell.wins} won, {cell.draws} drawn, {cell.losses} lost, 100 pairs" in page
    for row in read_json(run_dir / "psro_summary.json")["iterations"]:
        assert gap_text(row["oracle_gap"], row["oracle_gap_ci"]) in page
    for i in (1, 2, 3):
        folder = run_dir / f"iteration_{i}" / "br_training" / f"br_{i}"
        for record in read_json(folder / "evaluation.json")["versus"].values():
            low, high = record["winrate_ci"]
            text = f"{100 * record['winrate']:.1f} %<small>[{100 * low:.1f}, {100 * high:.1f}]</small>"
            assert text in page
    for name, p in read_json(run_dir / "iteration_3" / "meta_strategy.json")["meta_strategy"].items():
        chip = rf'<span class="chip" style="background:#\w+"></span>{name}</td><td>'
        assert re.search(chip + (rf"{100 * p:.1f} %" if p > 1e-6 else "0<"), page)
    for words in ("br_3, evaluation teams", "71.2 %", "6 min 42 s", "3 min 01 s", "seed 7"):
        assert words in page
    assert "best response &lt;trained&gt;" in page and "<trained>" not in page


def test_the_oracle_gap_stands_beside_the_mixture_it_measured(run_dir):
    rows = read_json(run_dir / "psro_summary.json")["iterations"]
    gaps = read_results(run_dir).gaps
    assert [row["br_name"] for row in gaps] == ["br_1", "br_2", "br_3", None]
    assert [row["oracle_gap"] for row in gaps] == [row["oracle_gap"] for row in rows[1:]] + [None]
    assert [row["solver_gap"] for row in gaps] == [row["solver_gap"] for row in rows]


def test_the_terminal_has_the_same_numbers(run_dir):
    write_report(run_dir)
    text = on_terminal(run_dir)
    table = from_json(read_json(run_dir / "iteration_3" / "interaction_matrix.json"))
    low, high = interval(table.cells[0, 1])
    assert f"{100 * winrate(table.cells[0, 1]):.1f}" in text and f"{100 * low:.0f}–{100 * high:.0f}" in text
    for i in (1, 2, 3):
        evaluation = read_json(run_dir / f"iteration_{i}" / "br_training" / f"br_{i}" / "evaluation.json")
        for record in evaluation["versus"].values():
            low, high = record["winrate_ci"]
            assert f"{100 * record['winrate']:.1f} [{100 * low:.1f}, {100 * high:.1f}]" in text
        assert gap_text(evaluation["oracle_gap"], None) in text
        assert "[{:.3f}, {:.3f}]".format(*evaluation["oracle_gap_ci"]) in text
    for name in (*SCRIPTED, "σ", *PHASES, "Mixture σ: ", "6 min 42 s in all"):
        assert name in text
    assert f"report: {run_dir / 'report.html'}" in text


@pytest.mark.parametrize("width", [60, 80])
def test_the_terminal_report_fits_its_width(run_dir, width):
    text = on_terminal(run_dir, width)
    tables = text[: text.index("Gaps of") if width < 80 else text.index("Time by")]
    assert "…" not in tables and max(map(len, tables.splitlines())) <= width
    for k in range(1, 10):
        assert re.search(rf"^ .*\b{k}\b", text, re.MULTILINE)


def test_a_good_run_has_no_red(run_dir, page):
    assert not [warned for warned in warnings(read_results(run_dir)) if warned.red]
    assert 'class="red"' not in page and "warn bad" not in page


def test_what_falls_short_is_red(tmp_path):
    last = {"random": exactly(188, 12), "max-base-power": exactly(108, 92), "sigma": exactly(190, 210)}
    run_dir = make_run(tmp_path / "weak", iterations=1, last=last)
    red = [warned.text for warned in warnings(read_results(run_dir)) if warned.red]
    assert len(red) == 3
    assert re.match(
        r"br_1, the last best response, wins 94.0 % \[.*\] against random, below the 95 %", red[0]
    )
    assert re.match(r"br_1, .* wins 54.0 % .* against max-base-power, below the 55 %", red[1])
    assert red[2].startswith("no exploit found by br_1 (win rate 47.5 %")
    page = write_report(run_dir).read_text()
    assert page.count('class="warn bad"') == 3
    assert len(re.findall(r'class="red">(94.0|54.0|47.5) %', page)) == 3
    assert re.search(r'class="red">no exploit found \[', page) and "-0.050" not in page
    coloured = on_terminal(run_dir, force_terminal=True, color_system="standard", no_color=False)
    assert re.search(r"\x1b\[1;31m94.0 \[", coloured) and "\x1b[1;31mno exploit found by" in coloured


def test_just_enough_is_not_red(tmp_path):
    last = {"random": exactly(190, 10), "max-base-power": exactly(110, 90), "sigma": exactly(250, 150)}
    run_dir = make_run(tmp_path / "enough", iterations=1, last=last)
    assert warnings(read_results(run_dir)) == []


def test_an_unfinished_run_is_reported_as_such(tmp_path):
    run_dir = make_run(tmp_path / "part", iterations=1)
    for path in (
        "psro_summary.json",
        "iteration_1/interaction_matrix.json",
        "iteration_1/meta_strategy.json",
    ):
        (run_dir / path).unlink()
    (run_dir / "iteration_1" / "br_training" / "br_1" / "evaluation.json").unlink()
    page = write_report(run_dir).read_text()
    assert "the run is not finished" in page and "gym-leader" in page
    (run_dir / "iteration_0" / "meta_strategy.json").unlink()
    assert "Nothing to draw yet" in write_report(run_dir).read_text()
    assert "not finished" in on_terminal(run_dir)


def test_unplayed_pairs_are_shown_as_unplayed(tmp_path):
    run_dir = make_run(tmp_path / "gaps", iterations=1)
    path = run_dir / "iteration_1" / "interaction_matrix.json"
    content = read_json(path)
    content["matchups"].pop()
    write_json(path, content)
    page = write_report(run_dir).read_text()
    assert page.count('class="unplayed"') == 2 and "1 of the pairs are unplayed" in page


def test_a_broken_file_is_named(tmp_path):
    with pytest.raises(JaxnashError, match=r"config\.json"):
        write_report(tmp_path)
    run_dir = make_run(tmp_path / "run", iterations=1)
    write_bytes(run_dir / "iteration_1" / "meta_strategy.json", b"{")
    with pytest.raises(JaxnashError, match=r"iteration_1/meta_strategy\.json"):
        write_report(run_dir)
    assert not (run_dir / "report.html").exists()
