"""A sign-in that has become too old to enrol with: the page leads to another one, and back."""

from datetime import timedelta
from urllib.parse import urlsplit

from allauth.usersessions.models import UserSession
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from playwright.sync_api import Page, expect

from tests.browser.person import at_the_provider, enrol, open_form, sign_in
from tests.integration.pages import prove


def test_one_click_leads_to_the_confirmation_and_back_to_the_form(page: Page):
    sign_in(page, "alice")
    latest = UserSession.objects.latest("created_at")
    prove(SessionStore(latest.session_key), auth_time=timezone.now() - timedelta(hours=11))
    open_form(page)
    page.get_by_role("button", name="Enrol this device").click()
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    page.get_by_role("button", name="Continue with").click()
    at_the_provider(page, "alice")
    expect(page.get_by_text("Signed in as")).to_be_visible()
    assert urlsplit(page.url).path == "/"
    enrol(page, "Confirmed")
