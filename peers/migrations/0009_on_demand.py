"""Peers that exist on an interface only while they are used: what gateways keep of handshakes."""

import django.db.models.deletion
import django.db.models.lookups
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("peers", "0008_revoked_tokens_and_own_numbers"),
    ]

    operations = [
        migrations.CreateModel(
            name="HandshakeTimestamp",
            fields=[
                (
                    "key",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="timestamp",
                        serialize=False,
                        to="peers.peerkey",
                    ),
                ),
                ("tai64n", models.BinaryField(max_length=12)),
                (
                    "seen_at",
                    models.DateTimeField(help_text="By the database's clock: how far the device's is off."),
                ),
            ],
        ),
        migrations.CreateModel(
            name="RefusedHandshake",
            fields=[
                (
                    "peer",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="refused_handshake",
                        serialize=False,
                        to="peers.peer",
                    ),
                ),
                ("count", models.BigIntegerField(help_text="All that there ever were.")),
                ("first_at", models.DateTimeField(help_text="The first after an hour without any.")),
                ("latest_at", models.DateTimeField()),
                ("told_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddField(
            model_name="gatewaystatus",
            name="flood_at",
            field=models.DateTimeField(
                help_text="Since when a flood of packets comes that lead to nothing.", null=True
            ),
        ),
        migrations.AddField(
            model_name="gatewaystatus",
            name="handshakes_admitted",
            field=models.BigIntegerField(
                db_default=0, default=0, help_text="On demand: handshakes that put a peer on."
            ),
        ),
        migrations.AddField(
            model_name="gatewaystatus",
            name="handshakes_dropped",
            field=models.BigIntegerField(
                db_default=0, default=0, help_text="More than are looked at: a flood, unread."
            ),
        ),
        migrations.AddField(
            model_name="gatewaystatus",
            name="handshakes_invalid",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="Packets that were no handshake of anybody's, or one that came before.",
            ),
        ),
        migrations.AddField(
            model_name="gatewaystatus",
            name="handshakes_refused",
            field=models.BigIntegerField(
                db_default=0, default=0, help_text="Of devices that were not entitled, or that nobody knows."
            ),
        ),
        migrations.AddField(
            model_name="interface",
            name="idle_minutes",
            field=models.PositiveIntegerField(
                db_default=15,
                default=15,
                help_text="On demand: minutes without a packet after which a peer is taken off; 4 or more.",
            ),
        ),
        migrations.AddIndex(
            model_name="peerstatus",
            index=models.Index(
                condition=models.Q(
                    ("present", True), models.Q(("problem", ""), _negated=True), _connector="OR"
                ),
                fields=["gateway"],
                name="peerstatus_to_know",
            ),
        ),
        migrations.AddConstraint(
            model_name="interface",
            constraint=models.CheckConstraint(
                condition=models.Q(("idle_minutes__range", (4, 525600))),
                name="interface_idle_minutes",
                violation_error_message="Idle minutes are a number from 4 to 525600, which is a year.",
            ),
        ),
        migrations.AddConstraint(
            model_name="handshaketimestamp",
            constraint=models.CheckConstraint(
                condition=django.db.models.lookups.Exact(
                    models.Func(
                        models.F("tai64n"), function="octet_length", output_field=models.IntegerField()
                    ),
                    12,
                ),
                name="handshaketimestamp_tai64n",
            ),
        ),
        migrations.AddConstraint(
            model_name="refusedhandshake",
            constraint=models.CheckConstraint(
                condition=models.Q(("count__gte", 1), ("latest_at__gte", models.F("first_at"))),
                name="refusedhandshake_order",
            ),
        ),
    ]
