"""Links that open one enrolment on another device: once, for ten minutes, while the session that made them lives."""

import base64
import hashlib
import itertools
from contextlib import closing
from datetime import timedelta
from threading import Thread

import psycopg2
import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.test import Client
from django.utils import timezone, translation

from peers import services
from peers.models import AuditEvent, EnrolLink, Interface, Peer, PeerKey
from peers.services.links import LIFETIME
from tests import rows
from tests.conftest import WEB
from tests.integration.test_services import (
    SOURCE,
    actor,
    at_once,
    break_at,
    everything,
    revoke,
    told,
    wait_for_a_lock,
)

RACERS = 20


@pytest.fixture
def wg0(database):
    return rows.interface()


@pytest.fixture
def alice(wg0):
    return rows.person("alice")


@pytest.fixture
def browser(alice):
    """Return a client in which alice has signed in."""
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def session(browser):
    return browser.session.session_key


def make(person, on, session, at=None):
    """Return the token of a new link."""
    values = {"owner": person, "interface": on, "session_key": session, "at": at or timezone.now()}
    return services.make_link(actor=actor(person), **values)[1]


@pytest.fixture
def token(alice, wg0, session):
    return make(alice, wg0, session)


def redeem(token, key=None, at=None, name="phone"):
    return services.redeem(
        token=token, public_key=key or rows.public_key(), name=name, platform="ios", source=SOURCE, at=at or timezone.now()
    )  # fmt: skip


def state():
    return [*everything(), list(EnrolLink.objects.order_by("pk").values())]


def invalid(*arguments, **options):
    """See the link refused, and nothing changed."""
    before = state()
    with pytest.raises(services.LinkInvalid):
        redeem(*arguments, **options)
    assert state() == before


# --- The token ---


def test_a_token_has_two_hundred_and_fifty_six_random_bits_and_no_two_are_alike(alice, wg0, session):
    tokens = [make(alice, wg0, session) for _ in range(20)]
    raw = [base64.urlsafe_b64decode(token + "=") for token in tokens]
    assert {len(value) for value in raw} == {32}
    assert len(set(raw)) == 20


def test_only_the_tokens_hash_is_kept_and_no_text_of_the_link_tells_it(alice, wg0, session, database):
    values = {"owner": alice, "interface": wg0, "session_key": session, "at": timezone.now()}
    link, token = services.make_link(actor=actor(alice), **values)
    assert EnrolLink.objects.get().token_hash == hashlib.sha256(token.encode()).hexdigest()
    redeem(token)
    tables = database.sql("SELECT format('%I', tablename) FROM pg_tables WHERE schemaname = 'public'").split()
    dump = "".join(database.sql(f"SELECT to_jsonb(t) FROM {table} t") for table in tables)
    assert link.token_hash in dump
    for text in (dump, repr(link), str(link), repr(vars(link)), repr(AuditEvent.objects.all())):
        assert token not in text


@pytest.mark.parametrize("token", ["", "x", "a" * 43, "\ud800", "\x00", "é" * 1000])
def test_what_was_never_made_is_no_longer_valid(token, browser):
    invalid(token)


# --- Once ---


def test_a_link_enrols_one_device_in_its_owners_name(alice, wg0, token):
    key = rows.public_key()
    enrolled = redeem(token, key)
    peer = Peer.objects.entitled(timezone.now()).get()
    assert (enrolled.peer, enrolled.created) == (peer, True)
    assert (peer.owner, peer.interface, peer.name, peer.platform) == (alice, wg0, "phone", "ios")
    assert peer.key.public_key == key
    link = EnrolLink.objects.get()
    assert link.peer == peer
    assert link.used_at is not None


def test_a_used_link_is_no_longer_valid_for_another_key(token):
    redeem(token)
    invalid(token)


def test_the_same_key_again_gets_the_same_answer(token):
    key = rows.public_key()
    first = redeem(token, key)
    before = state()
    again = redeem(token, key)
    assert (again.peer, again.created) == (first.peer, False)
    assert state() == before


def test_the_same_key_again_gets_nothing_once_it_was_revoked_or_replaced(alice, wg0, session, subtests):
    for how in ("revoked", "replaced"):
        with subtests.test(how):
            token, key = make(alice, wg0, session), rows.public_key()
            peer = redeem(token, key).peer
            if how == "revoked":
                revoke(peer, alice)
            else:
                services.replace_key(
                    actor=actor(alice), peer=peer, public_key=rows.public_key(), at=timezone.now()
                )
            invalid(token, key)


def test_of_twenty_who_redeem_a_link_at_once_with_different_keys_one_gets_a_device(token):
    answers = at_once(RACERS, lambda: told(lambda: redeem(token).created))
    assert sorted(map(str, answers)) == ["LinkInvalid"] * (RACERS - 1) + ["True"]
    assert (Peer.objects.count(), PeerKey.objects.count()) == (1, 1)
    assert AuditEvent.objects.filter(action="use_link").count() == 1


