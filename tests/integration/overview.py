"""What the tests of the overview share: what it says, and samples of another quarter of an hour."""

import html
import re
from datetime import timedelta

from peers.states import database_now

INDEX = "/admin/"


def page(browser, path=INDEX):
    answer = browser.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def text(page):
    """Return what the overview says, without tags and with single spaces."""
    inside = page.partition('<div class="overview">')[2].partition('<div id="content-main">')[0]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", inside)))


def fact(page, name):
    """Return the values that stand under ``name``, one for each card."""
    return [
        re.sub(r"<[^>]+>", "", value).strip() for value in re.findall(rf"<dt>{name}</dt><dd>(.*?)</dd>", page)
    ]


def release(interface):
    """Return the address of the page that releases the brake of an interface."""
    return f"/admin/peers/interface/{interface.pk}/release-brake/"


def quarter(back=0):
    """Return when the quarter of an hour began that is ``back`` quarters before the one that goes on."""
    at = database_now()
    return at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0) - timedelta(minutes=15) * back


def sampled(database, peer, at, gateway="gw1"):
    """Write a sample of a peer's traffic that a gateway took at ``at``."""
    database.sql(
        "INSERT INTO peers_trafficsample (gateway_id, peer_id, at, rx_bytes, tx_bytes) SELECT id,"
        f" '{peer.pk}', '{at.isoformat()}', 0, 0 FROM peers_gatewaystatus WHERE gateway = '{gateway}'"
    )
