"""The OpenAPI file: what the library does not say of the routes by itself."""

from http import HTTPStatus
from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

# Where the answer to an enrolment leads, and a page of the list.
WITH_ITS_ID = {
    name: {"operationId": name, "parameters": {"peer_id": "$response.body#/id"}}
    for name in ("read_peer", "rename_peer", "renew_peer", "revoke_peer")
}
ENROLLED: dict[str, Any] = {"responses": {status: {"links": WITH_ITS_ID} for status in (200, 201, 202)}}
LISTED: dict[str, Any] = {
    "responses": {
        200: {
            "links": {"next": {"operationId": "list_peers", "parameters": {"cursor": "$response.body#/next"}}}
        }
    }
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}},
    HTTPStatus.TOO_MANY_REQUESTS: _RETRY_AFTER,
    HTTPStatus.SERVICE_UNAVAILABLE: _RETRY_AFTER,
}
# An example of each refusal: its code, its sentence, and the field that it is about.
REFUSALS = {
    HTTPStatus.BAD_REQUEST: (
        "ttl_too_long",
        "The longest time that you may ask for is 86400 seconds.",
        "ttl",
    ),
    HTTPStatus.UNAUTHORIZED: ("token_invalid", "Send a valid token as “Authorization: Bearer …”.", None),
    HTTPStatus.FORBIDDEN: ("scope_missing", "This token may not do that: it lacks peers:enrol.", None),
    HTTPStatus.NOT_FOUND: ("not_found", "There is no such device.", None),
    HTTPStatus.CONFLICT: ("key_in_use", "This key is already in use. Make a new one.", "public_key"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("too_large", "This is longer than 16 KiB.", None),
    HTTPStatus.TOO_MANY_REQUESTS: ("too_many_requests", "Too many requests. Try again in 42 s.", None),
    HTTPStatus.SERVICE_UNAVAILABLE: ("unavailable", "The database cannot be reached.", None),
}


class DescribedAPI(NinjaAPI):
    """The library's API, with operations named as their functions are, and with the headers of its answers."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return str(operation.view_func.__name__)

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**options)
        for path in schema["paths"].values():
            for operation in path.values():
                _finish(operation)
        return schema


def _finish(operation: dict[str, Any]) -> None:
    for status, headers in HEADERS.items():
        operation["responses"][status]["headers"] = headers
    for status, refusal in REFUSALS.items():
        if status in operation["responses"]:
            operation["responses"][status]["content"]["application/json"]["example"] = _error(*refusal)
    for parameter in operation["parameters"]:
        parameter["schema"] = _given(parameter["schema"])
        # A schema has a list of examples; a parameter has one, or a map.
        examples = [*parameter.pop("examples", ()), *parameter["schema"].get("examples", ())]
        parameter.setdefault("example", examples[0] if examples else None)
    for media in operation.get("requestBody", {}).get("content", {}).values():
        media["schema"] = _given(media["schema"])


def _error(code: str, message: str, field: str | None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message} | ({"field": field} if field else {})}


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of what is given: a parameter, or a body, that is left out is not null."""
    if "anyOf" not in schema:
        return schema
    [given] = [alternative for alternative in schema["anyOf"] if alternative != {"type": "null"}]
    return {**given, **{name: value for name, value in schema.items() if name != "anyOf"}}
