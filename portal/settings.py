"""The one settings file: every value that differs between installations comes from the environment.

``docs/settings.md`` describes each variable.
"""

from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url

from portal import environment, oidc_config

BASE_DIR = Path(__file__).resolve().parent.parent

# --- The site ---

DEBUG = environment.flag("DEBUG", default=False)
SECRET_KEY = environment.secret("SECRET_KEY", length=50)
SECRET_KEY_FALLBACKS = environment.words("SECRET_KEY_FALLBACKS")
LATCHKEY_URL = environment.site("LATCHKEY_URL")
_url = urlsplit(LATCHKEY_URL)
HTTPS = _url.scheme == "https"
ALLOWED_HOSTS = [_url.hostname or "", *environment.words("LATCHKEY_EXTRA_HOSTS")]
CSRF_TRUSTED_ORIGINS = [LATCHKEY_URL]
LATCHKEY_TRUSTED_PROXY_HOPS = environment.number("LATCHKEY_TRUSTED_PROXY_HOPS", 0)

# --- What Latchkey is made of ---

INSTALLED_APPS = [
    "portal",
    "peers",
    "portal.apps.PortalAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "ninja",
    "netfields",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "portal.middleware.HeadersMiddleware",
    "portal.middleware.ProgramsMiddleware",
    "csp.middleware.CSPMiddleware",
    "portal.middleware.BodyLimitMiddleware",
    "portal.middleware.MethodNotAllowedMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.session_middleware.SessionLimitsMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "peers.context.attachment",
            ],
        },
    },
]

LANGUAGE_CODE = "en-gb"
LANGUAGES = [("en-gb", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True

# --- Data: PostgreSQL is the only thing that processes share ---

DATABASES = {
    "default": dj_database_url.parse(
        environment.text("DATABASE_URL"), engine="portal.database", conn_max_age=600, conn_health_checks=True
    ),
}
DATABASES["default"]["OPTIONS"] = {
    # PostgreSQL's JIT spends a second compiling a plan that is dear by estimate alone and then runs for milliseconds.
    "options": "-c jit=off",
    **DATABASES["default"].get("OPTIONS", {}),
    "application_name": "latchkey",
    # A page says within 3 s that the database is away: libpq's connect_timeout is in seconds, and tcp_user_timeout,
    # in milliseconds, ends a connection whose other end has fallen silent.
    "connect_timeout": 2,
    "tcp_user_timeout": 2500,
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = environment.text("REDIS_URL", "")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},  # seconds
    }
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "portal_cache"},
}
ENCRYPTION_KEYS = environment.fernet_keys("LATCHKEY_ENCRYPTION_KEYS")

# --- Signing in ---

AUTH_USER_MODEL = "portal.User"
# It asks for rights and whether a person is still active; nobody here has a password.
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
OIDC_PROVIDERS = oidc_config.providers("LATCHKEY_OIDC_PROVIDERS")
SOCIALACCOUNT_PROVIDERS = oidc_config.allauth_settings(OIDC_PROVIDERS)
SOCIALACCOUNT_ADAPTER = "portal.oidc.adapter.Adapter"
# Our own views look people up by (issuer, sub) and never enter allauth's sign-up and connect flows; should a later
# change do so, these keep e-mail addresses from linking people and tokens from being stored.
SOCIALACCOUNT_ONLY = True
SOCIALACCOUNT_AUTO_SIGNUP = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_LOGIN_ON_GET = False
SOCIALACCOUNT_STORE_TOKENS = False
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}  # allauth's own forms are not reachable; its checks want this
ACCOUNT_SIGNUP_FIELDS = ["email*"]
ACCOUNT_ADAPTER = "portal.oidc.adapter.AccountAdapter"
# Counted in the cache, which is in the database: every worker and host counts together.
ACCOUNT_RATE_LIMITS = {"login": "60/m/ip", "break_glass": "10/m/ip", "enrol_link": "20/m/ip"}

# --- How often one may ask, and how many may wait for an answer ---

