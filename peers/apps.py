from django.apps import AppConfig


class PeersConfig(AppConfig):
    name = "peers"

    def ready(self) -> None:
        from peers import signals  # noqa: F401  # connects the handlers once the models are loaded
