"""What asks for a stronger or a more recent sign-in: enrolling, the administration, and each act there."""

import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from peers import services
from peers.models import ApiToken, AuditEvent, EnrolLink, Peer
from portal import assurance, break_glass
from portal.models import User
from portal.oidc_config import Requirement
from tests import rows
from tests.integration.conftest import use_providers
from tests.integration.pages import JSON, enrolment, enter, kept, signed_in
from tests.integration.provider_double import Double
from tests.integration.sign_in import depart, sign_in

pytestmark = pytest.mark.usefixtures("database")

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
ASKED = "Confirm that it is you"
REFUSED = "Your sign-in does not meet what is asked for here"


@pytest.fixture
def configure(settings):
    """Return a function that lets the portal use a provider double with ``changes``, and returns the double."""
    made = []

    def use(**changes):
        made.append(Double())
        admins = {"admin_groups": frozenset({"employees"}), **changes}
        use_providers(settings, (made[-1].provider(**admins),))
        return made[-1]

    yield use
    for double in made:
        double.close()


def says(double, auth_age=0, **claims):
    """Let the double say how its person signed in: ``auth_age`` seconds ago."""
    double.id_token |= {"auth_time": int(time.time()) - auth_age, **claims}


def proved_ago(browser, **ago):
    """Let the person of the browser have proved who they are so long ago."""
    session = browser.session
    session[assurance.KEY] |= {"auth_time": (timezone.now() - timedelta(**ago)).isoformat()}
    session.save()


