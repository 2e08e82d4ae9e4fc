"""What is done to one row on a page of its own: the page asks, and whoever answered comes back to where they were."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from peers.admin.acts import ReasonForm
from peers.admin.read_only import origin

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = object


class AsksFirst(_Admin):
    """An admin of rows that the pages and sentences of its acts call ``called``."""

    called: str

    def ask(self, request: HttpRequest, act: str, row: Model, form: ReasonForm, **known: Any) -> HttpResponse:
        """Return the page that asks for what ``act`` takes; ``known`` is what else it tells."""
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, self.called: row, "form": form,
            "back": self.back(request, row), **known,
        }  # fmt: skip
        page = f"admin/{self.opts.app_label}/{self.opts.model_name}/{act}.html"
        return render(request, page, context, status=400 if form.is_bound else 200)

    def answer(self, request: HttpRequest, row: Model, level: int, sentence: str) -> HttpResponse:
        """Go back with ``sentence``, which names the row."""
        messages.add_message(request, level, sentence % {self.called: row})
        return HttpResponseRedirect(self.back(request, row))

    def back(self, request: HttpRequest, row: Model) -> str:
        """Return the page that one came from, or the row's, or for who may not see that the first one."""
        if not self.has_view_permission(request):
            return origin(request, reverse("admin:index"))
        page = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        return origin(request, reverse(page, args=[quote(row.pk)]))
