"""Who there is in the demo; a person's password is their name and ``-demo``."""

PEOPLE = {
    "alice": ("employees",),
    "bob": ("employees",),
    "carol": ("employees", "latchkey-admins"),
}
