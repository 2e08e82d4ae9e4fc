"""What stands above the list of models at /admin/."""

from peers.admin.overview import page

__all__ = ["page"]
