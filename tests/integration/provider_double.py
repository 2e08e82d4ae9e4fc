"""An identity provider that does what a test tells it to: answer well, badly, slowly, or with lies."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from portal.oidc_config import Provider
from tests.integration.sign_in import depart

MOVED = "/moved"
DISCOVERY, TOKEN, USERINFO, KEYS = "/.well-known/openid-configuration", "/token", "/userinfo", "/keys"
SECRET = "a-client-secret-that-must-not-be-logged"
CODE = "a-code-that-must-not-be-logged"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
JWK = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": "first", "use": "sig"}


@dataclass
class Double:
    """``behave[path]`` is a function of the request handler that takes the place of the right answer."""

    name: str = "double"
    behave: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    id_token: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    posted: dict[str, list[str]] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=lambda: [JWK])
    sign: Callable[[dict[str, Any]], str] = lambda claims: jwt.encode(claims, KEY, "RS256", {"kid": "first"})
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        handler = type("Handler", (_Handler,), {"double": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        self.document = {
            "issuer": self.issuer,
            "authorization_endpoint": self.issuer + "/authorize",
            "token_endpoint": self.issuer + TOKEN,
            "userinfo_endpoint": self.issuer + USERINFO,
            "jwks_uri": self.issuer + KEYS,
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }
        now = int(time.time())
        self.id_token = {
            "iss": self.issuer,
            "aud": "latchkey",
            "sub": "person-1",
            "iat": now,
            "exp": now + 300,
        }
        self.userinfo = {
            "sub": "person-1",
            "name": "Person One",
            "email": "one@example.com",
            "groups": ["employees"],
        }
        self.tokens = {"access_token": "an-access-token", "token_type": "Bearer"}

    def provider(self, **changes: Any) -> Provider:
        values = {"id": self.name, "name": self.name.title(), "issuer": self.issuer, "client_id": "latchkey"}
        return Provider(**{**values, "client_secret": SECRET, **changes})

    def is_person(self, sub: str, **claims: Any) -> None:
        self.id_token["sub"] = sub
        self.userinfo = {**self.userinfo, "sub": sub, **claims}

    def answer(self, path: str) -> dict[str, Any]:
        if path == TOKEN:
            return {"id_token": self.sign(self.id_token), **self.tokens}
        return {DISCOVERY: self.document, USERINFO: self.userinfo, KEYS: {"keys": self.keys}}[path]

    def sign_in(self, client, next_url="/", purpose=None, **more: str):
        """Let whoever the double says it is come back to the portal, with ``more`` in the query; return its answer."""
        also = {"purpose": purpose} if purpose else {}
        query = parse_qs(urlsplit(depart(client, next_url, self.name, **also)).query)
        self.id_token.setdefault("nonce", query["nonce"][0])
        try:
            return client.get(self.callback(state=query["state"][0], code=CODE, **more))
        finally:
            self.id_token.pop("nonce", None)

    def callback(self, **query: str) -> str:
        pairs = "&".join(f"{name}={value}" for name, value in query.items())
        return f"/accounts/oidc/{self.name}/login/callback/?{pairs}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    double: Double

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.double.asked.append(path)
        with suppress(BrokenPipeError, ConnectionResetError):  # the portal hangs up, as it should
            right = self.double.answer(path.removeprefix(MOVED))
            self.double.behave.get(path, lambda handler: handler.json(right))(self)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.form = self.double.posted = parse_qs(body.decode())
        self.do_GET()

    def json(self, value: object, status: int = 200) -> None:
        self.send(json.dumps(value).encode(), status=status)

    def send(
        self, body: bytes, status: int = 200, media_type: str = "application/json", **headers: str
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": media_type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


def fails(handler: _Handler) -> None:
    handler.json({"error": "server_error"}, status=500)


def sends_garbage(handler: _Handler) -> None:
    handler.send(b'{"issuer": ')


def sends_html(handler: _Handler) -> None:
    handler.send(b"<html>Gateway says hello</html>", media_type="text/html")


def sends_a_list(handler: _Handler) -> None:
    handler.json(["not", "an", "object"])


def sends_deep_json(handler: _Handler) -> None:
    handler.send(b"[" * 100_000)


def sends_two_mebibytes(handler: _Handler) -> None:
    handler.json({**handler.double.answer(handler.path), "padding": "x" * (2 << 20)})


def redirects(handler: _Handler) -> None:
    """Redirect to where the right answer is: following it would seem to work."""
    handler.send(b"{}", status=302, Location=MOVED + handler.path)


def hangs(handler: _Handler) -> None:
    time.sleep(20)


def drips_headers(handler: _Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(handler)


def drips_body(handler: _Handler) -> None:
    handler.wfile.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
    )
    _drip(handler)


def dawdles(handler: _Handler) -> None:
    """Answer well, after two seconds: none of three such calls is slow, all three together are."""
    time.sleep(2)
    handler.json(handler.double.answer(handler.path))


def _drip(handler: _Handler) -> None:
    for _ in range(400):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)
