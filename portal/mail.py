"""Letters to people: queued in the transaction of what they tell of, delivered later, by another process."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from smtplib import SMTPException

from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models.functions import Now

from portal.models import Mail

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=3)
# A ValueError is an address or a header that no message can carry: it must not hold up the letters behind it.
FAILURES = (SMTPException, OSError, ValueError)
# Nobody's holiday notice answers them (RFC 3834, section 5).
HEADERS = {"Auto-Submitted": "auto-generated"}


def queue(*, to: str, subject: str, body: str) -> None:
    """Queue a plain-text letter; call it inside the transaction of the act that it tells of."""
    Mail.objects.create(to=to, subject=subject, body=body, queued_at=Now(), due_at=Now())


def deliver(at: datetime, *, stopped: Callable[[], bool] = lambda: False) -> int:
    """Send the letters that are due at ``at``, oldest first, until ``stopped`` says so; return how many were sent.

    Any number of processes may do so at once. A letter goes twice only if its sender dies between the server's word
    that it has it and the commit that deletes its row.
    """
    sent = 0
    while not stopped() and (taken := _deliver_next(at)) is not None:
        sent += taken
    return sent


@transaction.atomic
def _deliver_next(at: datetime) -> bool | None:
    """Return whether the next letter was sent, None when there is none; its row is ours alone until then."""
    due = Mail.objects.select_for_update(skip_locked=True).filter(due_at__lte=at)
    if (letter := due.order_by("due_at", "pk").first()) is None:
        return None
    try:
        EmailMessage(letter.subject, letter.body, to=[letter.to], headers=HEADERS).send()
    except FAILURES as error:
        _put_off(letter, error, at)
        return False
    letter.delete()
    return True


def _put_off(letter: Mail, error: Exception, at: datetime) -> None:
    """Wait twice as long as the last time; the log names the kind of failure, since its text has the address."""
    fields = {"mail": letter.pk, "tries": letter.tries + 1, "failure": type(error).__name__}
    if at - letter.queued_at >= GIVE_UP_AFTER:
        logger.error("mail_given_up", extra=fields)
        letter.delete()
        return
    logger.warning("mail_put_off", extra=fields)
    # 2 ** 6 minutes are beyond the longest pause.
    letter.due_at = at + min(FIRST_PAUSE * 2 ** min(letter.tries, 6), LONGEST_PAUSE)
    letter.tries += 1
    letter.save(update_fields=["due_at", "tries"])
