"""The audit, as administrators read it, ask it and take it away."""

import json
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters, ShowFacets
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from peers import audit
from peers.address_history import history
from peers.admin.audit import export
from peers.admin.audit.filters import (
    PARAMETERS,
    AccountFilter,
    ActionFilter,
    ActorFilter,
    NewestPaginator,
    PeerFilter,
    PersonFilter,
    TimeFilter,
    TokenFilter,
    search,
)
from peers.admin.audit.forms import AddressForm
from peers.admin.audit.words import words
from peers.admin.read_only import ReadOnlyAdmin, actor
from peers.models import AuditEvent, AuditSeal
from peers.receipt_words import delay
from peers.receipts import REMOVED, Receipt, causes, receipt
from peers.tokens import PREFIX, beginning

SHORT = 40  # characters of a value in the list
FEW = 4  # values of one event in the list
NOTHING = "–"


class AuditChangeList(ChangeList):
    """The page's events, each with what it is the receipt of, in one query for all."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown = list(self.result_list)
        found = causes(event.pk for event in shown if event.action == REMOVED)
        for event in shown:
            event.cause = found.get(event.pk)
        self.result_list = shown


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ["when", "act", "who", "about", "device", "changed", "reason", "on", "source"]
    empty_value_display = NOTHING
    list_filter = [
        TimeFilter, PersonFilter, AccountFilter, PeerFilter, TokenFilter, ActorFilter, ActionFilter, "actor_kind", "interface",
    ]  # fmt: skip
    list_select_related = ["actor", "token__service_account", "person", "service_account", "interface"]
    search_fields = ["reason"]  # so that there is a box; ``get_search_results`` says what is searched
    search_help_text = _(
        "Name or e-mail of a person, name of a service account, name or id of a device, beginning of a token, address, whole public key"
    )
    show_facets = ShowFacets.NEVER
    paginator = NewestPaginator
    ordering = ["-at", "-pk"]
    fields = ["when", "act", "who", "about", "device", "on", "source", "reason", "took", "all_changes"]
    readonly_fields = [str(name) for name in fields]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEvent]:
        found = super().get_queryset(request).select_related(*self.list_select_related)
        # The device apart: joined, an event of one that was pruned would be left out; looked up, it would raise.
        return found.prefetch_related("peer")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        head = AuditSeal.objects.order_by("-pk").first()
        seal = {"sealed_until": head.sealed_at, "digest": bytes(head.digest).hex()} if head else {}
        return super().changelist_view(request, {**(extra_context or {}), **seal})

    def get_changelist(self, request: HttpRequest, **_options: Any) -> type[ChangeList]:
        return AuditChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in PARAMETERS

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEvent], search_term: str
    ) -> tuple[QuerySet[AuditEvent], bool]:
        term = search_term.strip()
        return (search(queryset, term) if term else queryset), False

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("address/", self.admin_site.admin_view(self.address), name="peers_auditevent_address"),
            *(
                path(
                    f"export.{kind}",
                    self.admin_site.admin_view(self.export),
                    {"kind": kind},
                    name=f"peers_auditevent_export_{kind}",
                )
                for kind in export.KINDS
            ),
        ]
        return [*own, *super().get_urls()]

    def address(self, request: HttpRequest) -> HttpResponse:
        """Say who had an address at a time, and everybody who ever had it."""
        self._must_see(request)
        form = AddressForm(request.GET if "address" in request.GET else None)
        context = {**self.admin_site.each_context(request), "opts": self.opts, "form": form,
                   "title": _("Who had this address?")}  # fmt: skip
        if form.is_valid():
            context |= _answer(form.cleaned_data["address"], form.cleaned_data["at"])
        status = 400 if form.is_bound and form.errors else 200
        return render(request, "admin/peers/auditevent/address.html", context, status=status)

    def export(self, request: HttpRequest, kind: str) -> HttpResponse | StreamingHttpResponse:
        """Answer with the events that the list's filters leave, once it is written down who took them."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._must_see(request)
        if "\0" in "".join(request.GET.dict().values()):
            raise BadRequest  # which no record of the export could hold
        try:
            events = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            raise BadRequest from None
        if export.is_too_long(events):
            sentence = _(
                "That is more than an export may hold. Narrow the events down by time, then export each part."
            )
            self.message_user(request, sentence, messages.ERROR)
            return redirect(reverse("admin:peers_auditevent_changelist", query=request.GET))
        at = timezone.now()
        new = {
            "format": kind,
            "filter": {name: _known_as(value) for name, value in request.GET.dict().items()},
        }
        audit.record("export_audit", actor(request), None, new=new)
        return export.answer(events, kind, at)

    def _must_see(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    @admin.display(description=_("when (UTC)"))
    def when(self, event: AuditEvent) -> str:
        return f"{event.at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description=_("action"))
    def act(self, event: AuditEvent) -> str:
        return words(event.action)

    @admin.display(description=_("by"))
    def who(self, event: AuditEvent) -> str:
        if event.token is None:
            return _actor(event)
        with_it = _narrowed("token", event.token_id, f"{event.token.beginning}…")
        return format_html("{} ({})", _actor(event), with_it)

    @admin.display(description=_("about"))
    def about(self, event: AuditEvent) -> str:
        if event.service_account:
            return _narrowed("service_account", event.service_account_id, str(event.service_account))
        return _narrowed("person", event.person_id, str(event.person)) if event.person else NOTHING

    @admin.display(description=_("device"))
    def device(self, event: AuditEvent) -> str:
        if event.peer_id is None:
            return NOTHING
        return _narrowed("peer", event.peer_id, str(event.peer or event.peer_id))

    @admin.display(description=_("interface"))
    def on(self, event: AuditEvent) -> str:
        return str(event.interface or NOTHING)

    @admin.display(description=_("what changed"))
    def changed(self, event: AuditEvent) -> SafeString:
        found = [
            f"{name}: {_arrow(_short(old), _short(new))}" for name, old, new in _changes(event.old, event.new)
        ]
        shown = [*_took(event), *found[:FEW], *(["…"] if len(found) > FEW else [])]
        return format_html_join("; ", "<bdi>{}</bdi>", ((text,) for text in shown))

    @admin.display(description=_("how long it took"))
    def took(self, event: AuditEvent) -> str:
        told = _receipt(event)
        if told is None or told.at is None or told.removed_at is None:
            return NOTHING
        moments = f"{_exactly(told.at)} → {_exactly(told.removed_at)}"
        return f"{_took(event)[0]} ({moments})"

    @admin.display(description=_("what changed"))
    def all_changes(self, event: AuditEvent) -> SafeString | str:
        rows = format_html_join(
            "",
            "<tr><th>{}</th><td><bdi>{}</bdi></td><td><bdi>{}</bdi></td></tr>",
            _changes(event.old, event.new),
        )
        if not rows:
            return NOTHING
        head = (gettext("what"), gettext("old"), gettext("new"))
        return format_html(
            "<table><thead><tr><th>{}</th><th>{}</th><th>{}</th></tr></thead><tbody>{}</tbody></table>",
            *head,
            rows,
        )


def _answer(address: IPv4Address | IPv6Address, at: datetime) -> dict[str, Any]:
    """Return what the address's page says of it at ``at``, and ever."""
    spells, more = history(address, at)
    context = {"address": address, "at": at, "spells": spells, "more": more, "now": timezone.now()}
    holder = next((spell for spell in spells if spell.covers(at)), None)
    if holder is None:
        return context
    return context | {
        "holder": holder, "off_before": holder.last_off(at), "off_after": holder.next_off(at),
    }  # fmt: skip


def _known_as(text: str) -> str:
    """Return what was asked for as it may be written down: of a token its beginning alone."""
    return beginning(text.strip()) if text.strip().startswith(PREFIX) else text


def _actor(event: AuditEvent) -> str:
    if event.actor:
        return _narrowed("actor", event.actor_id, str(event.actor))
    account = event.token.service_account if event.token else None
    if account:
        return _narrowed("service_account", account.pk, str(account))
    return event.gateway or str(event.get_actor_kind_display())


def _took(event: AuditEvent) -> list[str]:
    """Return in words how long after what a gateway read a device back as gone; nothing where that is not known."""
    told = _receipt(event)
    if told is None or told.milliseconds is None:
        return []
    return [
        gettext("%(delay)s after: %(what)s")
        % {"delay": f"+{delay(told.milliseconds)}", "what": words(told.after)}
    ]


def _receipt(event: AuditEvent) -> Receipt | None:
    if event.action != REMOVED:
        return None
    barred = event.cause if hasattr(event, "cause") else causes([event.pk]).get(event.pk)
    return receipt(event.gateway, event.at, event.new, barred)


def _narrowed(column: str, key: Any, text: str) -> SafeString:
    """Return ``text`` as a link to the events of that row alone."""
    url = reverse("admin:peers_auditevent_changelist", query={f"{column}__id__exact": key})
    return format_html('<a href="{}"><bdi>{}</bdi></a>', url, text)


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return each value that an event tells of, by name, with the old and the new one; "" where there is none."""
    names = {**old, **new}
    return [(name, _text(old.get(name)), _text(new.get(name))) for name in names]


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(value)
    return json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"


def _exactly(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def _arrow(old: str, new: str) -> str:
    return f"{old} → {new or NOTHING}" if old else new or NOTHING
