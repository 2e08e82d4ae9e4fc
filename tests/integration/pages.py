"""What the tests of pages share: browsers that are signed in, what stands on a page, what the database keeps."""

import re

from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.test import Client

from peers.models import AuditEvent, Interface, Peer, PeerKey
from portal.models import User
from tests import rows

PEERS = "/admin/peers/peer/"
AUDIT = "/admin/peers/auditevent/"
ADMINS_ADDRESS = "203.0.113.9"
JSON = {"Accept": "application/json"}
HOSTILE = "<script>alert(1)</script>"


def signed_in(user, address="127.0.0.1"):
    """Return the browser of ``user``, at ``address``."""
    browser = Client(REMOTE_ADDR=address)
    browser.force_login(user)
    return browser


def staff(*rights):
    """Return the browser of one who may enter the admin and has only ``rights`` there."""
    user = rows.person(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return signed_in(user, ADMINS_ADDRESS)


def enrolment(**fields):
    """Return what the form of an enrolment sends."""
    return {"name": "Laptop", "platform": "linux", "public_key": rows.public_key(), **fields}


def title(page):
    return re.search(r"<title>([^<]*)</title>", page)[1]


def names(answer):
    """Return the names of the devices that a list shows."""
    assert answer.status_code == 200
    return re.findall(r'field-name"><a [^>]*>([^<]+)</a>', answer.content.decode().replace("&#x27;", "'"))


def said(answer):
    """Return the messages that the next page shows, each with its level."""
    return [(message.level_tag, str(message)) for message in get_messages(answer.wsgi_request)]


def kept():
    """Return every row that a page could change, but for status and sessions."""
    return [
        list(model.objects.order_by("pk").values()) for model in (Peer, PeerKey, Interface, User, AuditEvent)
    ]
