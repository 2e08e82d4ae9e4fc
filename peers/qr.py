"""Draw a text as a QR code: black on white in every colour scheme, in whole pixels, with no style that a CSP forbids."""

from dataclasses import dataclass, field

from qrcode import QRCode
from qrcode.constants import ERROR_CORRECT_M

QUIET = 4  # modules of white around it, ISO/IEC 18004
MODULE = 5  # CSS pixels; below 4, or at a fraction, readers fail


@dataclass(frozen=True, slots=True)
class Code:
    """A code for an ``<svg>``: ``modules`` a side, ``side`` in CSS pixels, ``path`` the black ones in module units."""

    modules: int
    path: str = field(repr=False)

    @property
    def side(self) -> int:
        return self.modules * MODULE


def draw(text: str) -> Code:
    """Return the code of ``text``, its quiet zone included."""
    code = QRCode(error_correction=ERROR_CORRECT_M, border=QUIET)
    code.add_data(text)
    matrix = code.get_matrix()
    return Code(len(matrix), "".join(_run(row, y) for y, row in enumerate(matrix)))


def _run(row: list[bool], y: int) -> str:
    """Return the black modules of a row, side by side as one rectangle: seams would show between single squares."""
    starts = [
        x for x, black in enumerate(row) if black and not row[x - 1]
    ]  # the quiet zone stands at both ends
    return "".join(f"M{x} {y}h{row.index(False, x) - x}v1H{x}z" for x in starts)
