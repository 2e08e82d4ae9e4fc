from django.db import migrations

# What `manage.py createcachetable` makes, so that setting up is `migrate` and nothing else.
CREATE = """
CREATE TABLE portal_cache (
    cache_key varchar(255) NOT NULL PRIMARY KEY,
    value text NOT NULL,
    expires timestamp with time zone NOT NULL
);
CREATE INDEX portal_cache_expires ON portal_cache (expires);
"""


class Migration(migrations.Migration):
    dependencies = [("portal", "0001_user_and_break_glass_link")]

    operations = [migrations.RunSQL(CREATE, "DROP TABLE portal_cache")]