def test_of_twenty_who_redeem_a_link_at_once_with_the_same_key_all_get_the_same_device(token):
    key = rows.public_key()
    answers = at_once(RACERS, lambda: told(lambda: redeem(token, key)))
    assert {answer.peer.pk for answer in answers} == {Peer.objects.get().pk}
    assert [answer.created for answer in answers].count(True) == 1


# --- For ten minutes ---


def test_a_link_lasts_ten_minutes_and_no_longer(alice, wg0, session):
    at = timezone.now()
    assert timedelta(minutes=10) == LIFETIME
    token = make(alice, wg0, session, at=at)
    invalid(token, at=at + LIFETIME)
    redeem(token, at=at + LIFETIME - timedelta(seconds=1))


def test_a_used_link_answers_again_no_longer_than_it_lasts(alice, wg0, session):
    at, key = timezone.now(), rows.public_key()
    token = make(alice, wg0, session, at=at)
    redeem(token, key, at=at)
    invalid(token, key, at=at + LIFETIME)


# --- While its session lives ---


def end_session(session):
    SessionStore(session).delete()


def expire_session(session):
    Session.objects.filter(pk=session).update(expire_date=timezone.now())


def clear_sessions(session):
    expire_session(session)
    call_command("clearsessions")


@pytest.mark.parametrize("end", [end_session, expire_session, clear_sessions])
def test_a_link_dies_with_the_session_that_made_it(token, session, end):
    end(session)
    invalid(token)


def test_a_link_dies_when_its_maker_signs_out_or_in_again(alice, wg0, browser, subtests):
    for how, act in {"out": browser.logout, "in again": lambda: browser.force_login(rows.person())}.items():
        with subtests.test(how):
            browser.force_login(alice)
            token = make(alice, wg0, browser.session.session_key)
            act()
            invalid(token)
            assert not EnrolLink.objects.exists()


def test_another_session_of_the_same_person_keeps_its_link(alice, wg0, session):
    other = Client()
    other.force_login(alice)
    kept = make(alice, wg0, other.session.session_key)
    make(alice, wg0, session)
    end_session(session)
    assert redeem(kept).created


def test_a_second_link_of_a_session_kills_the_first_unless_that_was_used(alice, wg0, session):
    first, key = make(alice, wg0, session), rows.public_key()
    second = make(alice, wg0, session)
    invalid(first)
    peer = redeem(second, key).peer
    make(alice, wg0, session)
    assert redeem(second, key).peer == peer


def test_of_links_that_a_session_makes_at_once_one_lives(alice, wg0, session):
    tokens = at_once(10, lambda: told(lambda: make(alice, wg0, session)))
    answers = [told(lambda token=token: redeem(token).created) for token in tokens]
    assert sorted(map(str, answers)) == ["LinkInvalid"] * 9 + ["True"]


def test_making_and_redeeming_links_at_once_never_wait_for_each_other_for_ever(alice, wg0, session):
    Interface.objects.update(device_limit=1000)
    wg0.refresh_from_db()
    tokens = [make(alice, wg0, session)]
    turns = itertools.count()

    def act():
        if next(turns) % 2:
            tokens.append(make(alice, wg0, session))
        else:
            redeem(tokens[-1])

    answers = [answer for _ in range(5) for answer in at_once(8, lambda: told(act))]
    assert set(answers) <= {None, "LinkInvalid"}
    assert (
        Peer.objects.count()
        == EnrolLink.objects.exclude(peer=None).count()
        == AuditEvent.objects.filter(action="use_link").count()
    )


def test_no_link_is_made_for_a_session_that_is_over(alice, wg0, session):
    for end in (expire_session, end_session):
        end(session)
        before = state()
        with pytest.raises(services.LinkInvalid):
            make(alice, wg0, session)
        assert state() == before


def test_signing_out_while_a_link_is_made_ends_the_session_and_the_link(alice, wg0, session, database):
    answers = []
    with closing(psycopg2.connect(database.url(WEB))) as other, other.cursor() as cursor:
        cursor.execute("SELECT FROM django_session FOR NO KEY UPDATE")
        cursor.execute(
            "INSERT INTO peers_enrollink (id, token_hash, owner_id, interface_id, session_id, made_at, expires_at)"
            " VALUES (gen_random_uuid(), 'x', %s, %s, %s, now(), now())",
            [alice.pk, wg0.pk, session],
        )
        leaving = Thread(target=lambda: answers.append(told(lambda: end_session(session))))
        leaving.start()
        wait_for_a_lock(database)
        other.commit()
        leaving.join(10)
    assert answers == [None]
    assert not EnrolLink.objects.exists()
    assert not Session.objects.filter(pk=session).exists()


