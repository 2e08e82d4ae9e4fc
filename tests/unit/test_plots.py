"""Columns over time: spaced evenly, standing on their line, told in words as well."""

import math
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest
from django.template.loader import render_to_string
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from peers import plots
from peers.plots import HEIGHT, LOWEST, STEP, Column, Plot

NOON = datetime(2026, 3, 4, 12, 7, 30, tzinfo=UTC)
HOSTILE = '"><script>alert(1)</script>&{{ 1 }}\u202e'


def words(value):
    return f"{value:g} devices"


def of_values(*values):
    columns = tuple(
        Column(NOON + timedelta(days=day), value, words(value)) for day, value in enumerate(values)
    )
    return plots.plot("Devices", columns)


def drawn(plot, **also):
    return render_to_string("plots/columns.html", {"plot": plot, **also})


# --- Where columns stand ---


def test_quarters_are_evenly_spaced_and_a_gap_is_zero():
    at = NOON - timedelta(minutes=40)  # in the quarter from 11:15
    columns = plots.quarters([(at, 2), (at + timedelta(minutes=1), 3)], until=NOON, count=4, label=words)
    assert [(column.at.strftime("%H:%M"), column.value, column.label) for column in columns] == [
        ("11:15", 5, "5 devices"),
        ("11:30", 0, "0 devices"),
        ("11:45", 0, "0 devices"),
        ("12:00", 0, "0 devices"),
    ]


def test_what_is_outside_the_time_is_left_out():
    outside = [(NOON - timedelta(minutes=45), 1), (NOON + timedelta(minutes=15), 1)]
    assert {column.value for column in plots.quarters(outside, until=NOON, count=3, label=words)} == {0}


def test_days_are_those_of_the_time_zone():
    vienna = ZoneInfo("Europe/Vienna")
    late = datetime(2026, 3, 3, 23, 30, tzinfo=UTC)  # 4 March, 00:30 in Vienna
    utc = plots.days([(late, 1)], until=NOON, count=2, label=words)
    there = plots.days([(late, 1)], until=NOON.astimezone(vienna), count=2, label=words)
    assert [column.value for column in utc] == [1, 0]
    assert [column.value for column in there] == [0, 1]


def test_no_day_is_lost_where_the_clock_changes():
    until = datetime(2026, 4, 1, 9, tzinfo=ZoneInfo("Europe/Vienna"))  # 29 March has 23 hours
    pairs = [(datetime(2026, 3, day, 12, tzinfo=UTC), 1) for day in range(26, 32)]
    columns = plots.days(pairs, until=until, count=7, label=words)
    assert [(column.at.day, column.value) for column in columns] == [
        (26, 1), (27, 1), (28, 1), (29, 1), (30, 1), (31, 1), (1, 0),
    ]  # fmt: skip


def test_quarters_of_any_time_zone_are_those_of_the_clock():
    kathmandu = NOON.astimezone(ZoneInfo("Asia/Kathmandu"))
    columns = plots.quarters([(NOON, 1)], until=kathmandu, count=1, label=words)
    assert [(column.at, column.value) for column in columns] == [(NOON.replace(minute=0, second=0), 1)]


def test_no_columns_are_wanted():
    assert plots.quarters([(NOON, 1)], until=NOON, count=0, label=words) == ()


# --- How they are drawn ---


def test_the_highest_column_reaches_the_top_and_half_of_it_half_way():
    plot = of_values(4, 0, 2)
    assert [(bar.x, bar.y, bar.height) for bar in plot.bars] == [
        (0, 0, HEIGHT),
        (2 * STEP, HEIGHT // 2, HEIGHT // 2),
    ]
    assert (plot.width, plot.top_label) == (3 * STEP, "4 devices")


def test_a_value_too_small_for_the_scale_is_still_seen():
    assert [bar.height for bar in of_values(1, 1_000_000).bars] == [LOWEST, HEIGHT]


@given(st.lists(st.floats(), max_size=200))
def test_every_bar_stands_on_the_line_and_inside_the_plot(values):
    plot = of_values(*values)
    for bar in plot.bars:
        assert bar.y + bar.height == plot.height
        assert 0 < bar.height <= plot.height
        assert bar.x >= 0 and bar.x + bar.width <= plot.width
        assert all(isinstance(number, int) for number in (bar.x, bar.y, bar.width, bar.height))


@pytest.mark.parametrize("values", [(), (0, 0), (-1,), (math.nan,), (math.inf,)])
def test_nothing_is_drawn_of_no_figures(values):
    plot = of_values(*values)
    assert plot.is_empty
    assert plot.bars == ()


# --- What the page says ---


class Elements(HTMLParser):
    """Collect the tags with their attributes, and the text of each."""

    def __init__(self, html):
        super().__init__()
        self.found, self.texts, self._open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        self._open.pop()

    def handle_data(self, data):
        self.texts.append((self._open[-1] if self._open else "", data))

    def all(self, tag):
        return [attrs for found, attrs in self.found if found == tag]


def test_the_drawing_has_a_name_and_a_description_and_a_table_beside_it():
    page = Elements(drawn(of_values(4, 0, 2)))
    (svg,) = page.all("svg")
    names = svg["aria-labelledby"].split()
    ids = {attrs["id"]: tag for tag, attrs in page.found if "id" in attrs}
    assert [ids[name] for name in names] == ["title", "desc"]
    assert svg["role"] == "img" and svg["viewbox"] == "0 0 12 100"
    assert len(page.all("rect")) == 2
    cells = [text for tag, text in page.texts if tag == "td"]
    assert cells == ["4 devices", "0 devices", "2 devices"]
    descriptions = [text for tag, text in page.texts if tag == "desc"]
    assert descriptions == ["Columns from 4 March to 6 March (UTC); the highest is 4 devices."]


def test_a_plot_of_quarters_says_the_hour():
    columns = plots.quarters([(NOON, 1)], until=NOON, count=2, label=words)
    assert "4 Mar, 12:00: 1 devices" in drawn(plots.plot("Devices", columns))


def test_everything_in_it_is_escaped():
    column = Column(NOON, 1, HOSTILE)
    html = drawn(Plot(HOSTILE, (column, column), HOSTILE)) + drawn(Plot(HOSTILE, (), ""), nothing=HOSTILE)
    page = Elements(html)
    assert page.all("script") == []
    assert "<script" not in html
    assert len([text for _, text in page.texts if HOSTILE in text]) >= 6


def test_there_is_no_style_or_script_in_it():
    page = Elements(drawn(of_values(4, 0, 2)))
    assert not [
        attrs for _, attrs in page.found if any(name == "style" or name.startswith("on") for name in attrs)
    ]
    assert page.all("style") == page.all("script") == []


def test_an_empty_plot_is_a_sentence():
    html = drawn(of_values(0, 0), nothing="Nobody was connected.")
    assert "Nobody was connected." in html
    assert "<svg" not in html and "<table" not in html
    assert "Nothing to show for this time yet." in drawn(of_values(0, 0))


def test_no_language_writes_a_number_that_svg_cannot_read():
    with translation.override("de"):
        html = drawn(of_values(*range(300)))
    numbers = re.findall(r' (?:x|y|width|height|viewBox|d)="([^"]*)"', html)
    assert numbers
    assert not [number for number in numbers if not re.fullmatch(r"[0-9 MH]+", number)]


def test_two_plots_of_a_page_share_no_id():
    assert of_values(1).name != Plot("Others", (), "").name
