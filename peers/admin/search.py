"""Find devices by whatever is at hand: a name, a person, an address, a key."""

import re
from functools import reduce
from ipaddress import ip_address
from operator import and_

from django.db.models import Q, QuerySet

from peers.models import Interface, Peer, PeerKey, ServiceAccount
from portal.models import User

# As logs and pages shorten a key, or more of it.
BEGINNING_OF_A_KEY = re.compile(r"[A-Za-z0-9+/]{8,43}=?")


def found(peers: QuerySet[Peer], text: str) -> QuerySet[Peer]:
    """Return the peers with this address or key (its first 8 characters will do), or with every word in name or holder."""
    words = text.split()
    if not words:
        return peers
    wanted = reduce(and_, map(_by_word, words)) | _by_address(text.strip())
    if BEGINNING_OF_A_KEY.fullmatch(text.strip()):
        keys = PeerKey.objects.filter(public_key__startswith=text.strip())
        wanted |= Q(pk__in=keys.values("peer"))
    return peers.filter(wanted)


def _by_word(word: str) -> Q:
    # People and accounts on their own: there are fewer of them than devices, and each is compared once.
    owners = User.objects.filter(Q(name__icontains=word) | Q(email__icontains=word) | Q(sub__icontains=word))
    accounts = ServiceAccount.objects.filter(name__icontains=word)
    held = Q(owner__in=owners.values("pk")) | Q(service_account__in=accounts.values("pk"))
    return Q(name__icontains=word) | held


def _by_address(text: str) -> Q:
    """Return the condition that a peer has the address ``text``; one that nothing meets when that is in no pool."""
    wanted = Q(pk__in=[])
    try:
        address = ip_address(text)
    except ValueError:
        return wanted
    for interface in Interface.objects.all():
        for pool in interface.pools:
            if address in pool:
                wanted |= Q(interface=interface, host=int(address) - int(pool.network_address))
    return wanted
