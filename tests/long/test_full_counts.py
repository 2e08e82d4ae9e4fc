"""What the suite tries a hundred times, tried a million times; EXAMPLES changes the number."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_config import test_a_config_is_refused_or_follows_the_grammar  # noqa: F401
from tests.unit.test_gather import some_rows, test_wg_sees_only_valid_values_inside_the_pool

EXAMPLES = int(os.environ.get("EXAMPLES", "1000000"))
ROWS = 4  # at least, in one example

test_wg_sees_only_valid_values_of_a_million_rows = settings(max_examples=EXAMPLES // ROWS)(
    given(st.lists(some_rows, min_size=ROWS, max_size=2 * ROWS))(
        test_wg_sees_only_valid_values_inside_the_pool.hypothesis.inner_test
    )
)
del test_wg_sees_only_valid_values_inside_the_pool