def test_a_link_that_is_made_while_its_maker_signs_out_is_not_made(alice, wg0, session, database):
    answers = []
    with closing(psycopg2.connect(database.url(WEB))) as leaving, leaving.cursor() as cursor:
        cursor.execute("DELETE FROM django_session WHERE session_key = %s", [session])
        maker = Thread(target=lambda: answers.append(told(lambda: make(alice, wg0, session))))
        maker.start()
        wait_for_a_lock(database)
        leaving.commit()
        maker.join(10)
    assert answers == ["LinkInvalid"]
    assert not EnrolLink.objects.exists()


def test_signing_out_while_a_link_is_redeemed_waits_for_the_device(session, token, database):
    answers = {}
    with closing(psycopg2.connect(database.url(WEB))) as other, other.cursor() as cursor:
        cursor.execute("SELECT FROM peers_interface FOR UPDATE")
        acts = {"redeemed": lambda: redeem(token), "signed out": lambda: end_session(session)}
        threads = []
        for waiters, (name, act) in enumerate(acts.items(), start=1):
            threads.append(Thread(target=lambda name=name, act=act: answers.update({name: told(act)})))
            threads[-1].start()
            wait_for_a_lock(database, waiters)
        other.commit()
        for thread in threads:
            thread.join(10)
    assert answers == {"redeemed": services.Enrolled(Peer.objects.get(), created=True), "signed out": None}
    assert not EnrolLink.objects.exists()


# --- While its owner may ---


def test_a_link_dies_while_its_owner_is_suspended(alice, token):
    boss = rows.person("boss")
    services.suspend_person(actor=actor(boss), person=alice, at=timezone.now(), reason="left")
    invalid(token)


def test_a_link_that_its_owner_loses_while_it_is_redeemed_enrols_nothing(alice, token, database):
    answers = []
    with closing(psycopg2.connect(database.url(WEB))) as other, other.cursor() as cursor:
        cursor.execute("UPDATE portal_user SET is_active = false WHERE id = %s", [alice.pk])
        racer = Thread(target=lambda: answers.append(told(lambda: redeem(token))))
        racer.start()
        wait_for_a_lock(database)
        other.commit()
        racer.join(10)
    assert answers == ["LinkInvalid"]
    assert not Peer.objects.exists()


REFUSALS = {
    "the device limit": ({"device_limit": 0}, services.PeerLimit),
    "the pool": ({"next_host": 1 << 62}, services.NoFreeAddress),
    "the group": ({"enrol_groups": ["others"]}, services.NotEntitled),
}


@pytest.mark.parametrize("case", list(REFUSALS))
def test_a_refused_enrolment_leaves_the_link_as_it_was(alice, wg0, token, database, case):
    fields, refusal = REFUSALS[case]
    sound = {name: getattr(wg0, name) for name in fields}
    Interface.objects.update(**fields)
    before = state()
    with pytest.raises(refusal):
        redeem(token)
    assert state() == before
    database.sql("ALTER TABLE peers_interface DISABLE TRIGGER USER")
    Interface.objects.update(**sound)
    assert redeem(token).created


def test_a_key_that_is_refused_leaves_the_link_as_it_was(alice, wg0, token):
    used = rows.peer(rows.person("bob"), wg0).key.public_key
    with pytest.raises(services.KeyInUse):
        redeem(token, used)
    assert redeem(token).created


# --- What is on record ---


def test_the_audit_says_who_made_a_link_and_what_it_enrolled(alice, wg0, token):
    link = EnrolLink.objects.get()
    peer = redeem(token).peer
    made, enrolled, used = AuditEvent.objects.order_by("pk")
    assert [event.action for event in (made, enrolled, used)] == ["make_link", "enrol", "use_link"]
    for event in (made, enrolled, used):
        assert (event.actor, event.person, event.interface, event.source) == (alice, alice, wg0, SOURCE)
    assert [event.peer for event in (made, enrolled, used)] == [None, peer, peer]
    assert made.new == used.new == {"link": str(link.pk)}


STEPS = [
    "DELETE peers_freednumber", "INSERT peers_peerkey", "INSERT peers_peer", "INSERT peers_auditevent",
    "UPDATE peers_enrollink",
]  # fmt: skip


def test_a_redemption_that_dies_at_a_step_never_happened_and_can_be_made_again(token, database, subtests):
    before, key = state(), rows.public_key()
    for step in STEPS:
        with subtests.test(step):
            event, table = step.split()
            break_at(database, table, event)
            assert told(lambda: redeem(token, key)) == "OperationalError"
            assert state() == before
            database.sql(f"DROP TRIGGER broken ON {table}")
    assert redeem(token, key).created


# --- What a refusal says ---


def test_a_refusal_is_a_plain_sentence_in_every_language(subtests):
    for refusal in (services.Refused, *services.Refused.__subclasses__()):
        for language in ("en-gb", "de"):
            with subtests.test(f"{refusal.__name__} {language}"), translation.override(language):
                said = str(refusal())
                assert type(said) is str
                assert said.endswith(".")
                assert said in repr(refusal())
