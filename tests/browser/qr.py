"""Read a QR code from a picture of the screen, as two different phones would."""

import subprocess
from pathlib import Path

import cv2
from playwright.sync_api import Page


def photograph(page: Page, path: Path) -> Path:
    """Take a picture of what the page shows of the code, with the page around it."""
    page.locator(".qr svg").scroll_into_view_if_needed()
    page.screenshot(path=path)
    return path


def by_zbar(picture: Path) -> str:
    command = ["zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", "--oneshot", str(picture)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout


def by_opencv(picture: Path) -> str:
    """Return what OpenCV reads, at the first size and with the first finder that succeed; empty if none does.

    Its finders miss 2 % of codes that are drawn without any fault; a phone looks at many frames for the same reason.
    """
    seen = cv2.imread(str(picture))
    for scale in (1, 0.75, 1.5):
        frame = (
            cv2.resize(seen, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale != 1 else seen
        )
        for finder in (cv2.QRCodeDetector, cv2.QRCodeDetectorAruco):
            if text := finder().detectAndDecode(frame)[0]:
                return text
    return ""
