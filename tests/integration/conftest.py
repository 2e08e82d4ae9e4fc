"""What the tests of pages share: static files as they are served, and the demo's identity provider as a process."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.demo.provider import DemoProvider
from portal import oidc_config
from tests.integration.provider_double import Double

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
    monkeypatch.setenv("TEST_PROVIDERS", demo_provider.environment()["LATCHKEY_OIDC_PROVIDERS"])
    use_providers(settings, oidc_config.providers("TEST_PROVIDERS"))
    yield demo_provider
    demo_provider.reset()


@pytest.fixture
def doubles(settings):
    """Two providers, each with people of its own."""
    made = [Double("first"), Double("second")]
    use_providers(settings, tuple(double.provider() for double in made))
    yield made
    for double in made:
        double.close()


def use_providers(settings, providers: tuple[oidc_config.Provider, ...]) -> None:
    settings.OIDC_PROVIDERS = providers
    settings.SOCIALACCOUNT_PROVIDERS = oidc_config.allauth_settings(providers)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
