import datetime
import uuid

import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.fields.json
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("peers", "0002_what_never_changes"),
        ("sessions", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="BarredKey",
            fields=[
                ("fingerprint", models.BinaryField(max_length=32, primary_key=True, serialize=False)),
            ],
        ),
        migrations.CreateModel(
            name="EnrolLink",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "token_hash",
                    models.CharField(help_text="SHA-256, in hexadecimal.", max_length=64, unique=True),
                ),
                ("made_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="FreedNumber",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("host", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="TrafficSample",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(help_text="When the quarter of an hour began.")),
                (
                    "rx_bytes",
                    models.BigIntegerField(
                        help_text="As wg(8) counts: since the peer came on the interface."
                    ),
                ),
                ("tx_bytes", models.BigIntegerField()),
            ],
        ),
        migrations.AlterModelOptions(
            name="peer",
            options={
                "permissions": [
                    ("revoke_peer", "Can revoke devices"),
                    ("suspend_peer", "Can suspend and restore devices"),
                ]
            },
        ),
        migrations.AddField(
            model_name="peer",
            name="configured",
            field=models.JSONField(
                db_default=models.Value({}, models.JSONField()),
                default=dict,
                help_text="The settings that the device was last given; empty: not known.",
            ),
        ),
        migrations.AddField(
            model_name="peer",
            name="suspend_reason",
            field=models.CharField(blank=True, db_default="", max_length=200),
        ),
        migrations.AddField(
            model_name="peerstatus",
            name="connected_since",
            field=models.DateTimeField(
                help_text="The first of the handshakes that followed each other without a gap; null: none yet.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="peer",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="peers.peer",
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=django.contrib.postgres.indexes.GinIndex(
                django.db.models.fields.json.KeyTransform("addresses", "new"),
                condition=models.Q(("new__has_key", "addresses")),
                name="auditevent_addresses",
            ),
        ),
        migrations.AddConstraint(
            model_name="peer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("suspended_at__isnull", False),
                        ("suspended_at__lt", datetime.datetime(2200, 1, 1, 0, 0, tzinfo=datetime.UTC)),
                    ),
                    models.Q(("suspend_reason", ""), ("suspended_at", None)),
                    _connector="OR",
                ),
                name="peer_suspended",
            ),
        ),
        migrations.AddField(
            model_name="enrollink",
            name="interface",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="peers.interface"
            ),
        ),
        migrations.AddField(
            model_name="enrollink",
            name="owner",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="enrol_links",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="enrollink",
            name="peer",
            field=models.ForeignKey(
                help_text="What it enrolled.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="peers.peer",
            ),
        ),
        migrations.AddField(
            model_name="enrollink",
            name="session",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="sessions.session"
            ),
        ),
        migrations.AddField(
            model_name="freednumber",
            name="interface",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="peers.interface"
            ),
        ),
        migrations.AddField(
            model_name="trafficsample",
            name="gateway",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="peers.gatewaystatus"
            ),
        ),
        migrations.AddField(
            model_name="trafficsample",
            name="peer",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="samples", to="peers.peer"
            ),
        ),
        migrations.AddConstraint(
            model_name="enrollink",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("peer", None), ("used_at", None)),
                    models.Q(
                        ("peer__isnull", False),
                        ("used_at__isnull", False),
                        ("used_at__lt", models.F("expires_at")),
                    ),
                    _connector="OR",
                ),
                name="enrollink_used",
            ),
        ),
        migrations.AddConstraint(
            model_name="freednumber",
            constraint=models.UniqueConstraint(fields=("interface", "host"), name="freednumber_host"),
        ),
        migrations.AddConstraint(
            model_name="freednumber",
            constraint=models.CheckConstraint(
                condition=models.Q(("host__gte", 1)), name="freednumber_host_positive"
            ),
        ),
        migrations.AddIndex(
            model_name="trafficsample",
            index=models.Index(fields=["at"], name="trafficsample_at"),
        ),
        migrations.AddConstraint(
            model_name="trafficsample",
            constraint=models.UniqueConstraint(fields=("peer", "at", "gateway"), name="trafficsample_once"),
        ),
    ]
