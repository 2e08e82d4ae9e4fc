"""Who gets what answer at every address of the API: a table over its routes, in which none may be missing.

The columns are the ``CREDENTIALS``; the device in the addresses is one of the account's, whose tokens the first ones are.
"""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from peers import services
from peers.models import AuditEvent, Interface, Peer, PeerKey, Scope
from portal.models import User
from tests import rows
from tests.content import content
from tests.integration.pages import signed_in
from tests.integration.programs import Program
from tests.integration.test_access import ROUTES

CREDENTIALS = (
    "peers:enrol", "peers:read", "peers:revoke", "no token", "garbage", "a cookie", "another account's", "a person's",
    "expired", "revoked", "spent", "a suspended account's", "a disabled person's",
)  # fmt: skip

KEPT = (Interface, Peer, PeerKey, AuditEvent)
ACCESS = {
    #                                             enrol read revoke none junk cookie other person expired revoked spent susp. disabled
    "GET api/v1/peers":                          "403  200  403    401  401  401    200   200    401     401     200   401   401",
    "POST api/v1/peers":                         "201  403  403    401  401  401    201   201    401     401     403   401   401",
    "GET api/v1/peers/<uuidstr:peer_id>":        "403  200  403    401  401  401    404   404    401     401     200   401   401",
    "PATCH api/v1/peers/<uuidstr:peer_id>":      "200  403  403    401  401  401    404   404    401     401     200   401   401",
    "DELETE api/v1/peers/<uuidstr:peer_id>":     "403  403  204    401  401  401    404   404    401     401     204   401   401",
    "POST api/v1/peers/<uuidstr:peer_id>/renew": "200  403  403    401  401  401    404   404    401     401     200   401   401",
    "GET api/v1/interfaces":                     "403  200  403    401  401  401    200   200    401     401     200   401   401",
    "POST register":                             "201  403  403    401  401  401    201   201    401     401     403   401   401",
    "GET api/v1/docs":                           "200  200  200    200  200  200    200   200    200     200     200   200   200",
    "GET api/v1/openapi.json":                   "200  200  200    200  200  200    200   200    200     200     200   200   200",
    "GET api/v1/":                               "404  404  404    404  404  404    404   404    404     404     404   404   404",
}  # fmt: skip
BODIES = {
    "POST api/v1/peers": lambda: {"public_key": rows.public_key()},
    "POST register": lambda: {"public_key": rows.public_key()},
    "PATCH api/v1/peers/<uuidstr:peer_id>": lambda: {"name": "renamed"},
    "POST api/v1/peers/<uuidstr:peer_id>/renew": lambda: {"ttl": 60},
}


class World:
    """The callers, each with a credential, and an account with a machine for every address."""

    def __init__(self, wg0) -> None:
        self.wg0 = wg0
        self.account = rows.account(wg0, name="builders", device_limit=1000)
        self.past = timezone.now() - timedelta(hours=2)
        self.callers = dict(zip(CREDENTIALS, self._callers(), strict=True))

    def _callers(self):
        for scope in Scope:
            yield self._program(self.account, scope)
        yield Program()
        yield Program("latchkey_" + "x" * 43)
        cookie = Program()
        cookie.browser = signed_in(rows.person("admin", is_staff=True, is_superuser=True))
        yield cookie
        yield self._program(rows.account(self.wg0))
        yield self._program(rows.person("person"))
        yield self._program(self.account, at=self.past, expires_at=self.past + timedelta(hours=1))
        yield self._revoked()
        yield self._spent()
        yield self._suspended()
        yield self._disabled()

    def _program(self, holder, *scopes, **fields):
        return Program(rows.token(holder, *scopes, **fields)[1])

    def _revoked(self):
        token, text = rows.token(self.account)
        services.revoke_token(actor=services.Actor(), token=token, at=timezone.now())
        return Program(text)

    def _spent(self):
        spent = self._program(self.account, use_limit=1)
        assert spent.enrol().status_code == 201
        return spent

    def _suspended(self):
        account = rows.account(self.wg0)
        program = self._program(account)
        services.suspend_account(actor=services.Actor(), account=account, at=timezone.now(), reason="x")
        return program

    def _disabled(self):
        program = self._program(rows.person("disabled"))
        User.objects.filter(sub="disabled").update(is_active=False)
        return program

    def ask(self, operation: str, name: str) -> str:
        """Return the status of one caller's call, which leaves everything as it was when it is refused."""
        method, _, route = operation.partition(" ")
        peer = rows.machine(self.account, self.wg0, expires_at=timezone.now() + timedelta(hours=1))
        address = f"/{route.replace('<uuidstr:peer_id>', str(peer.pk))}"
        body = BODIES[operation]() if operation in BODIES else {}
        before = content(*KEPT)
        call = getattr(self.callers[name].browser, method.lower())
        options = {} if method == "GET" else {"data": body, "content_type": "application/json"}
        status = call(address, **options).status_code
        assert (content(*KEPT) != before) == (status < 400 and method != "GET"), f"{name} by {operation}"
        return str(status)


@pytest.fixture
def on_demand(wg0, gateway):
    """Have every enrolled device reached at once, without a gateway that would put it on."""
    Interface.objects.update(mode="on_demand")
    gateway()
    wg0.refresh_from_db()
    return wg0


def test_every_address_of_the_api_answers_every_credential_as_the_table_says(on_demand, settings):
    settings.LATCHKEY_RATE_LIMITS = {**settings.LATCHKEY_RATE_LIMITS, "bad_token": 0}
    world = World(on_demand)
    found = {operation: " ".join(world.ask(operation, name) for name in CREDENTIALS) for operation in ACCESS}
    assert found == {operation: " ".join(row.split()) for operation, row in ACCESS.items()}


def test_no_address_of_the_api_is_missing_from_the_table(on_demand):
    pk = rows.machine(rows.account(on_demand), on_demand).pk
    found = set()
    for route in ROUTES:
        if route.startswith(("api/", "register")):
            answer = Client().options(f"/{route.replace('<uuidstr:peer_id>', str(pk))}")
            methods = answer["Allow"].split(", ") if answer.status_code == 405 else ["GET"]
            found |= {f"{method} {route}" for method in methods}
    assert found == set(ACCESS)
