"""Links from one page of the admin to another."""

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString


def to(row: Model) -> SafeString:
    """Return the row's name as a link to its page."""
    named = f"{row._meta.app_label}_{row._meta.model_name}"  # noqa: SLF001  # Django's documented API
    return format_html('<a href="{}"><bdi>{}</bdi></a>', reverse(f"admin:{named}_change", args=[row.pk]), row)
