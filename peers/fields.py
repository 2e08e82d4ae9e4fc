"""A column of our own: a public key."""

from django.db import models

PUBLIC_KEY = r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"


class PublicKeyField(models.CharField):  # type: ignore[type-arg]
    def __init__(self, **options: object) -> None:
        super().__init__(**{"max_length": 44, **options})  # type: ignore[arg-type]
