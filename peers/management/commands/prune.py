"""`manage.py prune --older-than DAYS`: forget devices that ended long ago."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from peers import services

LONGEST = 36500


class Command(BaseCommand):
    help = "Delete devices that were revoked or expired long ago; their keys stay barred and the audit stays."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--older-than", type=_days, required=True, metavar="DAYS")
        parser.add_argument("--dry-run", action="store_true", help="change nothing; say how many would go")

    def handle(self, *, older_than: timedelta, dry_run: bool, **_: Any) -> None:
        at = timezone.now()
        before = at - older_than
        if dry_run:
            self.stdout.write(f"{services.prunable(before=before, at=at).count()} devices would be deleted.")
            return
        try:
            self._prune(before, at)
        except services.Refused as error:
            raise CommandError(str(error)) from None

    def _prune(self, before: datetime, at: datetime) -> None:
        count = 0
        while gone := services.prune(actor=services.Actor(), before=before, at=at):
            count += gone
            self.stdout.write(f"{count} devices deleted so far")
            self.stdout.flush()
        self.stdout.write(f"{count} devices deleted.")


def _days(text: str) -> timedelta:
    if not (text.isascii() and text.isdigit() and int(text) <= LONGEST):
        raise ArgumentTypeError(f"an age is a whole number of days, {LONGEST} at most")
    return timedelta(days=int(text))
