"""What Django's requests and responses have no name for."""

from django.http import HttpRequest, HttpResponseRedirect

from portal.models import User


class PersonRequest(HttpRequest):
    """A request that the sign-in middleware has let through."""

    user: User


class SeeOther(HttpResponseRedirect):
    """A redirect after a POST, which a browser follows with a GET."""

    status_code = 303
