"""Make a gateway's reconciler from the settings."""

import socket

from django.conf import settings

from peers.gateway.attachment import Attachment, NoInterface
from peers.gateway.reconcile import Reconciler
from peers.wireguard.wg import interface_name


def reconciler(
    interface: str,
    *,
    create: bool = False,
    no_interface: bool = False,
    publish_key: bool = False,
    take_over: bool = False,
) -> Reconciler:
    """Return the reconciler of an interface on this host; raise ValueError for what cannot name an interface."""
    interface_name(interface)
    key_file = settings.LATCHKEY_PRIVATE_KEY_DIR / f"{interface}.key"
    attachment: Attachment | NoInterface = Attachment(interface, key_file, create=create)
    if no_interface:
        attachment = NoInterface(key_file if publish_key else None)
    gateway = settings.LATCHKEY_GATEWAY_NAME or socket.gethostname()
    return Reconciler(gateway, interface, attachment, take_over=take_over)
