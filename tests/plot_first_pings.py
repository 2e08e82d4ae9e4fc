"""Draw docs/images/first-ping.svg from the samples that the benchmark kept: ``python -m tests.plot_first_pings FILE``."""

import json
import math
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEFT, TOP, WIDTH, HEIGHT = 60, 30, 620, 240
LEAST, MOST = 1.0, 100.0  # milliseconds, as powers of ten across
NAMES = {
    "push 4": "always on, IPv4",
    "push 6": "always on, IPv6",
    "on_demand 4": "on demand, IPv4",
    "on_demand 6": "on demand, IPv6",
}
STYLE = """
    :root { --ink: #1a211f; --quiet: #56615d; --line: #c3cbc7; --on: #1d5c57; --demand: #b1530f }
    @media (prefers-color-scheme: dark) { :root { --ink: #e6ebe8; --quiet: #a0aca7; --line: #3d4743; --on: #7fcabf; --demand: #f0a35e } }
    text { fill: var(--quiet); font-size: 13px } .title { fill: var(--ink); font-weight: 650; font-size: 15px }
    .grid { stroke: var(--line) } path { fill: none; stroke-width: 2 } .push { stroke: var(--on) } .on_demand { stroke: var(--demand) }
    .v6 { stroke-dasharray: 6 4 } .goal { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 2 3 }"""


def main() -> None:
    samples = json.loads(Path(sys.argv[1]).read_text())
    (ROOT / "docs" / "images" / "first-ping.svg").write_text(drawing(samples))


def drawing(samples: dict[str, list[float]]) -> str:
    count = len(next(iter(samples.values())))
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 350" role="img" aria-labelledby="title desc" '
        'font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif">\n'
        '  <title id="title">From the first packet to the first reply</title>\n'
        f'  <desc id="desc">Share of {count} first pings that were answered within so many milliseconds. {_described(samples)}</desc>\n'
        f"  <style>{STYLE}\n  </style>\n"
        f'  <text class="title" x="{LEFT}" y="18">Share of first pings answered within …, n = {count} each</text>\n'
    )
    return text + _grid() + "".join(_curve(*each) for each in enumerate(samples.items())) + "</svg>\n"


def _described(samples: dict[str, list[float]]) -> str:
    return " ".join(
        f"{NAMES[name]}: half within {sorted(values)[len(values) // 2] * 1000:.1f}, all within {max(values) * 1000:.1f}."
        for name, values in samples.items()
    )


def _x(milliseconds: float) -> float:
    return LEFT + WIDTH * math.log10(max(LEAST, min(MOST, milliseconds)) / LEAST) / math.log10(MOST / LEAST)


def _y(share: float) -> float:
    return TOP + HEIGHT * (1 - share)


def _grid() -> str:
    lines = []
    for milliseconds in (1, 2, 5, 10, 20, 50, 100):
        x = _x(milliseconds)
        lines.append(f'  <line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{TOP + HEIGHT}"/>')
        lines.append(
            f'  <text x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{milliseconds} ms</text>'
        )
    for share in (0, 0.5, 1):
        lines.append(
            f'  <line class="grid" x1="{LEFT}" y1="{_y(share):.1f}" x2="{LEFT + WIDTH}" y2="{_y(share):.1f}"/>'
        )
        lines.append(f'  <text x="{LEFT - 8}" y="{_y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    return "\n".join(lines) + "\n"


def _curve(number: int, named: tuple[str, list[float]]) -> str:
    name, values = named
    kind, version = name.split()
    points = [(_x(value * 1000), _y((place + 1) / len(values))) for place, value in enumerate(sorted(values))]
    path = f"M{points[0][0]:.1f} {_y(0):.1f}" + "".join(f"V{y:.1f}H{x:.1f}" for x, y in points)
    x, y = LEFT + 160 * number, TOP + HEIGHT + 50
    style = f'class="{kind} v{version}"'
    return (
        f'  <path {style} d="{path}"/>\n  <path {style} d="M{x} {y - 4}h24"/>\n'
        f'  <text x="{x + 30}" y="{y}">{NAMES[name]}</text>\n'
    )


if __name__ == "__main__":
    main()
