"""Say who asks: nobody, once their session is over."""

from django.contrib import messages
from django.contrib.auth.middleware import get_user
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from portal import session_limits, sessions
from portal.http import is_polled
from portal.middleware import Handler
from portal.models import User


class SessionLimitsMiddleware:
    """Judge the session whenever somebody asks whose it is: no view can forget to."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.user = SimpleLazyObject(lambda: _person(request))  # type: ignore[assignment]
        return self.get_response(request)


def _person(request: HttpRequest) -> User | AnonymousUser:
    person = get_user(request)
    if not isinstance(person, User):
        return AnonymousUser()
    at = timezone.now()
    if why := sessions.over(request, person, at=at):
        sessions.close(request)
        said = session_limits.sentence(why, session_limits.limits(person))
        messages.info(request, said, fail_silently=True)  # whoever asks earlier than there are messages
        return AnonymousUser()
    if not is_polled(request):
        sessions.note_act(request, at=at)
    return person
