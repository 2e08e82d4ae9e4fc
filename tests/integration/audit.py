"""What the tests of the audit share: what its pages say, events of another day, and an export read back."""

import csv
import json
import re
from datetime import timedelta
from io import StringIO
from urllib.parse import urlencode

from peers import services
from tests.integration.pages import AUDIT

ADDRESS = f"{AUDIT}address/"
DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)


def by(person):
    return services.Actor(user=person, source="198.51.100.7")


def text(answer):
    """Return the words of a page, without its tags and the lists of choices beside it."""
    assert answer.status_code in (200, 400)
    page = re.sub(r"(?s)<nav .*?</nav>|<script.*?</script>|<style.*?</style>", "", answer.content.decode())
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page)).replace("&#x27;", "'")


def exported(admin, kind, **query):
    """Return the rows of an export, each as a dictionary by the columns."""
    answer = admin.post(f"{AUDIT}export.{kind}?{urlencode(query)}")
    assert answer.status_code == 200
    assert answer.streaming
    content = b"".join(answer.streaming_content).decode()
    if kind == "jsonl":
        return [json.loads(line) for line in content.split("\n")[:-1]]
    return list(csv.DictReader(StringIO(content, newline="")))


def write_event(database, at, action, peer, **columns):
    """Insert one event as it was written at ``at``; the web role writes none but its own, now."""
    values = {
        "at": at.isoformat(), "action": action, "actor_kind": "command", "peer_id": str(peer.pk), "gateway": "",
        "interface_id": peer.interface_id, "person_id": peer.owner_id, "service_account_id": peer.service_account_id,
        "old": "{}", "new": "{}", "reason": "", **columns,
    }  # fmt: skip
    values = {name: value for name, value in values.items() if value is not None}
    quoted = ", ".join("'" + str(value).replace("'", "''") + "'" for value in values.values())
    database.sql(f"INSERT INTO peers_auditevent ({', '.join(values)}) VALUES ({quoted})")


def receipt(database, at, peer):
    write_event(database, at, "removed", peer, actor_kind="gateway", gateway="gw")


def pruned(database):
    """Prune all that may go by now."""
    database.call("prune", "--older-than", "0")
