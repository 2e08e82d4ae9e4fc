"""The shapes of requests and answers, with an example of each; what a request leaves out is told from what it gives as null."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.core.exceptions import ValidationError
from ninja import Schema
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from peers.forms import INVISIBLE, NAME_LENGTH, NAME_SIGNS, peer_name
from peers.models import SHORTEST_TTL
from peers.models.interface import INTERFACE_NAME, LONGEST
from peers.sentences import in_words
from peers.states import State
from peers.wireguard import keys

KEY = "mC4yxVuGfB3yBqzvCQp1ZbGd4CTo2iLRpV+jGQ4Y0mA="
SERVERS_KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
PEER = "5f2f0a4c-6d1e-4b52-9e0e-1b8b5d0c6a3f"
CURSOR = "MjAyNi0xMS0yNlQwNzowMDowMCswMDowMCA1ZjJmMGE0Yy02ZDFlLTRiNTItOWUwZS0xYjhiNWQwYzZhM2Y"

# What the services take, as a schema can say it; it is they that decide. Of a key: 32 bytes of which bit 255 is clear.
KEY_PATTERN = "^[A-Za-z0-9+/]{41}[A-HQ-Xg-nw-z0-3][AEIMQUYcgkosw048]=$"
# Of a name, in NFC: what it is made of, with white space around it that is trimmed.
_SPACE = r"[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*"
_SEEN = r"\p{L}\p{M}\p{Nd}" + "".join(sorted(NAME_SIGNS - {" ", "-"})) + r"\-"
_UNSEEN = "".join(f"\\u{ord(character):04x}" for character in sorted(INVISIBLE))
NAME_PATTERN = (
    rf"^(?![\s\S]*[{_UNSEEN}]){_SPACE}[{_SEEN}]([{_SEEN} ]{{0,{NAME_LENGTH - 2}}}[{_SEEN}])?{_SPACE}$"
)


def _key(text: str) -> str:
    try:
        return keys.public_key(text)
    except keys.InvalidKey as error:
        raise PydanticCustomError("invalid_key", "{why}", {"why": str(in_words(error))}) from None


def _name(text: str) -> str:
    try:
        return peer_name(text)
    except ValidationError as error:
        raise PydanticCustomError("invalid_name", "{why}", {"why": error.messages[0]}) from None


def _whole(number: Any) -> Any:
    """Return 60 for 60.0, which JSON does not tell apart."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


PublicKey = Annotated[
    str,
    AfterValidator(_key),
    Field(
        description="As `wg pubkey` prints it.",
        examples=[KEY],
        json_schema_extra={"pattern": KEY_PATTERN, "format": "wireguard-public-key"},
    ),
]
Name = Annotated[
    str,
    AfterValidator(_name),
    Field(
        description="1 to 64 characters once it is composed (NFC) and trimmed: letters, marks, digits, space and - _ . ' ( ) + # &.",
        examples=["build-7"],
        json_schema_extra={"pattern": NAME_PATTERN},
    ),
]
Ttl = Annotated[
    int,
    Field(
        strict=True,
        ge=int(SHORTEST_TTL.total_seconds()),
        le=int(LONGEST.total_seconds()),
        description="Seconds until it ends; at most what its account may.",
        examples=[3600],
    ),
    BeforeValidator(_whole),
]


class Request(Schema):
    model_config = ConfigDict(extra="forbid")


class EnrolRequest(Request):
    public_key: PublicKey
    name: Name | None = Field(
        None, description="Left out: the account's or the person's, and a few characters more."
    )
    interface: str | None = Field(
        None,
        max_length=15,
        description="Left out: the only one that you may use, else the default one.",
        examples=["wg0"],
        json_schema_extra={"pattern": INTERFACE_NAME},
    )
    ttl: Ttl | None = Field(None, description="Left out: what the account says.")


class RenameRequest(Request):
    name: Name


class RenewRequest(Request):
    ttl: Ttl | None = Field(None, description="Left out: what the account says.")


class PeerOut(Schema):
    """A device. Its addresses are none once they went to another."""

    id: UUID = Field(examples=[PEER])
    name: str = Field(examples=["build-7"])
    public_key: str = Field(examples=[KEY])
    interface: str = Field(examples=["wg0"])
    addresses: list[str] = Field(examples=[["10.77.0.2/32", "fd00:77::2/128"]])
    state: State = Field(examples=[State.LIVE])
    enrolled_at: datetime = Field(examples=["2026-11-26T07:00:00.000Z"])
    expires_at: datetime | None = Field(examples=["2026-11-26T08:00:00.000Z"])
    server_public_key: str = Field(examples=[SERVERS_KEY])
    server_endpoint: str = Field(examples=["vpn.example.com:51820"])
    client_allowed_ips: list[str] = Field(examples=[["10.77.0.0/16", "fd00:77::/64"]])
    dns: list[str] = Field(examples=[["10.77.0.1"]])
    mtu: int = Field(examples=[1420])
    persistent_keepalive: int = Field(description="Seconds; 0: none.", examples=[25])


class EnrolledOut(PeerOut):
    preshared_key: str = Field(
        "", description="In this answer only, and only where the interface uses them.", examples=[SERVERS_KEY]
    )


class PeersOut(Schema):
    items: list[PeerOut]
    next: str | None = Field(description="The cursor of the next page; null on the last.", examples=[CURSOR])


class InterfaceOut(Schema):
    name: str = Field(examples=["wg0"])
    public_key: str | None = Field(
        description="Null until its gateway has started once.", examples=[SERVERS_KEY]
    )
    endpoint: str = Field(examples=["vpn.example.com:51820"])
    client_allowed_ips: list[str] = Field(examples=[["10.77.0.0/16", "fd00:77::/64"]])
    dns: list[str] = Field(examples=[["10.77.0.1"]])
    mtu: int = Field(examples=[1420])
    persistent_keepalive: int = Field(examples=[25])


class InterfacesOut(Schema):
    items: list[InterfaceOut]


class ErrorBody(Schema):
    code: str = Field(description="A word for programs.", examples=["key_in_use"])
    message: str = Field(
        description="A sentence for people.", examples=["This key is already in use. Make a new one."]
    )
    field: str | None = Field(None, description="What of the request it is about.", examples=["public_key"])


class ErrorOut(Schema):
    error: ErrorBody


def errors(*statuses: int) -> dict[int, Any]:
    """Return the answers that every route has, and those at ``statuses``, for a route's list."""
    return dict.fromkeys(sorted({400, 401, 403, 413, 429, 503, *statuses}), ErrorOut)
