from django.contrib import admin
from django.urls import include, path

from portal import accounts, break_glass, confirmation, health

handler400 = "portal.errors.bad_request"
handler403 = "portal.errors.forbidden"
handler404 = "portal.errors.not_found"
handler429 = "portal.errors.too_many_requests"  # allauth's name for it
handler500 = "portal.errors.server_error"

urlpatterns = [
    path("", include("peers.urls")),
    path("accounts/login/", accounts.login, name="account_login"),
    path("accounts/logout/", accounts.logout, name="account_logout"),
    path("accounts/signed-out/", accounts.signed_out, name="signed_out"),
    path("accounts/confirm/", confirmation.page, name="confirm"),
    path("accounts/sessions/", accounts.list_sessions, name="account_sessions"),
    path("accounts/sessions/end", accounts.end_other_sessions, name="end_other_sessions"),
    path("accounts/sessions/<int:number>/end", accounts.end_session, name="end_session"),
    path("accounts/oidc/", include("portal.oidc.urls")),
    path("admin/", admin.site.urls),
    path("break-glass/<str:token>", break_glass.view, name="break-glass"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
]
