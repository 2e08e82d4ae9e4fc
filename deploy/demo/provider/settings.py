"""Settings of the demo identity provider; nothing of the portal's is shared."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

DIRECTORY = Path(os.environ["DEMO_PROVIDER_DIRECTORY"])
ISSUER = os.environ["DEMO_PROVIDER_ISSUER"]


def kept(name: str, make: Callable[[], str]) -> str:
    """Return the content of a file of the demo's own, made on first use."""
    path = DIRECTORY / name
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(make(), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def signing_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


SECRET_KEY = kept("secret-key", lambda: secrets.token_urlsafe(50))
CLIENT_SECRET = kept("client-secret", lambda: secrets.token_urlsafe(32))
IDP_OIDC_PRIVATE_KEY = kept("signing-key.pem", signing_key)
IDP_OIDC_ADAPTER = "deploy.demo.provider.claims.Adapter"

ALLOWED_HOSTS = [urlsplit(ISSUER).hostname, "127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "allauth",
    "allauth.account",
    "allauth.idp.oidc",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
ROOT_URLCONF = "deploy.demo.provider.urls"
WSGI_APPLICATION = "deploy.demo.provider.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DIRECTORY / "provider.sqlite3",
        "OPTIONS": {"timeout": 10, "transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "account_login"
USE_TZ = True
# Cookies ignore ports, and the portal is on the same host.
SESSION_COOKIE_NAME = "demo-provider"
CSRF_COOKIE_NAME = "demo-provider-csrf"
PASSWORD_HASHERS = ["deploy.demo.provider.hasher.FewRounds"]
