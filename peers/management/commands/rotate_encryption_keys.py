"""`manage.py rotate_encryption_keys`: encrypt everything anew with the first key, so that the others can go."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from peers import services


class Command(BaseCommand):
    help = "Encrypt everything at rest anew with the first of LATCHKEY_ENCRYPTION_KEYS."

    def handle(self, *_args: Any, **_options: Any) -> None:
        found = services.rotate_encryption_keys(actor=services.Actor(), progress=self._progress)
        devices, people = (found.unreadable[kind] for kind in ("preshared_keys", "refresh_tokens"))
        count = len(devices) + len(people)
        self.stdout.write(
            f"{found.renewed['preshared_keys']} preshared keys and {found.renewed['refresh_tokens']} refresh tokens were "
            f"encrypted anew. {count} values cannot be decrypted with any key."
        )
        if count:
            raise CommandError(_unreadable(devices, people))
        self.stdout.write(
            "Everything is encrypted with the first key. Once every process has it, take the others out of "
            "LATCHKEY_ENCRYPTION_KEYS."
        )

    def _progress(self, count: int) -> None:
        self.stdout.write(f"{count} values encrypted anew so far")
        self.stdout.flush()


def _unreadable(devices: list[str], people: list[str]) -> str:
    """Return what is left as it is, and what to do about it."""
    names = [*(f"device {pk}" for pk in devices), *(f"person {pk}" for pk in people)]
    return (
        f"No key opens the value of {', '.join(names)}. Put the key that made it into LATCHKEY_ENCRYPTION_KEYS and run this "
        "again; if it is lost, replace that device's key, or let that person sign in again."
    )