LATCHKEY_RATE_LIMITS = environment.rates(
    "LATCHKEY_RATE_LIMITS",
    {
        "token": 600,
        "account": 3000,
        "person": 30,
        "address": 3000,
        "bad_token": 20,
        "read": 600,
        "revoke": 600,
    },
    least={"revoke": 60},
)
LATCHKEY_THREADS = environment.number("LATCHKEY_THREADS", 12, least=1)
LATCHKEY_WAITING = environment.number("LATCHKEY_WAITING", LATCHKEY_THREADS * 2 // 3)

# --- How long access lasts ---

LATCHKEY_REVALIDATE_EVERY = environment.seconds("LATCHKEY_REVALIDATE_EVERY", 300)
LATCHKEY_REVALIDATE_PARALLEL = environment.number("LATCHKEY_REVALIDATE_PARALLEL", 10, least=1)
LATCHKEY_REVALIDATE_ALARM_AFTER = environment.seconds("LATCHKEY_REVALIDATE_ALARM_AFTER", 3600)
LATCHKEY_LEASE_WITHOUT_REFRESH_TOKEN = environment.seconds("LATCHKEY_LEASE_WITHOUT_REFRESH_TOKEN", 24 * 3600)
LATCHKEY_LEASE_WARNING = environment.seconds("LATCHKEY_LEASE_WARNING", 24 * 3600)
LATCHKEY_SESSION_AGE = environment.seconds("LATCHKEY_SESSION_AGE", 12 * 3600)
LATCHKEY_SESSION_IDLE = environment.seconds("LATCHKEY_SESSION_IDLE", 3600)
LATCHKEY_ADMIN_SESSION_AGE = environment.seconds("LATCHKEY_ADMIN_SESSION_AGE", 8 * 3600)
LATCHKEY_ADMIN_SESSION_IDLE = environment.seconds("LATCHKEY_ADMIN_SESSION_IDLE", 15 * 60)
LATCHKEY_ADMIN_ACT_AGE = environment.seconds(
    "LATCHKEY_ADMIN_ACT_AGE", 300, least=oidc_config.SHORTEST_AGE, or_zero=True
)

# --- Cookies and headers ---

SESSION_COOKIE_NAME = "__Host-latchkey" if HTTPS else "latchkey"
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = int(LATCHKEY_SESSION_AGE.total_seconds())
CSRF_COOKIE_NAME = "__Host-latchkey-csrf" if HTTPS else "latchkey-csrf"
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "portal.errors.csrf_failure"
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if LATCHKEY_TRUSTED_PROXY_HOPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "manifest-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    },
}

# --- Static files ---

STATIC_URL = "/static/"
STATIC_ROOT = Path(environment.text("LATCHKEY_STATIC_ROOT", str(BASE_DIR / "staticfiles")))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

WHITENOISE_ALLOW_ALL_ORIGINS = False

# --- WireGuard ---

LATCHKEY_DEFAULT_INTERFACE = environment.text("LATCHKEY_DEFAULT_INTERFACE", "wg0")
LATCHKEY_PRIVATE_KEY_DIR = Path(environment.text("LATCHKEY_PRIVATE_KEY_DIR", "/etc/latchkey/keys"))
LATCHKEY_RESTORE_DEVICES_WITHIN = environment.number("LATCHKEY_RESTORE_DEVICES_WITHIN", 30)  # days
LATCHKEY_FIRST_HANDSHAKE_WITHIN = environment.seconds("LATCHKEY_FIRST_HANDSHAKE_WITHIN", 24 * 3600, least=300)
LATCHKEY_GATEWAY_NAME = environment.text("LATCHKEY_GATEWAY_NAME", "")

# --- Letters, which `manage.py send_mail` delivers; without a server it prints them ---

DEFAULT_FROM_EMAIL = environment.text("LATCHKEY_MAIL_FROM", f"Latchkey <latchkey@{_url.hostname}>")
EMAIL_HOST = environment.text("LATCHKEY_SMTP_HOST", "")
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'console'}.EmailBackend"
EMAIL_HOST_USER = environment.text("LATCHKEY_SMTP_USER", "")
EMAIL_HOST_PASSWORD = environment.text("LATCHKEY_SMTP_PASSWORD", "")
_tls = environment.choice("LATCHKEY_SMTP_TLS", "starttls", "tls", "none")
EMAIL_USE_TLS = _tls == "starttls"
EMAIL_USE_SSL = _tls == "tls"
EMAIL_PORT = environment.port("LATCHKEY_SMTP_PORT", {"starttls": 587, "tls": 465, "none": 25}[_tls])
EMAIL_TIMEOUT = 10  # seconds, for each answer

# --- Monitoring ---

LATCHKEY_METRICS_TOKEN = environment.text("LATCHKEY_METRICS_TOKEN", "")

# --- Logs: one JSON object a line ---

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "portal.logs.Formatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": environment.text("LATCHKEY_LOG_LEVEL", "INFO")},
    # Django and gunicorn bring handlers of their own, which write plain text.
    "loggers": {
        name: {"handlers": [], "propagate": True} for name in ("django", "django.server", "gunicorn.error")
    },
}

# W008: the proxy that ends TLS redirects plain http. A redirect from here as well would go round in circles behind a
# proxy that forgets X-Forwarded-Proto.
SILENCED_SYSTEM_CHECKS = ["security.W008"]
