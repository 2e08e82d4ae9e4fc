from django.apps import AppConfig
from django.contrib.admin import apps as admin
from django.utils.translation import gettext_lazy as _


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = _("Portal")
    default = True

    def ready(self) -> None:
        from portal import checks  # noqa: F401  # registers the system checks


class PortalAdminConfig(admin.AdminConfig):
    """Django's admin behind the portal's own sign-in."""

    default = False
    default_site = "portal.admin_site.Site"
