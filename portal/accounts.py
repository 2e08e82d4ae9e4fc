"""The sign-in page and the sign-out page."""

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from portal.oidc.views import safe_next


@login_not_required
@require_safe
def login(request: HttpRequest) -> HttpResponse:
    """Show one button for each provider; someone who is signed in already goes to the start page."""
    if request.user.is_authenticated:
        return redirect(settings.LOGIN_REDIRECT_URL)
    providers = [(provider.id, provider.name) for provider in settings.OIDC_PROVIDERS]
    context = {"providers": providers, "next": safe_next(request.GET.get("next"))}
    return render(request, "account/login.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def logout(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return render(request, "account/logout.html")
    auth.logout(request)
    return redirect("account_login")
