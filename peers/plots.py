"""Lay out a plot of columns over time, for a template to draw as SVG. Pure: knows no database, page or language."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from zlib import crc32

QUARTER = timedelta(minutes=15)
DAY = timedelta(days=1)

# In units of the viewBox, which the page stretches to its own size. Whole numbers: no language writes them otherwise.
STEP = 4
BAR = 3
HEIGHT = 100
LOWEST = 2  # what is more than nothing can be seen

Pairs = Iterable[tuple[datetime, float]]
Label = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Column:
    """What was counted from ``at`` on; ``label`` is the value in words, such as "3 devices"."""

    at: datetime
    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A column where it stands, in units of the viewBox; y counts downwards, as in SVG."""

    column: Column
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Plot:
    """Columns in the order of time, evenly spaced; ``top_label`` is the highest value in words.

    All its text may be hostile: the template escapes it.
    """

    title: str
    columns: tuple[Column, ...]
    top_label: str

    @property
    def name(self) -> str:
        """A name for ids on the page, the same each time; plots of one page have different titles."""
        return f"plot-{crc32(self.title.encode(errors='replace')):08x}"

    @property
    def is_empty(self) -> bool:
        return self._top == 0

    @property
    def of_days(self) -> bool:
        """Whether a column stands for a day, so that its date alone says when."""
        return len(self.columns) > 1 and self.columns[1].at - self.columns[0].at >= DAY

    @property
    def width(self) -> int:
        return len(self.columns) * STEP

    @property
    def height(self) -> int:
        return HEIGHT

    @property
    def bars(self) -> tuple[Bar, ...]:
        """The columns that are more than nothing, as bars that stand on the base line."""
        return tuple(
            _bar(number, column, self._top)
            for number, column in enumerate(self.columns)
            if _drawn(column.value)
        )

    @property
    def first(self) -> Column:
        return self.columns[0]

    @property
    def last(self) -> Column:
        return self.columns[-1]

    @property
    def _top(self) -> float:
        return max((_drawn(column.value) for column in self.columns), default=0)


def quarters(pairs: Pairs, *, until: datetime, count: int, label: Label) -> tuple[Column, ...]:
    """Return ``count`` columns of a quarter of an hour each, the last one that in which ``until`` is.

    ``pairs`` are (at, value) in any order; those in one quarter are added up, a quarter without any is zero, those
    outside are left out. ``label`` makes a value's words.
    """
    until = until.astimezone(UTC)  # where no hour comes twice
    end = until.replace(minute=until.minute // 15 * 15, second=0, microsecond=0)
    return _columns(pairs, [end - QUARTER * back for back in reversed(range(count))], QUARTER, label)


def days(pairs: Pairs, *, until: datetime, count: int, label: Label) -> tuple[Column, ...]:
    """Return ``count`` columns of a day each, the last one that in which ``until`` is; else as ``quarters``.

    The days are those of ``until``'s time zone.
    """
    end = until.replace(hour=0, minute=0, second=0, microsecond=0)
    return _columns(pairs, [end - DAY * back for back in reversed(range(count))], DAY, label)


def plot(title: str, columns: tuple[Column, ...]) -> Plot:
    """Return the plot of ``columns``, its top label that of the highest."""
    highest = max(columns, key=lambda column: _drawn(column.value), default=None)
    return Plot(title, columns, highest.label if highest else "")


def _columns(pairs: Pairs, begins: list[datetime], step: timedelta, label: Label) -> tuple[Column, ...]:
    sums = _sums(pairs, begins, step)
    return tuple(Column(at, sums[at], label(sums[at])) for at in begins)


def _sums(pairs: Pairs, begins: list[datetime], step: timedelta) -> Mapping[datetime, float]:
    """Return the sum of the values at each beginning. Both sides of it are in one zone, which has its days' length."""
    sums: dict[datetime, float] = dict.fromkeys(begins, 0)
    for at, value in pairs:
        if begins:
            begin = begins[0] + (at.astimezone(begins[0].tzinfo) - begins[0]) // step * step
            if begin in sums:
                sums[begin] += value
    return sums


def _bar(number: int, column: Column, top: float) -> Bar:
    height = max(LOWEST, round(_drawn(column.value) / top * HEIGHT))
    return Bar(column, x=number * STEP, y=HEIGHT - height, width=BAR, height=height)


def _drawn(value: float) -> float:
    """Return what is drawn of a value: nothing of a negative one, or of one that no paper holds."""
    return value if isfinite(value) and value > 0 else 0
