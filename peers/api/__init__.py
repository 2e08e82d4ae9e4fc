"""The JSON API for machines: authentication, shapes and errors; every rule is in the services."""
