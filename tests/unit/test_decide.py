"""The brake and the first contact, as tables of cases."""

from datetime import UTC, datetime, timedelta

import pytest

from peers.gateway.decide import Brake, decide, spoken
from peers.wireguard.state import ObservedPeer, PeerSettings

AT = datetime(2026, 1, 1, tzinfo=UTC)
EARLIER = AT - timedelta(hours=1)
SETTINGS = PeerSettings(frozenset())
SEEN = ObservedPeer(SETTINGS, None, None, 0, 0)


def keys(count, prefix="key"):
    return [f"{prefix}{number}" for number in range(count)]


def decided(*, wanted=(), on=(), **options):
    options = {
        "left_alone": (),
        "explained": (),
        "brake": Brake(),
        "released": False,
        "on_interface": len(on),
        "at": AT,
        **options,
    }
    return decide(dict.fromkeys(wanted, SETTINGS), dict.fromkeys(on, SEEN), **options)


def test_explained_removals_are_never_held():
    decision = decided(on=keys(1000), explained=keys(1000))
    assert (len(decision.changes.remove), decision.held, decision.brake.at) == (1000, frozenset(), None)


@pytest.mark.parametrize(
    ("on_interface", "extra", "held"),
    [
        (10, 5, False),
        (10, 6, True),
        (100, 5, False),
        (101, 6, True),
        (200, 10, False),
        (200, 11, True),
        (10_000, 500, False),
        (10_000, 501, True),
    ],
)
def test_more_than_five_and_five_per_cent_unexplained_are_all_held(on_interface, extra, held):
    decision = decided(on=keys(extra, "extra"), on_interface=on_interface)
    assert (len(decision.held), len(decision.changes.remove)) == ((extra, 0) if held else (0, extra))
    assert decision.brake.at == (AT if held else None)


def test_unexplained_removals_add_up_until_the_operators_word():
    decision = decided(on=["rogue"], on_interface=10, brake=Brake(unexplained=5))
    assert decision.held == {"rogue"}


def test_explained_ones_go_while_the_brake_holds_the_rest():
    decision = decided(on=[*keys(6), "revoked"], explained=["revoked"])
    assert (decision.changes.remove, len(decision.held)) == ({"revoked"}, 6)


def test_the_brake_holds_on_when_fewer_are_left_than_the_limit():
    decision = decided(on=keys(2), brake=Brake(at=EARLIER))
    assert (len(decision.held), decision.brake.at) == (2, EARLIER)


def test_the_brake_lets_go_by_itself_when_nothing_is_unexplained_any_more():
    decision = decided(wanted=keys(10), on=keys(10), brake=Brake(at=EARLIER, unexplained=1))
    assert (decision.held, decision.brake) == (frozenset(), Brake(unexplained=1))


def test_the_operators_word_lets_go_what_was_held_and_counts_afresh():
    brake, released = spoken(Brake(unexplained=4, at=EARLIER), AT)
    decision = decided(on=keys(50), brake=brake, released=released)
    assert (len(decision.changes.remove), decision.brake) == (50, Brake(released_at=AT))


def test_a_word_given_while_nothing_was_held_lets_nothing_go_later():
    brake, released = spoken(Brake(unexplained=4), AT)
    assert (brake.unexplained, released) == (0, False)
    assert len(decided(on=keys(6), brake=brake, released=released).held) == 6


def test_a_word_is_acted_on_once():
    assert spoken(Brake(at=EARLIER, released_at=AT), AT) == (Brake(at=EARLIER, released_at=AT), False)


def test_unknown_peers_of_the_first_contact_are_left_alone_and_not_counted():
    decision = decided(on=keys(50), left_alone=set(keys(50)))
    assert (decision.changes, decision.brake.unexplained) == (decided().changes, 0)


def test_a_peer_left_alone_that_was_enrolled_and_then_revoked_is_removed():
    assert decided(on=["a"], left_alone={"a"}, explained={"a"}).changes.remove == {"a"}


def test_a_peer_left_alone_is_managed_once_it_is_wanted():
    other = PeerSettings(frozenset(), persistent_keepalive=1)
    decision = decide({"a": other}, {"a": SEEN}, left_alone={"a"}, explained=(), brake=Brake(), released=False,
                      on_interface=1, at=AT)  # fmt: skip
    assert decision.changes.update == {"a": other}


def test_a_look_at_some_peers_leaves_what_is_unexplained_to_the_next_full_pass():
    decision = decided(
        on=["odd", "revoked"], explained=["revoked"], on_interface=None, brake=Brake(at=EARLIER)
    )
    assert (decision.changes.remove, decision.held, decision.brake) == (
        {"revoked"},
        frozenset(),
        Brake(at=EARLIER),
    )
