"""Who gets what answer at every address: a table over the URL conf, in which no address may be missing.

The columns are the people of ``PEOPLE``; the device in the addresses is the owner's. GET first, then POST with an empty form
(which is all that it takes to revoke). The answers of those who may not are the proof; what those who may then do is in
the tests of the pages. What programs are answered at each address of the API is in test_access_tokens.py.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone

from peers import services
from peers.models import AuditEvent, EnrolLink, GatewayStatus, Interface, Peer, PeerKey
from portal.models import User
from tests import rows
from tests.content import content, digest
from tests.integration.conftest import use_providers
from tests.integration.pages import enter, signed_in
from tests.integration.programs import Program

PEOPLE = ("anonymous", "owner", "other person", "staff without the right", "admin", "disabled person")
SIGNED_IN = PEOPLE[1:-1]

# GET | POST, each: anonymous, owner, other person, staff without the right, admin, disabled person.
ACCESS = {
    "": "302 200 200 200 200 302 | 302 400 400 400 400 302",
    "api/v1/": "404 404 404 404 404 404 | 404 404 404 404 404 404",
    "api/v1/docs": "200 200 200 200 200 200 | 200 200 200 200 200 200",
    "api/v1/openapi.json": "200 200 200 200 200 200 | 200 200 200 200 200 200",
    "api/v1/interfaces": "401 401 401 401 401 401 | 405 405 405 405 405 405",
    "api/v1/peers": "401 401 401 401 401 401 | 401 401 401 401 401 401",
    "api/v1/peers/<uuidstr:peer_id>": "401 401 401 401 401 401 | 405 405 405 405 405 405",
    "api/v1/peers/<uuidstr:peer_id>/renew": "405 405 405 405 405 405 | 401 401 401 401 401 401",
    "accounts/login/": "200 302 302 302 302 200 | 405 405 405 405 405 405",
    "accounts/logout/": "302 200 200 200 200 302 | 302 302 302 302 302 302",
    "accounts/signed-out/": "200 302 302 302 302 200 | 405 405 405 405 405 405",
    "accounts/confirm/": "302 400 400 400 400 302 | 302 405 405 405 405 302",
    "accounts/oidc/<slug:provider_id>/login/": "404 404 404 404 404 404 | 404 404 404 404 404 404",
    "accounts/oidc/<slug:provider_id>/login/callback/": "404 404 404 404 404 404 | 405 405 405 405 405 405",
    "accounts/sessions/": "302 200 200 200 200 302 | 302 405 405 405 405 302",
    "accounts/sessions/<int:number>/end": "302 405 405 405 405 302 | 302 404 404 404 404 302",
    "accounts/sessions/end": "302 405 405 405 405 302 | 302 303 303 303 303 302",
    "break-glass/<str:token>": "200 200 200 200 200 200 | 403 403 403 403 403 403",
    "accounts/tokens/": "302 200 200 200 200 302 | 302 400 400 400 400 302",
    "accounts/tokens/<int:pk>/revoke": "302 200 404 404 404 302 | 302 303 404 404 404 302",
    "devices/<uuid:pk>/": "302 200 404 404 404 302 | 302 405 405 405 405 302",
    "devices/<uuid:pk>/config": "302 200 404 404 404 302 | 302 405 405 405 405 302",
    "devices/<uuid:pk>/configured": "302 405 405 405 405 302 | 302 303 404 404 404 302",
    "devices/link": "302 405 405 405 405 302 | 302 200 200 200 200 302",
    "devices/link/<uuid:pk>/status": "401 200 404 404 404 401 | 405 405 405 405 405 405",
    "enrol.sh": "200 200 200 200 200 200 | 405 405 405 405 405 405",
    "enrol/": "200 200 200 200 200 200 | 400 400 400 400 400 400",
    "devices/<uuid:pk>/rename": "302 405 405 405 405 302 | 302 400 404 404 404 302",
    "devices/<uuid:pk>/replace-key": "302 200 404 404 404 302 | 302 400 404 404 404 302",
    "devices/<uuid:pk>/revoke": "302 200 404 404 404 302 | 302 303 404 404 404 302",
    "devices/<uuid:pk>/status": "401 200 404 404 404 401 | 405 405 405 405 405 405",
    "healthz": "200 200 200 200 200 200 | 405 405 405 405 405 405",
    "metrics": "404 404 404 404 404 404 | 405 405 405 405 405 405",
    "register": "405 405 405 405 405 405 | 401 401 401 401 401 401",
    "readyz": "200 200 200 200 200 200 | 405 405 405 405 405 405",
    "admin/": "302 302 302 200 200 302 | 302 302 302 200 200 302",
    "admin/(?P<url>.*)$": "302 302 302 404 404 302 | 302 302 302 404 404 302",
    "admin/^(?P<app_label>peers|portal)/$": "302 302 302 404 200 302 | 302 302 302 404 200 302",
    "admin/autocomplete/": "302 302 302 403 403 302 | 302 302 302 405 405 302",
    "admin/jsi18n/": "302 302 302 200 200 302 | 302 302 302 405 405 302",
    "admin/login/": "302 403 403 302 302 302 | 302 403 403 302 302 302",
    "admin/logout/": "302 302 302 200 200 302 | 302 302 302 302 302 302",
    "admin/peers/interface/<int:pk>/release-brake/": "302 302 302 403 200 302 | 302 302 302 403 400 302",
    "admin/peers/auditevent/address/": "302 302 302 403 200 302 | 302 302 302 403 200 302",
    "admin/peers/auditevent/export.csv": "302 302 302 405 405 302 | 302 302 302 403 200 302",
    "admin/peers/auditevent/export.jsonl": "302 302 302 405 405 302 | 302 302 302 403 200 302",
    "admin/peers/peer/<uuid:pk>/revoke/": "302 302 302 403 200 302 | 302 302 302 403 400 302",
    "admin/peers/peer/<uuid:pk>/suspend/": "302 302 302 403 200 302 | 302 302 302 403 400 302",
    "admin/peers/peer/<uuid:pk>/restore/": "302 302 302 403 200 302 | 302 302 302 403 302 302",
    "admin/peers/peer/<uuid:pk>/why/": "302 302 302 403 200 302 | 302 302 302 403 200 302",
    "admin/peers/serviceaccount/<int:pk>/suspend/": "302 302 302 403 200 302 | 302 302 302 403 400 302",
    "admin/peers/serviceaccount/<int:pk>/restore/": "302 302 302 403 302 302 | 302 302 302 403 302 302",
    "admin/peers/serviceaccount/<int:pk>/make-token/": "302 302 302 403 200 302 | 302 302 302 403 400 302",
    "admin/peers/apitoken/<int:pk>/revoke/": "302 302 302 403 200 302 | 302 302 302 403 400 302",
    "admin/portal/user/held/": "302 302 302 403 200 302 | 302 302 302 403 400 302",
    "admin/portal/user/groups/": "302 302 302 403 200 302 | 302 302 302 403 200 302",
    "admin/portal/user/<int:pk>/suspend/": "302 302 302 403 200 302 | 302 302 302 403 400 302",
    "admin/portal/user/<int:pk>/restore/": "302 302 302 403 302 302 | 302 302 302 403 302 302",
}
MODELS = (
    "portal/user", "peers/peer", "peers/interface", "peers/auditevent", "peers/gatewaystatus", "peers/serviceaccount",
    "peers/apitoken",
)  # fmt: skip
OF_A_MODEL = {
    "": "302 302 302 403 200 302 | 302 302 302 403 200 302",
    "add/": "302 302 302 403 403 302 | 302 302 302 403 403 302",
    "<path:object_id>/": "302 302 302 302 302 302 | 302 302 302 302 302 302",
    "<path:object_id>/change/": "302 302 302 403 200 302 | 302 302 302 403 403 302",
    "<path:object_id>/delete/": "302 302 302 403 403 302 | 302 302 302 403 403 302",
    "<path:object_id>/history/": "302 302 302 403 200 302 | 302 302 302 403 200 302",
}
ACCESS |= {f"admin/{model}/{rest}": row for model in MODELS for rest, row in OF_A_MODEL.items()}
# These can be changed or made; an empty form is one with errors.
for form in (
    "interface/<path:object_id>/change/",
    "serviceaccount/<path:object_id>/change/",
    "serviceaccount/add/",
):
    ACCESS[f"admin/peers/{form}"] = "302 302 302 403 200 302 | 302 302 302 403 200 302"


def routes(patterns, prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


ROUTES = sorted(set(routes(get_resolver().url_patterns)))


class World:
    """The people with their browsers, and a row for every address."""

    def __init__(self, database) -> None:
        self.wg0 = rows.interface(device_limit=1000)
        self.owner, self.bystander = rows.person("owner"), rows.person("bystander")
        self.account = rows.account(self.wg0)
        self.token = rows.token(self.account)[0]
        accounts = {
            "owner": self.owner,
            "other person": rows.person("other"),
            "staff without the right": rows.person("staff", is_staff=True),
            "admin": rows.person("admin", is_staff=True, is_superuser=True),
            "disabled person": rows.person("disabled"),
        }
        self.browsers = {"anonymous": Client(), **{name: signed_in(user) for name, user in accounts.items()}}
        User.objects.filter(sub="disabled").update(is_active=False)
        database.sql(
            "INSERT INTO peers_gatewaystatus (gateway, interface_id, version, attached, started_at, heartbeat_at,"
            f" drift_found, left_alone, unexplained, held, problem) VALUES ('gw', {self.wg0.pk}, '', true, now(),"
            " now(), 0, '{}', 0, 0, '')"
        )

    def address(self, route: str) -> str:
        """Return an address that ``route`` matches, of a new device of the owner's."""
        peer = rows.peer(self.owner, self.wg0)
        ids = {
            "user": self.bystander.pk,
            "peer": peer.pk,
            "interface": self.wg0.pk,
            "auditevent": AuditEvent.objects.latest("pk").pk,
            "gatewaystatus": GatewayStatus.objects.get().pk,
            "serviceaccount": self.account.pk,
            "apitoken": self.token.pk,
        }
        model = (re.match(r"admin/(?:portal|peers)/(\w+)/", route) or ["", "peer"])[1]
        values = {
            "pk": self.number_of(route) or ids[model],
            "peer_id": peer.pk,
            "content_type_id": ContentType.objects.get_for_model(Peer).pk,
            "provider_id": "demo",
            "object_id": ids[model],
            "token": "guessed",
            "number": 1,
            "app_label": "peers",
            "url": "nowhere",
        }
        named = re.sub(r"\^?\(\?P<(\w+)>[^)]*\)", r"<\1>", route).removesuffix("$")
        return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda match: str(values[match[1]]), named)

    def number_of(self, route: str) -> UUID | int | None:
        """Return the id that stands in an address of the owner's own, where it is no device's."""
        if route.startswith("devices/link/"):
            return self.link()
        return rows.token(self.owner)[0].pk if route.startswith("accounts/tokens/") else None

    def link(self) -> UUID:
        """Return a link of the owner's, for a phone. One at a time: another of the same session would end it."""
        if made := EnrolLink.objects.filter(owner=self.owner).first():
            return made.pk
        session_key = self.browsers["owner"].session.session_key
        actor = services.Actor(user=self.owner)
        return services.make_link(
            actor=actor, owner=self.owner, interface=self.wg0, session_key=session_key, at=timezone.now()
        )[0].pk

    def answers(self, route: str) -> str:
        """Return the statuses for everybody, GET first."""
        addresses = {method: self.address(route) for method in ("get", "post")}
        return " | ".join(
            " ".join(self.ask_each(method, address, PEOPLE)) for method, address in addresses.items()
        )

    def ask_each(self, method: str, address: str, names: tuple[str, ...]) -> Iterator[str]:
        """Yield the status for each of ``names``, where those who may not act there change nothing."""
        before = snapshot()
        for name in names:
            status = self.ask(method, address, name)
            after = snapshot()
            if (name not in {"owner", "admin"} and address != "/devices/link") or method == "get":
                assert after == before, f"{name} changed something by {method} {address}"
            yield status
            before = after

    def ask(self, method: str, address: str, name: str) -> str:
        status = getattr(self.browsers[name], method)(address).status_code
        if method == "post" and address.endswith("logout/") and name in SIGNED_IN:
            enter(self.browsers[name], User.objects.get(sub=name.split(maxsplit=1)[0]))
        return str(status)


