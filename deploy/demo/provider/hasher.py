from django.contrib.auth.hashers import PBKDF2PasswordHasher


class FewRounds(PBKDF2PasswordHasher):
    """Hash fast: the demo's passwords are printed on its sign-in page, and its client's secret is random."""

    iterations = 1000
