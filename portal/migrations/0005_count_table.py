"""Add the table of what came in within a minute; unlogged: it is written at every request, and worth nothing after a crash."""

from django.db import migrations

CREATE = """
CREATE UNLOGGED TABLE portal_count (
    key varchar(200) NOT NULL PRIMARY KEY,
    number integer NOT NULL,
    until timestamp with time zone NOT NULL
);
"""


class Migration(migrations.Migration):
    dependencies = [("portal", "0004_access_and_refresh_tokens")]

    operations = [migrations.RunSQL(CREATE, "DROP TABLE portal_count")]
