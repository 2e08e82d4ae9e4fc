"""What the tests of the API share: a program that calls it with a token, and what its answers say."""

from typing import Any

from django.http import HttpResponse
from django.test import Client

from tests import rows

PEERS, INTERFACES, REGISTER = "/api/v1/peers", "/api/v1/interfaces", "/register"
PROGRAMS_ADDRESS = "198.51.100.9"


class Program:
    """A program that calls from ``address`` with the text of a token, if it has one."""

    def __init__(self, text: str = "", address: str = PROGRAMS_ADDRESS, **headers: str) -> None:
        shown = {"Authorization": f"Bearer {text}"} if text else {}
        self.browser = Client(REMOTE_ADDR=address, headers={**shown, **headers})

    def get(self, path: str = PEERS, **query: object) -> HttpResponse:
        return self.browser.get(path, query)

    def post(self, path: str, body: Any = None) -> HttpResponse:
        return self.browser.post(path, body or {}, content_type="application/json")

    def send(self, body: bytes | str, path: str = PEERS) -> HttpResponse:
        """Post a body as it stands."""
        return self.browser.generic("POST", path, body, content_type="application/json")

    def enrol(self, key: str = "", path: str = PEERS, **fields: object) -> HttpResponse:
        return self.post(path, {"public_key": key or rows.public_key(), **fields})

    def register(self, key: str = "") -> HttpResponse:
        return self.enrol(key, REGISTER)

    def rename(self, pk: object, name: str) -> HttpResponse:
        return self.browser.patch(f"{PEERS}/{pk}", {"name": name}, content_type="application/json")

    def renew(self, pk: object, **fields: object) -> HttpResponse:
        return self.post(f"{PEERS}/{pk}/renew", fields)

    def revoke(self, pk: object) -> HttpResponse:
        return self.browser.delete(f"{PEERS}/{pk}")

    def ids(self, **query: object) -> list[str]:
        """Return the ids on one page of the list."""
        answer = self.get(**query)
        assert answer.status_code == 200, answer.content
        return [item["id"] for item in answer.json()["items"]]


def told(answer: HttpResponse) -> tuple[int, str, str | None]:
    """Return the status, the code and the field of an error, which has the one shape there is."""
    body = answer.json()
    assert set(body) == {"error"}, body
    error = body["error"]
    assert {"code", "message"} <= set(error) <= {"code", "message", "field"}
    assert error["message"].strip()
    if answer.status_code in (429, 503):
        assert int(answer["Retry-After"]) > 0
    if answer.status_code == 401:
        assert answer["WWW-Authenticate"] == 'Bearer realm="latchkey"'
    return answer.status_code, error["code"], error.get("field")
