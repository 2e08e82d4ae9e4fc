"""Every page there is, with something on it: what looks at all of them (for access, for pictures) goes through this."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from allauth.usersessions.models import UserSession
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from playwright.sync_api import Page

from peers import services
from peers.models import ApiToken, EnrolLink, Interface, Peer, Scope, ServiceAccount
from portal.models import HeldLoss, User
from tests import rows
from tests.integration.pages import prove
from tests.stack import Stack, gateway_holds_still

COMMAND = services.Actor()
FLOODED = """UPDATE peers_gatewaystatus SET handshakes_admitted = 18203, handshakes_refused = 412, handshakes_invalid = 97,
    handshakes_dropped = 250113, flood_at = now() - interval '4 minutes'"""


@dataclass(frozen=True)
class View:
    """A page: its name in a report, who sees it, and how to get there."""

    name: str
    who: str | None  # alice has devices, bob has none, carol administers; None is nobody
    go: Callable[[Page], object]


@dataclass(frozen=True)
class World:
    """Rows that make the pages full; ``views`` leads to each page."""

    stack: Stack
    devices: dict[str, Peer]
    carol: User
    event: int
    runners: ServiceAccount
    tokens: dict[str, ApiToken]  # "runners": of the service account; "own": alice's

    def views(self) -> list[View]:
        return [*self._of_nobody(), *self._of_a_person(), *self._of_an_administrator()]

    def _of_nobody(self) -> list[View]:
        return [
            View("sign in", None, to("/accounts/login/")),
            View("on to the provider", None, _leave),
            View("a sign-in that went stale", None, to("/accounts/oidc/demo/login/callback/?state=x")),
            View("emergency sign-in", None, to("/break-glass/guessed")),
            View("phone without a link", None, to("/enrol/")),
            View("phone with a link", None, to("/enrol/#guessed")),
            View("link no longer valid", None, _use_a_bad_link),
            View("signed out", None, to("/accounts/signed-out/")),
            View("not found", None, to("/nowhere/")),
            View("method not allowed", "alice", to("/devices/link")),
        ]

    def _of_a_person(self) -> list[View]:
        def of(name: str, below: str = "") -> Callable[[Page], object]:
            return to(f"{self.devices[name].get_absolute_url()}{below}")

        return [
            View("no device yet", "bob", to("/")),
            View("my devices", "alice", to("/")),
            View("add a device", "alice", _open_form),
            View("own key", "alice", _open_own_key),
            View("a new configuration", "alice", _enrol),
            View("a link for a phone", "alice", _make_link),
            View("at the limit", "bob", _reach_the_limit),
            *(View(f"device {name}", "alice", of(name)) for name in self.devices),
            View("my devices, three not let in", "alice", self._not_let_in(to("/"))),
            View("a device not let in", "alice", self._not_let_in(of("suspended"))),
            View("replace key", "alice", of("live", "replace-key")),
            View("revoke", "alice", of("live", "revoke")),
            View("sessions", "alice", to("/accounts/sessions/")),
            View("no token yet", "bob", to("/accounts/tokens/")),
            View("my tokens", "alice", to("/accounts/tokens/")),
            View("a new token", "alice", _make_own_token),
            View("a token that cannot be", "alice", _ask_for_a_token_twice),
            View("revoke a token", "alice", to(f"/accounts/tokens/{self.tokens['own'].pk}/revoke")),
            View("sign out", "alice", to("/accounts/logout/")),
            View("forbidden", "alice", to("/admin/login/")),
        ]

    def _of_an_administrator(self) -> list[View]:
        peer, wg0 = self.devices["suspended"], self.devices["live"].interface
        owner, listed = peer.owner, "/admin/peers/peer/"
        return [
            View("confirm that it is you", "carol", _confirm),
            View("overview", "carol", to("/admin/")),
            View("overview, on demand", "carol", self._on_demand(to("/admin/"))),
            View("admin: devices", "carol", to(listed)),
            View("admin: a device", "carol", to(f"{listed}{peer.pk}/change/")),
            View("admin: why", "carol", to(f"{listed}{peer.pk}/why/")),
            View("admin: revoke", "carol", act(f"{listed}{peer.pk}/revoke/")),
            View("admin: restore", "carol", act(f"{listed}{peer.pk}/restore/")),
            *self._of_machines(),
            View("admin: people", "carol", to("/admin/portal/user/")),
            View("admin: a person", "carol", to(f"/admin/portal/user/{owner.pk}/change/")),
            View("admin: groups", "carol", to("/admin/portal/user/groups/")),
            View("admin: access held back", "carol", act("/admin/portal/user/held/")),
            View("admin: suspend a person", "carol", act(f"/admin/portal/user/{owner.pk}/suspend/")),
            View("admin: interfaces", "carol", to("/admin/peers/interface/")),
            View("admin: an interface", "carol", act(f"/admin/peers/interface/{wg0.pk}/change/")),
            View(
                "admin: an interface on demand",
                "carol",
                self._on_demand(act(f"/admin/peers/interface/{wg0.pk}/change/")),
            ),
            View("admin: release the brake", "carol", act(f"/admin/peers/interface/{wg0.pk}/release-brake/")),
            View("admin: gateways", "carol", to("/admin/peers/gatewaystatus/")),
            View("admin: audit", "carol", to("/admin/peers/auditevent/")),
            View("admin: an event", "carol", to(f"/admin/peers/auditevent/{self.event}/change/")),
            View(
                "admin: who had an address",
                "carol",
                to(f"/admin/peers/auditevent/address/?address={_ip(peer)}"),
            ),
        ]

    def _not_let_in(self, go: Callable[[Page], object]) -> Callable[[Page], object]:
        """Go to a page that has something to tell, again and again."""

        def after(page: Page) -> None:
            self.stack.database.sql("UPDATE peers_refusedhandshake SET told_at = NULL")
            go(page)

        return after

    def _on_demand(self, go: Callable[[Page], object]) -> Callable[[Page], object]:
        """Go to a page while the interface is on demand and its gateway flooded, for the moment that the page takes."""

        def meanwhile(page: Page) -> None:
            with gateway_holds_still(self.stack):
                Interface.objects.update(mode=Interface.Mode.ON_DEMAND)
                self.stack.database.sql(FLOODED)
                try:
                    go(page)
                finally:
                    Interface.objects.update(mode=Interface.Mode.PUSH)
                    self.stack.database.sql("UPDATE peers_gatewaystatus SET flood_at = NULL")

        return meanwhile

    def _of_machines(self) -> list[View]:
        accounts, tokens = "/admin/peers/serviceaccount/", "/admin/peers/apitoken/"
        account, token = f"{accounts}{self.runners.pk}/", f"{tokens}{self.tokens['runners'].pk}/"
        return [
            View("admin: machines", "carol", to(f"/admin/peers/peer/?service_account={self.runners.pk}")),
            View("admin: service accounts", "carol", to(accounts)),
            View("admin: add a service account", "carol", act(f"{accounts}add/")),
            View("admin: a service account", "carol", act(f"{account}change/")),
            View("admin: suspend a service account", "carol", act(f"{account}suspend/")),
            View("admin: make a token", "carol", act(f"{account}make-token/")),
            View("admin: a token that was made", "carol", _make_token_of(account)),
            View("admin: tokens", "carol", to(tokens)),
            View("admin: a token", "carol", to(f"{token}change/")),
            View("admin: revoke a token", "carol", act(f"{token}revoke/")),
        ]


def furnish(stack: Stack, *, alarmed: bool = True) -> World:
    """Give alice a device in each state that its page tells apart, and return the world; carol has signed in.

    ``alarmed``: with losses of access that the identity brake holds, which the overview raises an alarm about.
    """
    wg0, alice = Interface.objects.get(), User.objects.get(name="Alice Demo")
    names = ("connected", "live", "settings changed", "suspended", "expired", "revoked")
    at = timezone.now() - timedelta(days=2)
    made = {name: rows.peer(alice, wg0, name=f"Laptop {name}", at=at, platform="linux") for name in names}
    stack.gateway.eventually(lambda: {peer.key.public_key for peer in made.values()} <= stack.gateway.on())
    services.suspend(actor=COMMAND, peer=made["suspended"], at=timezone.now(), reason="Security audit")
    services.revoke(actor=COMMAND, peer=made["revoked"], at=timezone.now(), reason="Lost on a train")
    stack.database.sql(
        f"""UPDATE peers_peer SET expires_at = now() - interval '1 day' WHERE id = '{made["expired"].pk}';
        UPDATE peers_peer SET configured = jsonb_set(configured, '{{endpoint}}', '"old.example.com:51820"')
            WHERE id = '{made["settings changed"].pk}'"""
    )
    _let_it_look_used(stack, made["connected"])
    for name in ("live", "suspended", "revoked"):
        _refuse(stack, made[name])
    runners, tokens = _let_machines_in(wg0, alice)
    Interface.objects.update(enrol_groups=["employees"])
    if alarmed:
        _hold_back(wg0)
    from peers.models import AuditEvent

    carol, event = User.objects.filter(is_superuser=True).latest("pk"), AuditEvent.objects.latest("pk").pk
    return World(stack, made, carol, event, runners, tokens)


def _let_machines_in(wg0: Interface, alice: User) -> tuple[ServiceAccount, dict[str, ApiToken]]:
    """Make a service account with machines and tokens, and tokens of alice's, in each state that pages tell apart."""
    number = ServiceAccount.objects.count()
    runners = rows.account(wg0, name=f"Build runners{f' {number}' if number else ''}", team="Platform")
    at, month = timezone.now(), timedelta(days=30)
    ApiToken.objects.filter(owner=alice, revoked_at=None).update(revoked_at=at)
    for name in ("old laptop", "former script"):
        services.revoke_token(actor=COMMAND, token=rows.token(alice, name=name)[0], at=at)
    own = rows.token(alice, Scope.ENROL, Scope.REVOKE, name="Home server", expires_at=at + month)[0]
    rows.token(alice, Scope.READ, name="Dashboard", expires_at=at + 2 * month)
    services.revoke_token(actor=COMMAND, token=rows.token(runners, name="last year's")[0], at=at)
    of_runners = rows.token(
        runners, Scope.ENROL, Scope.REVOKE, name="GitHub", expires_at=at + 3 * month, use_limit=500
    )[0]
    for token in (own, of_runners):
        services.note_use(token, source="203.0.113.20", at=at)
    actor = services.Actor(token=of_runners, source="203.0.113.20")
    for number in range(3):
        rows.machine(runners, wg0, f"runner-{number + 1}", actor=actor, expires_at=at + timedelta(hours=1))
    services.enrol(
        actor=services.Actor(user=alice, token=own), owner=alice, interface=wg0, public_key=rows.public_key(),
        name="Home server", at=at, platform="linux",
    )  # fmt: skip
    return runners, {"runners": of_runners, "own": own}


