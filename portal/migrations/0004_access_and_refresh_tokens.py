import datetime

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import portal.encryption

# Who signed in before can be asked about only once they sign in again, and so must before long, whatever their interface's
# lease is. A week: their next sign-in is then due when the usual lease is over, not all at once after the upgrade.
LIMIT_EARLIER_SIGN_INS = """
    UPDATE portal_user SET lease_limit = LEAST(GREATEST(now() - signed_in_at, '0'), '3600 days') + '7 days'
    WHERE signed_in_at IS NOT NULL AND lease_limit IS NULL
"""


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("portal", "0003_suspended_people_and_mail"),
    ]

    operations = [
        migrations.CreateModel(
            name="HeldLoss",
            fields=[
                (
                    "person",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="held_loss",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("refused", "The identity provider no longer renews their sign-in."),
                            ("disabled", "The identity provider says that their account is disabled."),
                            (
                                "group_lost",
                                "The identity provider no longer names them in a group that lets them in.",
                            ),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "groups",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=255), null=True, size=None
                    ),
                ),
                ("found_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("released_at", models.DateTimeField(null=True)),
                (
                    "released_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "held losses",
            },
        ),
        migrations.CreateModel(
            name="RefreshToken",
            fields=[
                (
                    "person",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="refresh_token",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("provider", models.CharField(help_text="The provider's id in the settings.", max_length=40)),
                ("token", portal.encryption.EncryptedField()),
                ("obtained_at", models.DateTimeField()),
                (
                    "due_at",
                    models.DateTimeField(
                        help_text="Not to be asked before; while it is being asked, not by another."
                    ),
                ),
                (
                    "answered_at",
                    models.DateTimeField(
                        help_text="When the provider last answered for the person.", null=True
                    ),
                ),
                ("unsure", models.BooleanField(default=False)),
                ("failing_since", models.DateTimeField(null=True)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("trouble", models.CharField(blank=True, max_length=40)),
            ],
        ),
        migrations.AddField(
            model_name="user",
            name="access_end_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("refused", "The identity provider no longer renews their sign-in."),
                    ("disabled", "The identity provider says that their account is disabled."),
                    (
                        "group_lost",
                        "The identity provider no longer names them in a group that lets them in.",
                    ),
                ],
                db_default="",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="user",
            name="access_ended_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="user",
            name="lease_limit",
            field=models.DurationField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="user",
            name="lease_warned_at",
            field=models.DateTimeField(blank=True, help_text="When they were told that it ends.", null=True),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("lease_limit", None),
                    models.Q(
                        ("lease_limit__gt", datetime.timedelta(0)),
                        ("lease_limit__lte", datetime.timedelta(days=3650)),
                    ),
                    _connector="OR",
                ),
                name="user_lease_limit",
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("access_end_reason", ""), ("access_ended_at", None)),
                    models.Q(
                        ("access_end_reason__in", ["refused", "disabled", "group_lost"]),
                        ("access_ended_at__isnull", False),
                        ("access_ended_at__lt", datetime.datetime(2200, 1, 1, 0, 0, tzinfo=datetime.UTC)),
                    ),
                    _connector="OR",
                ),
                name="user_access_ended",
            ),
        ),
        migrations.AddConstraint(
            model_name="heldloss",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason__in", ["refused", "disabled", "group_lost"])),
                name="heldloss_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="heldloss",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("released_at", None), ("released_by", None)),
                    models.Q(("released_at__isnull", False), ("released_by__isnull", False)),
                    _connector="OR",
                ),
                name="heldloss_released",
            ),
        ),
        migrations.AddIndex(
            model_name="refreshtoken",
            index=models.Index(fields=["due_at"], name="refreshtoken_due"),
        ),
        migrations.AddConstraint(
            model_name="refreshtoken",
            constraint=models.CheckConstraint(
                condition=models.Q(("token", ""), _negated=True), name="refreshtoken_not_empty"
            ),
        ),
        migrations.RunSQL(LIMIT_EARLIER_SIGN_INS, migrations.RunSQL.noop),
    ]
