"""A client's address is what the trusted proxies say, never what the client says."""

import pytest

from portal.source import address


@pytest.mark.parametrize(
    ("forwarded", "hops", "expected"),
    [
        ("", 0, "192.0.2.1"),
        ("198.51.100.9", 0, "192.0.2.1"),  # no proxy is trusted, so the header is the client's own claim
        ("198.51.100.9", 1, "198.51.100.9"),
        ("10.9.9.9, 198.51.100.9", 1, "198.51.100.9"),  # the claim stands left of what the proxy appended
        ("10.9.9.9, 198.51.100.9, 203.0.113.5", 2, "198.51.100.9"),
        ("198.51.100.9", 2, "192.0.2.1"),  # it did not come through both proxies
        ("", 1, "192.0.2.1"),
        ("2001:db8::1", 1, "2001:db8::1"),
        ("::ffff:198.51.100.9", 1, "198.51.100.9"),
        ("not an address", 1, None),
        ("unknown", 1, None),
    ],
)
def test_the_address_is_the_one_that_the_last_trusted_proxy_heard(forwarded, hops, expected):
    assert address("192.0.2.1", forwarded, hops=hops) == expected


def test_a_unix_socket_has_no_address():
    assert address("", "", hops=0) is None
