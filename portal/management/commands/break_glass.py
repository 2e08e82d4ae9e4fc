from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse
from django.utils import timezone

from portal import break_glass
from portal.models import User


class Command(BaseCommand):
    help = (
        "Print a link that signs an administrator in once, within ten minutes, without the identity provider."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("person", nargs="?", help="the administrator's id or e-mail address")
        who.add_argument("--new", metavar="NAME", help="make the first administrator, while there is none")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            user = (
                break_glass.create_first_admin(options["new"]) if options["new"] else _find(options["person"])
            )
            token = break_glass.issue(user, at=timezone.now())
        except break_glass.NotAllowedError as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(settings.LATCHKEY_URL + reverse("break-glass", args=[token]))


def _find(person: str) -> User:
    """Return the one person with that id or e-mail address; two with one address must be told apart by id."""
    wanted = {"pk": int(person)} if person.isdecimal() else {"email__iexact": person}
    found = list(User.objects.filter(**wanted)[:2])
    if not found:
        raise CommandError(f"Nobody here is {person}.")
    if len(found) > 1:
        raise CommandError(
            f"More than one person has the address {person}: give the id that the admin shows."
        )
    return found[0]