def _hold_back(wg0: Interface) -> None:
    """Let the identity brake hold that two people lose access: one of them everything, the other a group."""
    for name, groups in (("Dora", None), ("Emil", ["guests", "contractors"])):
        person = rows.person()
        User.objects.filter(pk=person.pk).update(name=name)
        for device in ("Laptop", "Phone", "Tablet", "Workstation")[: 4 if groups is None else 1]:
            rows.peer(person, wg0, f"{name}'s {device.lower()}")
        reason = "refused" if groups is None else "group_lost"
        HeldLoss.objects.create(person=person, reason=reason, groups=groups, found_at=timezone.now())


def _let_it_look_used(stack: Stack, peer: Peer) -> None:
    """Write what a gateway would after a day of use; the gateway writes this peer again only once something changes."""
    stack.gateway.eventually(lambda: peer.statuses.filter(present=True))
    stack.database.sql(
        f"""UPDATE peers_peerstatus SET latest_handshake = now() + interval '1 hour', connected_since = now() - interval '3 hours', since = now() - interval '20 hours',
            endpoint = '203.0.113.9:40112' WHERE peer_id = '{peer.pk}';
        INSERT INTO peers_trafficsample (gateway_id, peer_id, at, rx_bytes, tx_bytes)
            SELECT (SELECT min(id) FROM peers_gatewaystatus), '{peer.pk}',
                date_bin('15 min', now(), '2000-01-01') - (70 - quarter) * interval '15 min',
                sum(1000000 + quarter * 7919 % 900000) OVER (ORDER BY quarter),
                sum(8000000 + quarter * 1047290 % 9000000) OVER (ORDER BY quarter)
            FROM generate_series(1, 70) AS quarter WHERE quarter NOT BETWEEN 20 AND 45;
        UPDATE peers_peerstatus SET (rx_bytes, tx_bytes) = (SELECT max(rx_bytes) + 700000, max(tx_bytes) + 5000000
            FROM peers_trafficsample sample WHERE sample.peer_id = '{peer.pk}') WHERE peer_id = '{peer.pk}'"""
    )


