import datetime

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("portal", "0002_cache_table"),
    ]

    operations = [
        migrations.CreateModel(
            name="Mail",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("to", models.EmailField(max_length=254)),
                ("subject", models.CharField(max_length=200)),
                ("body", models.TextField()),
                ("queued_at", models.DateTimeField()),
                ("due_at", models.DateTimeField(help_text="Not to be tried before.")),
                ("tries", models.PositiveIntegerField(default=0)),
            ],
        ),
        migrations.AddField(
            model_name="user",
            name="suspend_reason",
            field=models.CharField(blank=True, db_default="", max_length=200),
        ),
        migrations.AddField(
            model_name="user",
            name="suspended_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RunSQL(
            "UPDATE portal_user SET suspended_at = now() WHERE NOT is_active", migrations.RunSQL.noop
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("suspend_reason", ""), ("suspended_at", None)),
                    models.Q(
                        ("is_active", False),
                        ("suspended_at__isnull", False),
                        ("suspended_at__lt", datetime.datetime(2200, 1, 1, 0, 0, tzinfo=datetime.UTC)),
                    ),
                    _connector="OR",
                ),
                name="user_suspended",
            ),
        ),
        migrations.AddIndex(
            model_name="mail",
            index=models.Index(fields=["due_at"], name="mail_due"),
        ),
        migrations.AddConstraint(
            model_name="mail",
            constraint=models.CheckConstraint(
                condition=models.Q(("subject__regex", "[[:cntrl:]]"), _negated=True), name="mail_subject"
            ),
        ),
    ]
