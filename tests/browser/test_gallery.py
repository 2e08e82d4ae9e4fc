"""What stands on the pages that pictures are taken of."""

from portal.models import HeldLoss, User
from tests import rows
from tests.screenshots import furnished


def test_the_pictures_of_the_readme_show_nothing_held_and_those_of_every_page_do(stack, alice_signed_in):
    if not User.objects.filter(is_superuser=True).exists():
        rows.person(is_staff=True, is_superuser=True)
    HeldLoss.objects.all().delete()
    furnished(stack, "")
    assert not HeldLoss.objects.exists()
    furnished(stack, "every/page")
    assert HeldLoss.objects.count() == 2
