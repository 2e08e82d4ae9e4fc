"""The looks that the suite leaves out: each page, both schemes, both widths, both languages, for barriers."""

import itertools

import pytest

from tests.browser.conftest import chromium, real_interfaces, rows_of_the_stack, stack  # noqa: F401  # fixtures
from tests.browser.test_accessibility import LOOKS, barriers, cookies, visits, world  # noqa: F401

OTHERS = sorted(set(itertools.product(("light", "dark"), (360, 1280), ("en-GB", "de"))) - set(LOOKS))


@pytest.mark.parametrize("look", OTHERS, ids=lambda look: "-".join(map(str, look)))
def test_no_page_has_a_barrier_that_can_be_found(world, chromium, stack, cookies, look):  # noqa: F811
    found = [
        f"{name}: {problem}"
        for name, page in visits(world, chromium, stack, cookies, look)
        for problem in barriers(page, stack)
    ]
    assert not found, "\n".join(found)
