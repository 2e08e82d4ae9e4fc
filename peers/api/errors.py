"""The one shape of an error, and the status of each refusal."""

from http import HTTPStatus
from typing import Any

from django.http import HttpResponse, JsonResponse
from django.utils.functional import Promise

from peers import services

# What a refusal is told as; the others are conflicts. Their codes are documented one by one.
STATUSES = {
    services.TokenInvalid.code: HTTPStatus.UNAUTHORIZED,
    services.NotEntitled.code: HTTPStatus.FORBIDDEN,
    services.InterfaceNotAllowed.code: HTTPStatus.FORBIDDEN,
    services.UseLimit.code: HTTPStatus.FORBIDDEN,
    services.TtlTooLong.code: HTTPStatus.BAD_REQUEST,
    services.TtlMissing.code: HTTPStatus.BAD_REQUEST,
    services.NotReady.code: HTTPStatus.SERVICE_UNAVAILABLE,
}
FIELDS = {
    services.KeyInUse.code: "public_key",
    services.KeyRevoked.code: "public_key",
    services.TtlTooLong.code: "ttl",
    services.TtlMissing.code: "ttl",
    services.InterfaceNotAllowed.code: "interface",
}
RETRY_AFTER = {services.NoFreeAddress.code: 60, services.NotReady.code: 10}  # seconds


class ApiError(Exception):
    """An answer that is no success; ``code`` is for programs, ``message`` for people, ``retry_after`` in seconds."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str | Promise,
        *,
        field: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, str(message)
        self.field, self.retry_after = field, retry_after

    def response(self) -> HttpResponse:
        error = {"code": self.code, "message": self.message} | ({"field": self.field} if self.field else {})
        return self.with_headers(JsonResponse({"error": error}, status=self.status))

    def with_headers(self, response: HttpResponse) -> HttpResponse:
        """Return the response with what a client needs besides its body."""
        if self.retry_after is not None:
            response.headers["Retry-After"] = str(self.retry_after)
        if self.status == HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = 'Bearer realm="latchkey"'  # RFC 6750, section 3
        return response


def told(refused: services.Refused) -> ApiError:
    """Return the error that a service's refusal is."""
    status = STATUSES.get(refused.code, HTTPStatus.CONFLICT)
    more: dict[str, Any] = {"field": FIELDS.get(refused.code), "retry_after": RETRY_AFTER.get(refused.code)}
    return ApiError(status, refused.code, str(refused), **more)
