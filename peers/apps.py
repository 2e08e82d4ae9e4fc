from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PeersConfig(AppConfig):
    name = "peers"
    verbose_name = _("Peers")

    def ready(self) -> None:
        from peers import signals  # noqa: F401  # connects the handlers once the models are loaded
