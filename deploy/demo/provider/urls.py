from allauth.idp.oidc.views import authorization
from django.contrib.auth import logout
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from deploy.demo.provider.people import PEOPLE

people = [(name, f"{name}-demo", groups) for name, groups in PEOPLE.items()]


@csrf_exempt
def authorize(request: HttpRequest) -> HttpResponse:
    """Grant as allauth does, then forget who it was, so that the next sign-in may be as somebody else."""
    response: HttpResponse = authorization(request)
    if "code=" in response.get("Location", ""):
        logout(request)
    return response


urlpatterns = [
    path("identity/o/authorize", authorize),
    path("", include(("allauth.idp.urls", "idp"))),
    path(
        "sign-in/",
        LoginView.as_view(template_name="sign_in.html", extra_context={"people": people}),
        name="account_login",
    ),
]