def query_of(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def is_asked(answer):
    return answer.status_code == 403 and f"<h1>{ASKED}</h1>" in answer.content.decode()


# --- What is kept of a sign-in ---


def test_a_sign_in_leaves_in_the_session_how_it_was_proved(configure):
    double, client = configure(), Client()
    says(double, acr="gold", amr=["pwd", "hwk"])
    double.sign_in(client)
    how = assurance.kept(client.session)
    assert (how.provider, how.acr, how.amr) == ("double", "gold", {"pwd", "hwk"})
    assert int(how.auth_time.timestamp()) == double.id_token["auth_time"]


def test_the_demos_provider_says_when_its_person_signed_in(provider):
    client = Client()
    sign_in(client, "alice")
    assert timezone.now() - assurance.kept(client.session).auth_time < MINUTE


def test_another_person_in_the_same_browser_has_proved_nothing_by_the_first_ones_sign_in(configure):
    double, client = configure(), Client()
    says(double, acr="gold")
    double.sign_in(client)
    double.is_person("person-2")
    del double.id_token["acr"], double.id_token["auth_time"]
    double.sign_in(client)
    assert assurance.kept(client.session).acr == ""
    assert assurance.kept(client.session).auth_time is None


# --- Enrolling ---


def test_enrolling_takes_what_the_provider_is_asked_for(configure, subtests):
    double = configure(enrol_requires=Requirement(acr=("gold",), max_age=HOUR))
    says(double, acr="silver")
    client, wg0 = Client(), rows.interface()
    double.sign_in(client)
    owner = User.objects.get()
    peer = rows.peer(owner, wg0)
    page = {"headers": {"referer": "http://testserver/?interface=wg0"}}
    before = kept()
    for path, form in (
        ("/", enrolment()),
        (f"/devices/{peer.pk}/replace-key", {"public_key": rows.public_key()}),
        ("/devices/link", {}),
        ("/accounts/tokens/", {"name": "script", "scopes": "peers:enrol", "days": "1"}),
    ):
        with subtests.test(path):
            shown = client.post(path, form, **page)
            assert is_asked(shown)
            text = shown.content.decode()
            assert '<input type="hidden" name="purpose" value="enrol">' in text
            assert '<input type="hidden" name="next" value="/?interface=wg0">' in text
            assert 'action="/accounts/oidc/double/login/"' in text
            told = client.post(path, form, headers={**JSON, **page["headers"]})
            assert told.status_code == 403
            assert told.json()["error"] == {
                "code": "confirmation_needed",
                "message": "Confirm that it is you first.",
                "location": "/accounts/confirm/?purpose=enrol&next=%2F%3Finterface%3Dwg0",
            }
    assert (kept(), EnrolLink.objects.count(), ApiToken.objects.count()) == (before, 0, 0)
    for path in ("/", f"/devices/{peer.pk}/replace-key", "/accounts/tokens/"):
        assert client.get(path).status_code == 200
    says(double, acr="gold")
    assert double.sign_in(client, "/?interface=wg0", purpose="enrol")["Location"] == "/?interface=wg0"
    assert client.post("/", enrolment(name="Second")).status_code == 303
    assert client.post("/devices/link").status_code == 200
    proved_ago(client, seconds=3601)
    assert is_asked(client.post("/devices/link"))


def test_nothing_is_asked_where_nothing_is_required(configure):
    double, client = configure(), Client()
    rows.interface()
    double.sign_in(client)
    assert client.post("/", enrolment()).status_code == 303


@pytest.mark.parametrize(
    "referer",
    ["", "https://evil.example/enrol/", "//evil.example/enrol/", "http://testserver.evil.example/enrol/"],
)
def test_a_confirmation_leads_to_a_page_of_ours(configure, referer):
    browser = enter(Client(headers={"referer": referer}), rows.person())
    double = configure(enrol_requires=Requirement(acr=("gold",)))
    User.objects.update(issuer=double.issuer)
    assert '<input type="hidden" name="next" value="/">' in browser.post("/", {}).content.decode()


# --- The administration ---


def test_every_page_of_the_administration_takes_what_it_requires(configure, subtests):
    double, client = configure(admin_requires=Requirement(amr=("hwk",))), Client()
    says(double, amr=["pwd"])
    double.sign_in(client)
    for path in (
        "/admin/",
        "/admin/peers/peer/",
        "/admin/peers/auditevent/",
        "/admin/nothing",
        "/admin/jsi18n/",
    ):
        with subtests.test(path):
            shown = client.get(f"{path}?a=b")
            assert is_asked(shown)
            assert f'name="next" value="{path}?a=b"' in shown.content.decode()
    assert client.get("/").status_code == 200
    says(double, amr=["pwd", "hwk"])
    assert double.sign_in(client, "/admin/", purpose="admin")["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_the_administrations_requirement_does_not_let_in_whoever_lacks_the_right(configure):
    configure(admin_requires=Requirement(amr=("hwk",)))
    assert signed_in(rows.person(), amr=frozenset({"hwk"})).get("/admin/", follow=True).status_code == 403


def test_an_act_takes_a_sign_in_of_the_last_five_minutes(configure, subtests):
    double = configure()
    wg0, boss = rows.interface(), rows.person("boss", is_staff=True, is_superuser=True)
    User.objects.filter(pk=boss.pk).update(issuer=double.issuer)
    alice = rows.person("alice")
    peer = rows.peer(alice, wg0)
    account = rows.account(wg0)
    token, _secret = rows.token(account)
    admin = signed_in(boss)
    listed = "/admin/peers/peer/"
    selected = {"action": "revoke_selected", "_selected_action": str(peer.pk), "apply": "1", "reason": "lost"}
    acts = {
        f"{listed}{peer.pk}/revoke/": {"reason": "lost"},
        f"{listed}{peer.pk}/suspend/": {"reason": "lost"},
        f"{listed}{peer.pk}/restore/": {},
        listed: selected,
        f"/admin/portal/user/{alice.pk}/suspend/": {"reason": "lost"},
        f"/admin/portal/user/{alice.pk}/restore/": {},
        f"/admin/peers/interface/{wg0.pk}/change/": {},
        f"/admin/peers/interface/{wg0.pk}/release-brake/": {"held": "1"},
        "/admin/peers/auditevent/export.csv": {},
        "/admin/peers/serviceaccount/add/": {},
        f"/admin/peers/serviceaccount/{account.pk}/change/": {},
        f"/admin/peers/serviceaccount/{account.pk}/suspend/": {"reason": "leaked"},
        f"/admin/peers/serviceaccount/{account.pk}/restore/": {},
        f"/admin/peers/serviceaccount/{account.pk}/make-token/": {},
        f"/admin/peers/apitoken/{token.pk}/revoke/": {"reason": "leaked"},
    }
    looked_at = (listed, "/admin/peers/auditevent/export.csv")
    before = kept()
    for path, form in acts.items():
        with subtests.test(path):
            proved_ago(admin, seconds=301)
            assert is_asked(admin.post(path, form))
            proved_ago(admin, seconds=241)
            assert is_asked(admin.get(path)) is (path not in looked_at)
            proved_ago(admin, seconds=235)
            assert not is_asked(admin.get(path))
    proved_ago(admin, days=1)
    seen = (
        "/admin/peers/serviceaccount/",
        "/admin/peers/apitoken/",
        f"/admin/peers/apitoken/{token.pk}/change/",
    )
    for path in ("/admin/", listed, f"{listed}{peer.pk}/change/", f"{listed}{peer.pk}/why/", *seen):
        assert admin.get(path).status_code == 200
    assert kept() == before
    proved_ago(admin, seconds=290)
    assert admin.post(f"{listed}{peer.pk}/revoke/", {"reason": "lost"}).status_code == 302
    assert Peer.objects.get().revoked_at


def test_an_act_without_any_known_time_asks_too_and_by_setting_never(configure, settings):
    double, client = configure(), Client()
    double.sign_in(client)
    assert "auth_time" not in double.id_token
    assert is_asked(client.post("/admin/peers/auditevent/export.csv"))
    settings.LATCHKEY_ADMIN_ACT_AGE = timedelta(0)
    answer = client.post("/admin/peers/auditevent/export.csv")
    assert answer.status_code == 200
    answer.close()


def test_who_signed_out_of_the_administration_needed_to_prove_nothing(configure):
    double, client = configure(admin_requires=Requirement(amr=("hwk",))), Client()
    double.sign_in(client)
    assert client.post("/admin/logout/")["Location"] == "/accounts/signed-out/"
    assert client.get("/").status_code == 302


def test_a_break_glass_link_is_proof_for_the_administration_and_for_five_minutes_of_acts(configure, settings):
    double = configure(
        admin_requires=Requirement(acr=("gold",), max_age=MINUTE), enrol_requires=Requirement(acr=("gold",))
    )
    boss = rows.person("boss", is_staff=True, is_superuser=True)
    User.objects.update(issuer=double.issuer)
    boss.refresh_from_db()
    client = Client()
    client.post(f"/break-glass/{break_glass.issue(boss, at=timezone.now())}")
    path = "/admin/peers/auditevent/export.csv"
    assert client.post(path).status_code == 200
    proved_ago(client, seconds=290)
    assert client.get("/admin/").status_code == 200
    assert client.post(path).status_code == 200
    assert is_asked(client.post("/", enrolment()))
    proved_ago(client, seconds=301)
    assert client.get("/admin/").status_code == 200
    assert is_asked(client.post(path))
    use_providers(settings, ())
    shown = client.post(path)
    assert is_asked(shown)
    assert "Another one confirms it too" in shown.content.decode()
    assert '<form method="post" action="/accounts/oidc' not in shown.content.decode()


# --- A provider that is configured no longer ---


def test_what_a_provider_asked_for_is_not_met_by_taking_it_out_of_the_settings(configure, settings):
    asked = Requirement(amr=("hwk",))
    double, client = configure(enrol_requires=asked, admin_requires=asked), Client()
    says(double, amr=["pwd", "hwk"])
    double.sign_in(client)
    rows.interface()
    assert client.get("/admin/").status_code == 200
    settings.LATCHKEY_ADMIN_ACT_AGE = timedelta(0)
    other = Double("other")
    use_providers(settings, (other.provider(),))
    act = "/admin/peers/auditevent/export.csv"
    for shown in (client.get("/admin/"), client.post(act), client.post("/", enrolment())):
        assert is_asked(shown)
        assert "Sign out, then sign in again." in shown.content.decode()
    assert client.get("/").status_code == 200
    session = client.session
    del session[assurance.KEY]  # as in a session from before that was kept
    session.save()
    assert is_asked(client.get("/admin/"))
    other.close()


def test_a_link_opens_the_administration_but_enrols_nobody_whose_provider_is_gone(configure, settings):
    double = configure(enrol_requires=Requirement(acr=("gold",)))
    boss = rows.person("boss", is_staff=True, is_superuser=True)
    User.objects.update(issuer=double.issuer)
    rows.interface()
    client = Client()
    client.post(f"/break-glass/{break_glass.issue(boss, at=timezone.now())}")
    use_providers(settings, ())
    assert client.get("/admin/").status_code == 200
    shown = client.post("/", enrolment())
    assert is_asked(shown)
    assert "Another one confirms it too" not in shown.content.decode()
    assert "Sign out, then sign in again." in shown.content.decode()


def test_the_first_administrator_whom_no_provider_knows_is_asked_for_nothing(configure):
    configure(enrol_requires=Requirement(acr=("gold",)), admin_requires=Requirement(acr=("gold",)))
    rows.interface()
    boss, client = break_glass.create_first_admin("boss"), Client()
    client.post(f"/break-glass/{break_glass.issue(boss, at=timezone.now())}")
    assert client.get("/admin/").status_code == 200
    assert not is_asked(client.post("/", enrolment()))


# --- The way there and back ---


def test_a_sign_in_for_a_purpose_asks_the_provider_for_it(configure):
    configure(
        enrol_requires=Requirement(acr=("gold", "silver"), max_age=HOUR),
        admin_requires=Requirement(amr=("hwk",)),
    )
    client = Client()
    asked = {
        purpose: query_of(depart(client, provider="double", purpose=purpose))
        for purpose in ("", "enrol", "admin", "act")
    }
    found = {
        purpose: {name: query.get(name) for name in ("acr_values", "max_age", "prompt")}
        for purpose, query in asked.items()
    }
    assert found == {
        "": {"acr_values": None, "max_age": None, "prompt": None},
        "enrol": {"acr_values": "gold silver", "max_age": "3540", "prompt": None},
        "admin": {"acr_values": None, "max_age": None, "prompt": "login"},
        "act": {"acr_values": None, "max_age": "240", "prompt": "login"},
    }


def test_a_purpose_is_one_of_three_words_of_the_form(configure):
    configure(enrol_requires=Requirement(acr=("gold",)))
    login = "/accounts/oidc/double/login/"
    for word in ("nothing", "act enrol", "max_age=1", "\x00"):
        assert Client().post(login, {"purpose": word}).status_code == 400
    answer = Client().post(f"{login}?purpose=enrol&max_age=1&acr_values=x")
    assert not {"max_age", "acr_values"} & query_of(answer["Refresh"]).keys()


@pytest.mark.parametrize(
    ("purpose", "claims"),
    [
        ("act", {"auth_age": 301}),
        ("act", {"auth_age": -3600}),
        ("act", {"amr": ["pwd"]}),
        ("act", {"auth_time": None}),
        ("act", {"auth_time": "now"}),
        ("enrol", {"acr": "bronze"}),
        ("admin", {"amr": "hwk"}),
    ],
)
def test_a_sign_in_that_proves_less_is_refused_and_the_session_stays_as_it_was(configure, purpose, claims):
    double = configure(enrol_requires=Requirement(acr=("gold",)), admin_requires=Requirement(amr=("hwk",)))
    client = Client()
    says(double, acr="gold", amr=["hwk"])
    double.sign_in(client)
    proved_ago(client, seconds=100)
    before, session, person = dict(client.session), client.session.session_key, User.objects.get()
    says(double, **claims)
    answer = double.sign_in(client, "/admin/", purpose=purpose)
    assert answer.status_code == 403
    assert f"<h1>{REFUSED}</h1>" in answer.content.decode()
    assert f'href="/accounts/confirm/?purpose={purpose}&amp;next=%2Fadmin%2F"' in answer.content.decode()
    assert client.session.session_key == session
    assert {**client.session, "socialaccount_states": 0} == {**before, "socialaccount_states": 0}
    assert User.objects.get().signed_in_at == person.signed_in_at
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.actor, event.reason) == (
        "sign_in_refused",
        person,
        "does not meet the requirement",
    )
    assert event.new.keys() == {"provider", "purpose", "reference"}
    assert event.new["purpose"] == purpose
    assert event.new["reference"] in answer.content.decode()


def test_a_stranger_who_proves_too_little_gets_no_row(configure):
    double, client = configure(enrol_requires=Requirement(acr=("gold",))), Client()
    assert double.sign_in(client, purpose="enrol").status_code == 403
    assert not User.objects.exists()
    event = AuditEvent.objects.get()
    assert (event.actor_kind, event.new["sub"]) == (AuditEvent.ActorKind.PERSON, "person-1")
    assert client.get("/").status_code == 302


def test_another_person_who_comes_back_is_signed_in_as_themselves(configure):
    double, client = configure(), Client()
    says(double)
    double.sign_in(client)
    double.is_person("person-2")
    assert double.sign_in(client, purpose="act").status_code == 302
    assert int(client.session["_auth_user_id"]) == User.objects.get(sub="person-2").pk


def test_the_page_that_asks_leads_on_whoever_has_confirmed_meanwhile(configure):
    double = configure(admin_requires=Requirement(amr=("hwk",)))
    User.objects.filter(pk=rows.person("boss").pk).update(issuer=double.issuer, is_staff=True)
    admin = signed_in(User.objects.get(), amr=frozenset({"hwk"}))
    page = "/accounts/confirm/?purpose=act&next=%2Fadmin%2F"
    assert admin.get(page)["Location"] == "/admin/"
    proved_ago(admin, seconds=241)
    shown = admin.get(page)
    assert shown.status_code == 200
    assert f"<h1>{ASKED}</h1>" in shown.content.decode()
    for query in ("", "?purpose=all", "?purpose=%00"):
        assert admin.get(f"/accounts/confirm/{query}").status_code == 400
    assert (
        'name="next" value="/"'
        in admin.get("/accounts/confirm/?purpose=act&next=//evil.example/").content.decode()
    )


def test_a_link_that_was_made_is_used_without_any_confirmation(configure):
    double = configure(enrol_requires=Requirement(acr=("gold",)))
    alice, wg0 = rows.person("alice"), rows.interface()
    User.objects.update(issuer=double.issuer)
    browser = signed_in(alice)
    token = services.make_link(
        actor=services.Actor(user=alice), owner=alice, interface=wg0, session_key=browser.session.session_key,
        at=timezone.now(),
    )[1]  # fmt: skip
    assert Client().post("/enrol/", enrolment(token=token), headers=JSON).status_code == 201


def test_a_sign_in_afresh_keeps_the_consent_that_the_settings_ask_for(settings):
    double = Double()
    required = Requirement(amr=("hwk",))
    params = {"prompt": "consent", "access_type": "offline"}
    use_providers(settings, (double.provider(admin_requires=required, authorization_params=params),))
    query = parse_qs(urlsplit(depart(Client(), "/admin/", double.name, purpose="admin")).query)
    assert (query["prompt"], query["access_type"]) == (["login consent"], ["offline"])
    double.close()
