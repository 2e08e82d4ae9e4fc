"""Find at once the few peers whose rows were put aside."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("peers", "0005_audit_seals")]

    operations = [
        migrations.AddIndex(
            "peerstatus",
            models.Index(fields=["peer"], condition=~models.Q(problem=""), name="peerstatus_problem"),
        )
    ]
