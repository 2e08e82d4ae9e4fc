"""What gateways say of themselves."""

from django.contrib import admin

from peers.admin.read_only import ReadOnlyAdmin
from peers.models import GatewayStatus


@admin.register(GatewayStatus)
class GatewayStatusAdmin(ReadOnlyAdmin):
    list_display = [
        "gateway",
        "interface",
        "heartbeat_at",
        "last_pass_at",
        "attached",
        "drift_found",
        "held",
        "problem",
    ]
    list_select_related = ["interface"]
