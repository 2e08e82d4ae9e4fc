"""Say in a template which settings of a device are out of date."""

from django import template

from peers import stale

register = template.Library()
register.filter("stale", stale.changed)
register.filter("settings_fingerprint", stale.fingerprint)
