"""What the tests of pages share: browsers that are signed in, what stands on a page, what the database keeps."""

import re
from html import unescape

from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from peers.models import AuditEvent, Interface, Peer, PeerKey
from portal import assurance, sessions
from portal.models import User
from tests import rows

PEERS = "/admin/peers/peer/"
AUDIT = "/admin/peers/auditevent/"
ADMINS_ADDRESS = "203.0.113.9"
JSON = {"Accept": "application/json"}
HOSTILE = "<script>alert(1)</script>"


def signed_in(user, address="127.0.0.1", **proved):
    """Return the browser of ``user``, at ``address``."""
    return enter(Client(REMOTE_ADDR=address), user, **proved)


def enter(browser, user, provider="demo", auth_time=None, **proved):
    """Leave in ``browser`` what a sign-in of ``user`` at a provider leaves there, a moment ago unless ``auth_time`` says so."""
    browser.force_login(user)
    session = browser.session
    sessions.start(session, at=timezone.now())
    prove(session, provider, auth_time, **proved)
    return browser


def prove(session, provider="demo", auth_time=None, **proved):
    """Let the person of ``session`` have proved who they are, just now unless ``auth_time`` says when."""
    how = {"provider": provider, "auth_time": auth_time or timezone.now(), **proved}
    assurance.keep(session, assurance.Assurance(**how))
    session.save()


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


def cells(answer):
    """Return what stands in each cell of the table that a page of the admin is about, without tags, row by row."""
    assert answer.status_code == 200
    table = answer.content.decode().partition('<table class="overview-stack"')[2].partition("</table>")[0]
    rows_shown = re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL)[1:]
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows_shown]
    return [
        [" ".join(unescape(re.sub(r"<[^>]+>", "", cell.replace("<br>", " "))).split()) for cell in row]
        for row in found
    ]


def said(answer):
    """Return the messages that the next page shows, each with its level."""
    return [(message.level_tag, str(message)) for message in get_messages(answer.wsgi_request)]


def kept():
    """Return every row that a page could change, but for status and sessions."""
    return [
        list(model.objects.order_by("pk").values()) for model in (Peer, PeerKey, Interface, User, AuditEvent)
    ]
