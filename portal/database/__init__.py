"""Django's backend for PostgreSQL, with fewer questions to it."""
