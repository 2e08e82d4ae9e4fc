"""Add the chain of seals over the audit, which is as append-only as the audit."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

SEALS = """
CREATE TRIGGER auditseal_append_only BEFORE UPDATE OR DELETE ON peers_auditseal
    FOR EACH ROW EXECUTE FUNCTION latchkey_refuse('a seal of the audit stays');
CREATE TRIGGER auditseal_no_truncate BEFORE TRUNCATE ON peers_auditseal
    FOR EACH STATEMENT EXECUTE FUNCTION latchkey_refuse('a seal of the audit stays');
CREATE TRIGGER sealedevent_append_only BEFORE UPDATE OR DELETE ON peers_sealedevent
    FOR EACH ROW EXECUTE FUNCTION latchkey_refuse('a seal of the audit stays');
CREATE TRIGGER sealedevent_no_truncate BEFORE TRUNCATE ON peers_sealedevent
    FOR EACH STATEMENT EXECUTE FUNCTION latchkey_refuse('a seal of the audit stays');
"""


class Migration(migrations.Migration):
    dependencies = [
        ("peers", "0004_barred_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "previous",
                    models.BinaryField(
                        help_text="The digest before; zeros for the first.", max_length=32, unique=True
                    ),
                ),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("events", models.PositiveIntegerField(help_text="How many it seals.")),
                (
                    "sealed_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("events__gte", 1)), name="auditseal_events")
                ],
            },
        ),
        migrations.CreateModel(
            name="SealedEvent",
            fields=[
                (
                    "event",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="sealed",
                        serialize=False,
                        to="peers.auditevent",
                    ),
                ),
                (
                    "seal",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="sealed",
                        to="peers.auditseal",
                    ),
                ),
            ],
        ),
        # Dropping the tables drops the triggers.
        migrations.RunSQL(SEALS, migrations.RunSQL.noop),
    ]