def _refuse(stack: Stack, peer: Peer) -> None:
    """Write what a gateway would of a device that tried a dozen times this morning; its owner knows of it."""
    stack.database.sql(
        f"""INSERT INTO peers_refusedhandshake (peer_id, count, first_at, latest_at, told_at)
            VALUES ('{peer.pk}', 12, now() - interval '40 minutes', now() - interval '25 minutes', now())"""
    )


def to(path: str) -> Callable[[Page], object]:
    return lambda page: page.goto(path)


def act(path: str) -> Callable[[Page], object]:
    """Go to a page that asks before an act, as one does who has proved just now who they are."""

    def go(page: Page) -> None:
        _prove(timezone.now())
        page.goto(path)

    return go


def _confirm(page: Page) -> None:
    _prove(timezone.now() - timedelta(hours=1))
    page.goto("/accounts/confirm/?purpose=act&next=/admin/")


def _prove(at: datetime) -> None:
    for known in UserSession.objects.filter(user__name="Carol Demo"):
        prove(SessionStore(known.session_key), auth_time=at)


def _leave(page: Page) -> None:
    # The page goes on by itself at once: held here, so that it can be looked at.
    page.route("**/accounts/oidc/demo/login/", _without_refresh)
    page.goto("/accounts/login/")
    page.locator("main form button").first.click()
    page.wait_for_url("**/accounts/oidc/demo/login/")


