"""What the tests of pages share: static files as they are served, the demo's identity provider, people, devices, gateways."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from deploy.demo.provider import DemoProvider
from portal import oidc_config
from tests.gateway.conftest import require
from tests.integration.provider_double import Double
from tests.integration.redis_server import RedisServer
from tests.integration.redis_server import missing as redis_missing
from tests.providers.certified import CertifiedProvider, missing

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the static files as ``collectstatic`` makes them for production."""
    import os

    folder = tmp_path_factory.mktemp("static")
    environment = {**os.environ, "LATCHKEY_STATIC_ROOT": str(folder)}
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--noinput", "-v0"],
        cwd=ROOT,
        env=environment,
        check=True,
    )
    return folder


@pytest.fixture(autouse=True)
def _static_files(settings, collected: Path) -> None:
    settings.STATIC_ROOT = str(collected)
    settings.WHITENOISE_AUTOREFRESH = (
        True  # each file is looked up when it is asked for, not all by each test's client
    )


@pytest.fixture(scope="session")
def demo_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProvider]:
    """Run the demo's identity provider for the whole session; its portal is Django's test client."""
    provider = DemoProvider(tmp_path_factory.mktemp("provider"), free_port(), "http://127.0.0.1:8000")
    provider.setup()
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture
def provider(
    demo_provider: DemoProvider, settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DemoProvider]:
    """Let the portal use the demo provider, and set its people right again afterwards."""
    use(demo_provider.environment(), settings, monkeypatch)
    yield demo_provider
    demo_provider.reset()


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CertifiedProvider]:
    """Run the second, certified provider for the whole session; its portal is Django's test client."""
    require(not (reason := missing()), reason)
    log = tmp_path_factory.mktemp("certified") / "provider.log"
    provider = CertifiedProvider(log, free_port(), "http://127.0.0.1:8000")
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a Redis for the whole session."""
    require(not (reason := redis_missing()), reason)
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture(params=["database", "redis"])
def store(request: pytest.FixtureRequest, database, settings) -> str:
    """Let the portal count in each of the stores that it knows, the one after the other; give its name."""
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        with server.client() as client:
            client.flushall()
        settings.REDIS_URL = server.url
    return request.param


@pytest.fixture
def doubles(settings):
    """Two providers, each with people of its own."""
    made = [Double("first"), Double("second")]
    use_providers(settings, tuple(double.provider() for double in made))
    yield made
    for double in made:
        double.close()


def use(environment: dict[str, str], settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the portal use what a provider's ``environment()`` says."""
    monkeypatch.setenv("TEST_PROVIDERS", environment["LATCHKEY_OIDC_PROVIDERS"])
    use_providers(settings, oidc_config.providers("TEST_PROVIDERS"))


def use_providers(settings, providers: tuple[oidc_config.Provider, ...]) -> None:
    settings.OIDC_PROVIDERS = providers
    settings.SOCIALACCOUNT_PROVIDERS = oidc_config.allauth_settings(providers)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _rows():
    """Return ``tests.rows``: it needs Django's models, which are not ready yet when this file is read."""
    from tests import rows

    return rows


@pytest.fixture
def wg0(database):
    return _rows().interface()


@pytest.fixture
def alice(wg0):
    return _rows().person("alice", email="alice@example.com")


@pytest.fixture
def laptop(alice, wg0):
    return _rows().peer(alice, wg0, "Alice's laptop")


@pytest.fixture
def phone(wg0, laptop):
    return _rows().peer(_rows().person("bob"), wg0, "Bob's phone")


@pytest.fixture
def builders(wg0):
    """Return a service account that may use wg0."""
    return _rows().account(wg0, name="builders")


@pytest.fixture
def builder(builders):
    """Return a program of theirs, with a token that is good for everything."""
    from tests.integration.programs import Program

    return Program(_rows().token(builders)[1])


@pytest.fixture
def root(wg0):
    return _rows().person("root", is_staff=True, is_superuser=True)


@pytest.fixture
def admin(root):
    """Return the browser of one who may do everything in the admin."""
    from tests.integration.pages import ADMINS_ADDRESS, signed_in

    return signed_in(root, ADMINS_ADDRESS)


@pytest.fixture
def local_admin(root, admin):
    """Return the browser of one who may do everything, whichever providers are configured."""
    from portal.break_glass import LOCAL_ISSUER

    root.issuer = LOCAL_ISSUER
    root.save(update_fields=["issuer"])
    return admin


@pytest.fixture
def gateway(database, wg0):
    """Return a function that writes a gateway's row, as the gateway's role would; each value is SQL."""

    def write(name="gw1", on=wg0, age="0 s", **columns):
        values = {
            "gateway": f"'{name}'", "interface_id": on.pk, "version": "'1.2.3'", "attached": "true",
            "started_at": "now()", "heartbeat_at": f"now() - interval '{age}'", "last_pass_at": "now()",
            "drift_found": 0, "left_alone": "'{}'", "unexplained": 0, "held": 0, "problem": "''",
            **columns,
        }  # fmt: skip
        _insert(database, "peers_gatewaystatus", values)

    return write


@pytest.fixture
def status(database):
    """Return a function that writes what a gateway read back of a peer; each value is SQL."""

    def write(peer, name="gw1", handshake="null", **columns):
        values = {
            "gateway": f"'{name}'", "peer_id": f"'{peer.pk}'", "public_key": f"'{peer.key.public_key}'",
            "present": "true", "since": "now()", "latest_handshake": handshake, "endpoint": "''", "rx_bytes": 0,
            "tx_bytes": 0, "held": "false", "problem": "''", **columns,
        }  # fmt: skip
        _insert(database, "peers_peerstatus", values)

    return write


def _insert(database, table, values):
    database.sql(f"INSERT INTO {table} ({','.join(values)}) VALUES ({','.join(map(str, values.values()))})")


@pytest.fixture
def idp(settings):
    """Let the portal use a provider that can be asked whether people's access lasts."""
    from tests.integration.refreshing import Refreshing

    made = Refreshing()
    groups = {"allowed_groups": frozenset({"employees"}), "admin_groups": frozenset({"vpn-admins"})}
    use_providers(settings, (made.provider(**groups),))
    yield made
    made.close()


@pytest.fixture
def hire(idp, wg0):
    """Give a function that makes a person with a device on wg0, whose refresh token is due at once."""
    return partial(idp.hire, wg0)
