"""Tell load balancers and monitoring how the portal is."""

import secrets
from datetime import datetime

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from peers.models import GatewayStatus, Peer, PeerStatus
from portal import errors
from portal.access.revalidation import unanswered
from portal.models import HeldLoss

OUTCOMES = ("admitted", "refused", "invalid", "dropped")  # of a handshake, each with a counter of its own


@login_not_required
@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """Say that this process answers; nothing else is asked."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """Say whether requests can be served: the database answers and its migrations are those of this release.

    A silent gateway does not make the portal unready; its heartbeat stands in the body.
    """
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return _not_ready("migrations are missing")
        return JsonResponse({"status": "ready", "gateways": _heartbeats(timezone.now())})
    except Error:
        return _not_ready("the database cannot be reached")


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the figures in the Prometheus text format, to whoever holds LATCHKEY_METRICS_TOKEN."""
    token = settings.LATCHKEY_METRICS_TOKEN
    if not token:
        raise Http404
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not secrets.compare_digest(given.encode(), token.encode()):
        response = HttpResponse("A bearer token is needed.\n", status=401, content_type="text/plain")
        response["WWW-Authenticate"] = "Bearer"
        return response
    lines = "".join(f"{line}\n" for line in _figures(timezone.now()))
    return HttpResponse(lines, content_type="text/plain; version=0.0.4; charset=utf-8")


def _not_ready(reason: str) -> HttpResponse:
    response = JsonResponse({"status": "not ready", "reason": reason}, status=503)
    response["Retry-After"] = str(errors.RETRY_AFTER)
    return response


def _heartbeats(at: datetime) -> list[dict[str, object]]:
    rows = GatewayStatus.objects.order_by("gateway", "interface__name")
    return [
        {
            "gateway": gateway,
            "interface": interface,
            "heartbeat_at": heartbeat_at.isoformat().replace("+00:00", "Z"),
            "age_seconds": round((at - heartbeat_at).total_seconds(), 1),
        }
        for gateway, interface, heartbeat_at in rows.values_list("gateway", "interface__name", "heartbeat_at")
    ]


def _figures(at: datetime) -> list[str]:
    counts = {
        "entitled": Peer.objects.entitled(at).count(),
        "live": PeerStatus.objects.filter(present=True).values("peer").distinct().count(),
        "revoked": Peer.objects.filter(revoked_at__isnull=False).count(),
    }
    lines = ["# HELP latchkey_peers Peers by state.", "# TYPE latchkey_peers gauge"]
    lines += [f'latchkey_peers{{state="{state}"}} {count}' for state, count in counts.items()]
    lines += [
        "# HELP latchkey_gateway_heartbeat_age_seconds Seconds since a gateway was last heard of.",
        "# TYPE latchkey_gateway_heartbeat_age_seconds gauge",
    ]
    lines += [
        f'latchkey_gateway_heartbeat_age_seconds{{gateway="{_label(row["gateway"])}",interface="{row["interface"]}"}} '
        f"{row['age_seconds']}"
        for row in _heartbeats(at)
    ]
    lines += _handshakes()
    lines += [
        "# HELP latchkey_access_losses_held People whose loss of access the identity brake holds.",
        "# TYPE latchkey_access_losses_held gauge",
        f"latchkey_access_losses_held {HeldLoss.objects.count()}",
        "# HELP latchkey_revalidation_unanswered People about whom a provider has given no answer for too long.",
        "# TYPE latchkey_revalidation_unanswered gauge",
    ]
    # Nobody can be asked about people whose provider the settings know no more: they above all are to be seen.
    missing = dict.fromkeys((provider.id for provider in settings.OIDC_PROVIDERS), 0) | unanswered(at)
    lines += [
        f'latchkey_revalidation_unanswered{{provider="{_label(provider)}"}} {people}'
        for provider, people in missing.items()
    ]
    return lines


def _handshakes() -> list[str]:
    totals = [
        "# HELP latchkey_handshakes_total Handshakes that came to an interface on demand, by what became of them.",
        "# TYPE latchkey_handshakes_total counter",
    ]
    floods = [
        "# HELP latchkey_handshake_flood Whether a flood of handshakes that lead to nothing comes to a gateway.",
        "# TYPE latchkey_handshake_flood gauge",
    ]
    for row in GatewayStatus.objects.select_related("interface").order_by("gateway", "interface__name"):
        labels = f'gateway="{_label(row.gateway)}",interface="{row.interface}"'
        for outcome in OUTCOMES:
            count = getattr(row, f"handshakes_{outcome}")
            totals.append(f'latchkey_handshakes_total{{{labels},outcome="{outcome}"}} {count}')
        floods.append(f"latchkey_handshake_flood{{{labels}}} {int(row.flood_at is not None)}")
    return totals + floods


def _label(value: object) -> str:
    """Return a label's value, escaped as the exposition format wants it."""
    return str(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