def _without_refresh(route) -> None:
    answer = route.fetch()
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "refresh"}
    route.fulfill(response=answer, headers=headers)


def _use_a_bad_link(page: Page) -> None:
    page.goto("/enrol/#guessed")
    page.locator("form[data-link-enrol] button").click()
    page.locator("[data-link-invalid]:not([hidden])").wait_for()


def _open_form(page: Page) -> None:
    page.goto("/")
    page.locator("details.add > summary").first.click()


def _open_own_key(page: Page) -> None:
    _open_form(page)
    page.locator("details.own-key > summary").click()


def _enrol(page: Page) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    _open_form(page)
    page.locator("[data-one-click]").click()
    page.locator("[data-configuration]:not([hidden])").wait_for()


def _make_link(page: Page) -> None:
    _open_form(page)
    page.locator("form.link-offer button").click()
    page.wait_for_url("**/devices/link")


def _make_own_token(page: Page) -> None:
    """Make a token of alice's, which is revoked as soon as the page shows it: another look makes another."""
    _ask_for_a_token(page, "Build server")
    page.locator("#token").wait_for()
    _revoke_tokens("Build server")


def _ask_for_a_token_twice(page: Page) -> None:
    _ask_for_a_token(page, "Home server")
    page.locator("#name[aria-invalid]").wait_for()


def _ask_for_a_token(page: Page, name: str) -> None:
    page.goto("/accounts/tokens/")
    page.locator("details.add > summary").click()
    page.locator("#name").fill(name)
    page.locator("details.add form button").click()


def _make_token_of(account: str) -> Callable[[Page], object]:
    def go(page: Page) -> None:
        act(f"{account}make-token/")(page)
        page.locator("#id_name").fill("GitLab")
        page.locator(".token-form input[type=submit]").click()
        page.locator("#token").wait_for()
        _revoke_tokens("GitLab")

    return go


def _revoke_tokens(name: str) -> None:
    for token in ApiToken.objects.filter(name=name, revoked_at=None):
        services.revoke_token(actor=COMMAND, token=token, at=timezone.now())


def _reach_the_limit(page: Page) -> None:
    """Fill bob's places, as few as there are for the moment that the page takes."""
    bob = User.objects.get(name="Bob Demo")
    wg0 = Interface.objects.get()
    limit = wg0.device_limit
    peer = rows.peer(bob, wg0, name="The only one")
    Interface.objects.update(device_limit=1)
    try:
        page.goto("/")
    finally:
        Interface.objects.update(device_limit=limit)
        services.revoke(actor=COMMAND, peer=peer, at=timezone.now() - timedelta(seconds=1))
        EnrolLink.objects.filter(owner=bob).delete()


def _ip(peer: Peer) -> str:
    return str(peer.addresses[0].ip)
