"""Let machines own peers: service accounts, API tokens, and who acted with which in the audit."""

import datetime

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
import netfields.fields
from django.conf import settings
from django.db import migrations, models

STAYS = """
DROP TRIGGER peer_stays_its_owners ON peers_peer;
CREATE TRIGGER peer_stays_its_owners BEFORE UPDATE ON peers_peer FOR EACH ROW
    WHEN ((NEW.id, NEW.interface_id, NEW.owner_id{new}) IS DISTINCT FROM (OLD.id, OLD.interface_id, OLD.owner_id{old}))
    EXECUTE FUNCTION latchkey_refuse('a peer stays its owner''s, on its interface');
"""
TOKENS = """
CREATE TRIGGER apitoken_stays_revoked BEFORE UPDATE ON peers_apitoken FOR EACH ROW
    WHEN (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at)
    EXECUTE FUNCTION latchkey_refuse('a revoked token stays revoked');
CREATE TRIGGER apitoken_stays_as_made BEFORE UPDATE ON peers_apitoken FOR EACH ROW
    WHEN ((NEW.token_hash, NEW.service_account_id, NEW.owner_id, NEW.scopes, NEW.expires_at, NEW.use_limit)
        IS DISTINCT FROM (OLD.token_hash, OLD.service_account_id, OLD.owner_id, OLD.scopes, OLD.expires_at, OLD.use_limit))
    EXECUTE FUNCTION latchkey_refuse('what a token is good for stays as it was made');
"""
# A peer's key is no interface's: the kernel would silently ignore such a peer.
KEYS = """
CREATE FUNCTION latchkey_key_must_not_be_an_interfaces() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM peers_interface WHERE public_key = NEW.public_key) THEN
        RAISE EXCEPTION 'peerkey_not_an_interfaces: an interface has this key'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'peerkey_not_an_interfaces';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER peerkey_not_an_interfaces AFTER INSERT ON peers_peerkey
    FOR EACH ROW EXECUTE FUNCTION latchkey_key_must_not_be_an_interfaces();
"""
KEYS_BACK = """
DROP TRIGGER peerkey_not_an_interfaces ON peers_peerkey;
DROP FUNCTION latchkey_key_must_not_be_an_interfaces();
"""
# Which number the next peer is given. SKIP LOCKED lets racers pass each other. Whoever moves the mark lets nobody else do so
# until the commit; so it goes on by many, all but one are set aside for the others, and they look there first when it is
# their turn. The interface's own number is stepped over.
NUMBERS = """
CREATE FUNCTION latchkey_take_number(
    for_interface bigint, for_owner bigint, for_account bigint, for_peer uuid, rest double precision, last bigint, ahead int
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
    mark bigint;
    own bigint;
    -- Planned for the values at hand: a plan for any would walk through everybody's.
    given_up CONSTANT text := 'UPDATE peers_peer AS former SET host = NULL FROM (SELECT id, host FROM peers_peer
        WHERE interface_id = $1 AND id <> $3 AND host IS NOT NULL AND released_at <= now() AND ';
    oldest CONSTANT text := ' ORDER BY released_at LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS released WHERE former.id = released.id RETURNING released.host';
BEGIN
    IF for_owner IS NOT NULL THEN
        EXECUTE given_up || 'owner_id = $2' || oldest INTO number USING for_interface, for_owner, for_peer;
        IF number IS NOT NULL THEN
            RETURN number;
        END IF;
    END IF;
    FOR turn IN 1..2 LOOP
        WITH taken AS (
            UPDATE peers_peer AS former SET host = NULL FROM (
                SELECT id, host FROM peers_peer
                WHERE interface_id = for_interface AND id <> for_peer
                    AND host IS NOT NULL AND released_at <= now() - make_interval(secs => rest)
                ORDER BY released_at LIMIT 1 FOR UPDATE SKIP LOCKED
            ) AS released WHERE former.id = released.id RETURNING released.host
        ), freed AS (
            DELETE FROM peers_freednumber WHERE id = (
                SELECT id FROM peers_freednumber WHERE interface_id = for_interface AND NOT EXISTS (SELECT FROM taken)
                ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING host
        )
        SELECT host INTO number FROM (SELECT host FROM taken UNION ALL SELECT host FROM freed) found;
        IF number IS NOT NULL THEN
            RETURN number;
        END IF;
        -- Not by a lock of the row: to lock it and then to change it makes those who wait wait for each other.
        PERFORM pg_advisory_xact_lock(hashtext('latchkey-numbers'), for_interface::int);
    END LOOP;

    SELECT next_host, host INTO mark, own FROM peers_interface WHERE id = for_interface;
    IF mark <= last THEN
        UPDATE peers_interface SET next_host = LEAST(mark + ahead, last + 1) WHERE id = for_interface;
        INSERT INTO peers_freednumber (interface_id, host)
            SELECT for_interface, next FROM generate_series(mark, LEAST(mark + ahead, last + 1) - 1) next
            WHERE next <> own ORDER BY next;
        DELETE FROM peers_freednumber WHERE interface_id = for_interface AND host = (
            SELECT min(host) FROM peers_freednumber WHERE interface_id = for_interface AND host >= mark)
            RETURNING host INTO number;
    END IF;
    IF number IS NULL AND for_account IS NOT NULL THEN
        EXECUTE given_up || 'service_account_id = $2' || oldest INTO number USING for_interface, for_account, for_peer;
    END IF;
    RETURN number;
END $$;
"""
# ``Interface.addresses_of``, as the audit writes them.
ADDRESSES = """
CREATE FUNCTION latchkey_addresses(for_interface bigint, number bigint) RETURNS text[] STABLE LANGUAGE sql AS $$
    SELECT array_agg(host(pool + number) || CASE family(pool) WHEN 4 THEN '/32' ELSE '/128' END ORDER BY family(pool))
    FROM peers_interface, unnest(ARRAY[ipv4_pool, ipv6_pool]) pool WHERE id = for_interface AND pool IS NOT NULL
$$;
"""
# Whether there is room for one more, and its number: all that an enrolment asks before it writes, in one question.
# ``known``: somebody's already, and nothing else is looked at. ``refusal``: the code of what stands against it.
# An owner's enrolments go one after the other before this is called. Of a service account's machines many come at once, and
# none waits for another as long as those that can be under way at once, one a connection, would all find room: otherwise the
# refusal is "crowded", and it is asked again ``alone``. What counts as held is ``PeerQuerySet.holding``.
ADMIT = """
CREATE FUNCTION latchkey_admit(
    key text, for_interface bigint, for_owner bigint, for_account bigint, for_peer uuid, at timestamptz, most bigint,
    alone boolean, wants_number boolean, rest double precision, last bigint, ahead int,
    OUT known uuid, OUT retired boolean, OUT refusal text, OUT number bigint, OUT addresses text[]
) LANGUAGE plpgsql AS $$
DECLARE
    suspended boolean := false;
    allowed boolean := true;
    held bigint;
    at_once bigint := 0;
BEGIN
    SELECT peer_id, retired_at IS NOT NULL INTO known, retired FROM peers_peerkey WHERE public_key = key;
    IF FOUND THEN
        RETURN;
    END IF;
    IF for_account IS NULL THEN
        SELECT count(*) INTO held FROM peers_peer
        WHERE owner_id = for_owner AND interface_id = for_interface AND id <> for_peer
            AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > at);
    ELSE
        IF alone THEN
            PERFORM pg_advisory_xact_lock(hashtext('latchkey-account'), for_account::int);
        ELSE
            PERFORM pg_advisory_xact_lock_shared(hashtext('latchkey-account'), for_account::int);
            at_once := current_setting('max_connections')::bigint;
        END IF;
        SELECT suspended_at IS NOT NULL, EXISTS (
            SELECT FROM peers_serviceaccount_interfaces
            WHERE serviceaccount_id = for_account AND interface_id = for_interface)
        INTO suspended, allowed FROM peers_serviceaccount WHERE id = for_account;
        SELECT count(*) INTO held FROM peers_peer
        WHERE service_account_id = for_account AND id <> for_peer
            AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > at);
    END IF;
    refusal := CASE
        WHEN suspended THEN 'not_entitled'
        WHEN NOT allowed THEN 'interface_not_allowed'
        WHEN held >= most THEN 'peer_limit'
        WHEN held + at_once >= most THEN 'crowded'
    END;
    IF refusal IS NULL AND wants_number THEN
        number := latchkey_take_number(for_interface, for_owner, for_account, for_peer, rest, last, ahead);
        IF number IS NULL THEN
            refusal := 'pool_exhausted';
        ELSE
            addresses := latchkey_addresses(for_interface, number);
        END IF;
    END IF;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("peers", "0006_peerstatus_problem"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ApiToken",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(help_text="What it is for.", max_length=64)),
                ("beginning", models.CharField(help_text="By which it is known.", max_length=24)),
                (
                    "token_hash",
                    models.CharField(help_text="SHA-256, in hexadecimal.", max_length=64, unique=True),
                ),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("peers:enrol", "enrol, renew and rename"),
                                ("peers:read", "read"),
                                ("peers:revoke", "revoke"),
                            ],
                            max_length=16,
                        ),
                        size=None,
                    ),
                ),
                ("made_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                (
                    "use_limit",
                    models.PositiveIntegerField(
                        help_text="Devices that it may enrol; empty: any number.", null=True
                    ),
                ),
                ("enrolments", models.PositiveIntegerField(default=0)),
                ("last_used_at", models.DateTimeField(help_text="To the minute.", null=True)),
                ("last_used_from", models.GenericIPAddressField(null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
            ],
            options={
                "permissions": [("revoke_apitoken", "Can revoke tokens")],
            },
        ),
        migrations.CreateModel(
            name="ServiceAccount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=64, unique=True)),
                ("team", models.CharField(help_text="Who answers for it.", max_length=64)),
                ("device_limit", models.PositiveIntegerField(default=100, help_text="Machines at a time.")),
                (
                    "default_ttl",
                    models.DurationField(
                        blank=True,
                        default=datetime.timedelta(seconds=3600),
                        help_text="How long a machine stays that does not say; empty: until it is revoked.",
                        null=True,
                    ),
                ),
                (
                    "max_ttl",
                    models.DurationField(
                        blank=True,
                        default=datetime.timedelta(days=1),
                        help_text="The longest that a machine may ask for; empty: ten years.",
                        null=True,
                    ),
                ),
                (
                    "idle_after",
                    models.DurationField(
                        blank=True,
                        help_text="A machine without a handshake for so long ends; empty: none does.",
                        null=True,
                    ),
                ),
                (
                    "source_networks",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=netfields.fields.CidrAddressField(max_length=43),
                        blank=True,
                        default=list,
                        help_text="Networks that its tokens are taken from; empty: all.",
                        size=None,
                    ),
                ),
                (
                    "made_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("suspended_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "suspend_reason",
                    models.CharField(blank=True, db_default="", editable=False, max_length=200),
                ),
            ],
            options={
                "permissions": [("suspend_serviceaccount", "Can suspend and restore service accounts")],
            },
        ),
        migrations.RemoveConstraint(
            model_name="auditevent",
            name="auditevent_actor",
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="actor_kind",
            field=models.CharField(
                choices=[
                    ("person", "Person"),
                    ("command", "Command"),
                    ("gateway", "Gateway"),
                    ("machine", "Service account"),
                ],
                max_length=7,
            ),
        ),
        migrations.AlterField(
            model_name="peer",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="peers",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="apitoken",
            name="made_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="apitoken",
            name="owner",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="api_tokens",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="apitoken",
            name="revoked_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="token",
            field=models.ForeignKey(
                help_text="With which a program acted.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="acts",
                to="peers.apitoken",
            ),
        ),
        migrations.AddField(
            model_name="peer",
            name="token",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="peers",
                to="peers.apitoken",
            ),
        ),
        migrations.AddField(
            model_name="serviceaccount",
            name="interfaces",
            field=models.ManyToManyField(
                help_text="Where its machines may be.", related_name="service_accounts", to="peers.interface"
            ),
        ),
        migrations.AddField(
            model_name="apitoken",
            name="service_account",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="tokens",
                to="peers.serviceaccount",
            ),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="service_account",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="events",
                to="peers.serviceaccount",
            ),
        ),
        migrations.AddField(
            model_name="peer",
            name="service_account",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="peers",
                to="peers.serviceaccount",
            ),
        ),
        migrations.AddIndex(
            model_name="peer",
            index=models.Index(
                condition=models.Q(
                    ("host__isnull", False),
                    ("released_at__isnull", False),
                    ("service_account__isnull", False),
                ),
                fields=["interface", "service_account", "released_at"],
                name="peer_released_by_account",
            ),
        ),
        migrations.AddIndex(
            model_name="peer",
            index=models.Index(
                condition=models.Q(("service_account__isnull", False)),
                fields=["service_account", "-enrolled_at"],
                name="peer_service_account",
            ),
        ),
        migrations.AddIndex(
            model_name="peer",
            index=models.Index(
                condition=models.Q(("revoked_at", None), ("service_account__isnull", False)),
                fields=["service_account", "expires_at"],
                name="peer_held_by_account",
            ),
        ),
        migrations.AddIndex(
            model_name="peer",
            index=models.Index(
                condition=models.Q(("token__isnull", False)), fields=["token"], name="peer_token"
            ),
        ),
        migrations.AddConstraint(
            model_name="auditevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("actor", None), ("actor_kind", "gateway"), ("token", None)),
                    models.Q(("actor_kind", "command"), ("gateway", ""), ("token", None)),
                    models.Q(("actor_kind", "person"), ("gateway", "")),
                    models.Q(
                        ("actor", None), ("actor_kind", "machine"), ("gateway", ""), ("token__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="auditevent_actor",
            ),
        ),
        migrations.AddConstraint(
            model_name="peer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("owner", None), ("service_account__isnull", False)),
                    models.Q(("owner__isnull", False), ("service_account", None)),
                    _connector="OR",
                ),
                name="peer_one_holder",
            ),
        ),
        migrations.AddConstraint(
            model_name="serviceaccount",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("name", ""), _negated=True),
                    models.Q(("name__regex", "[[:cntrl:]]"), _negated=True),
                    models.Q(("team__regex", "[[:cntrl:]]"), _negated=True),
                ),
                name="serviceaccount_name",
            ),
        ),
        migrations.AddConstraint(
            model_name="serviceaccount",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("default_ttl", None),
                        (
                            "default_ttl__range",
                            (datetime.timedelta(seconds=60), datetime.timedelta(days=3650)),
                        ),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_ttl", None),
                        ("max_ttl__range", (datetime.timedelta(seconds=60), datetime.timedelta(days=3650))),
                        _connector="OR",
                    ),
                    models.Q(
                        ("max_ttl", None),
                        models.Q(("default_ttl__isnull", False), ("default_ttl__lte", models.F("max_ttl"))),
                        _connector="OR",
                    ),
                ),
                name="serviceaccount_ttl",
                violation_error_message="A time is a minute to ten years; with a longest time there is a usual one, and it is no longer.",
            ),
        ),
        migrations.AddConstraint(
            model_name="serviceaccount",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("idle_after", None),
                    ("idle_after__range", (datetime.timedelta(seconds=300), datetime.timedelta(days=3650))),
                    _connector="OR",
                ),
                name="serviceaccount_idle_after",
                violation_error_message="A machine is idle after five minutes at the earliest.",
            ),
        ),
        migrations.AddConstraint(
            model_name="serviceaccount",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("suspended_at__isnull", False),
                        (
                            "suspended_at__lt",
                            datetime.datetime(2200, 1, 1, 0, 0, tzinfo=datetime.UTC),
                        ),
                    ),
                    models.Q(("suspend_reason", ""), ("suspended_at", None)),
                    _connector="OR",
                ),
                name="serviceaccount_suspended",
            ),
        ),
        migrations.AddConstraint(
            model_name="apitoken",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("owner", None), ("service_account__isnull", False)),
                    models.Q(("owner__isnull", False), ("service_account", None)),
                    _connector="OR",
                ),
                name="apitoken_one_holder",
            ),
        ),
        migrations.AddConstraint(
            model_name="apitoken",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("scopes__contained_by", ["peers:enrol", "peers:read", "peers:revoke"]),
                    models.Q(("scopes", []), _negated=True),
                ),
                name="apitoken_scopes",
            ),
        ),
        migrations.AddConstraint(
            model_name="apitoken",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("name", ""), _negated=True),
                    models.Q(("name__regex", "[[:cntrl:]]"), _negated=True),
                ),
                name="apitoken_name",
            ),
        ),
        migrations.AddConstraint(
            model_name="apitoken",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("expires_at__gt", models.F("made_at")),
                    ("expires_at__lt", datetime.datetime(2200, 1, 1, 0, 0, tzinfo=datetime.UTC)),
                ),
                name="apitoken_expires_at",
            ),
        ),
        migrations.AddConstraint(
            model_name="apitoken",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("use_limit", None),
                    models.Q(("enrolments__lte", models.F("use_limit")), ("use_limit__gte", 1)),
                    _connector="OR",
                ),
                name="apitoken_use_limit",
            ),
        ),
        migrations.AddConstraint(
            model_name="apitoken",
            constraint=models.CheckConstraint(
                condition=models.Q(("revoked_at__isnull", False), ("revoked_by", None), _connector="OR"),
                name="apitoken_revoked",
            ),
        ),
        migrations.RunSQL(
            STAYS.format(new=", NEW.service_account_id", old=", OLD.service_account_id"),
            STAYS.format(new="", old=""),
        ),
        migrations.RunSQL(TOKENS, migrations.RunSQL.noop),  # dropping the table drops them
        migrations.RunSQL(KEYS, KEYS_BACK),
        migrations.RunSQL(NUMBERS, "DROP FUNCTION latchkey_take_number;"),
        migrations.RunSQL(ADDRESSES, "DROP FUNCTION latchkey_addresses;"),
        migrations.RunSQL(ADMIT, "DROP FUNCTION latchkey_admit;"),
    ]
