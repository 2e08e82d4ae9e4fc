from django.urls import path

from peers.api.application import urls as api
from peers.api.register import register
from peers.api.script import script
from peers.views import device, devices, links, stale, tokens

urlpatterns = [
    path("", devices.devices, name="devices"),
    path("api/v1/", api()),
    path("register", register, name="register"),
    path("enrol.sh", script, name="enrol-script"),
    path("accounts/tokens/", tokens.tokens, name="tokens"),
    path("accounts/tokens/<int:pk>/revoke", tokens.revoke_token, name="revoke-token"),
    path("enrol/", links.enrol, name="enrol"),
    path("devices/link", links.enrol_link, name="enrol-link"),
    path("devices/link/<uuid:pk>/status", links.link_status, name="link-status"),
    path("devices/<uuid:pk>/", device.device, name="device"),
    path("devices/<uuid:pk>/config", device.config, name="config"),
    path("devices/<uuid:pk>/status", device.status, name="status"),
    path("devices/<uuid:pk>/configured", stale.configured, name="configured"),
    path("devices/<uuid:pk>/rename", device.rename, name="rename"),
    path("devices/<uuid:pk>/replace-key", device.replace_key, name="replace-key"),
    path("devices/<uuid:pk>/revoke", device.revoke, name="revoke"),
]
