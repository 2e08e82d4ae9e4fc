"""The OpenAPI file: what the library does not say of the routes by itself."""

from http import HTTPStatus
from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

# Where the answer to an enrolment leads, and a page of the list.
WITH_ITS_ID = {
    name: {"operationId": name, "parameters": {"pk": "$response.body#/id"}}
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
    for parameter in operation["parameters"]:
        parameter["schema"] = _given(parameter["schema"])
        # A schema has a list of examples; a parameter has one, or a map.
        examples = [*parameter.pop("examples", ()), *parameter["schema"].get("examples", ())]
        parameter.setdefault("example", examples[0] if examples else None)
    for media in operation.get("requestBody", {}).get("content", {}).values():
        media["schema"] = _given(media["schema"])


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of what is given: a parameter, or a body, that is left out is not null."""
    if "anyOf" not in schema:
        return schema
    [given] = [alternative for alternative in schema["anyOf"] if alternative != {"type": "null"}]
    return {**given, **{name: value for name, value in schema.items() if name != "anyOf"}}