def snapshot() -> list[str]:
    people = digest(User, "id", "is_active", "is_staff", "is_superuser", "name")
    return [people, *content(Interface, Peer, PeerKey, AuditEvent)]


def test_every_address_answers_everybody_as_the_table_says(database, settings):
    # Of another name, so that no answer depends on who else listens on this machine.
    [known] = settings.OIDC_PROVIDERS
    use_providers(settings, (replace(known, id="another"),))
    world = World(database)
    found = {route: world.answers(route) for route in ROUTES if route in ACCESS}
    assert found == ACCESS


def test_a_token_opens_no_page(database, settings):
    [known] = settings.OIDC_PROVIDERS
    use_providers(settings, (replace(known, id="another"),))
    world = World(database)
    for name in ("owner", "admin"):
        program = Program(rows.token(User.objects.get(sub=name))[1])
        world.browsers["anonymous"] = program.browser
        for route in ROUTES:
            if not route.startswith(("api/", "register")):
                address = world.address(route)
                for method, row in zip(("get", "post"), ACCESS[route].split(" | "), strict=True):
                    found = list(world.ask_each(method, address, ("anonymous",)))
                    assert found == row.split()[:1], f"the token of {name}: {method} {route}"


def test_no_address_is_missing_from_the_table():
    assert sorted(ACCESS) == ROUTES
