"""Let nothing be done with a token that was revoked meanwhile, and accounts use their own numbers before everybody's."""

from importlib import import_module

from django.db import migrations, models

before = import_module("peers.migrations.0007_machines")

# No act with a token that is being revoked: it waits for the revocation, and a revocation waits for the acts under way.
TOKENS = """
CREATE FUNCTION latchkey_token_must_not_be_revoked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM peers_apitoken WHERE id = NEW.token_id AND revoked_at IS NULL FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'auditevent_token: the token was revoked'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'auditevent_token';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER auditevent_token BEFORE INSERT ON peers_auditevent FOR EACH ROW
    WHEN (NEW.token_id IS NOT NULL) EXECUTE FUNCTION latchkey_token_must_not_be_revoked();
"""
TOKENS_BACK = """
DROP TRIGGER auditevent_token ON peers_auditevent;
DROP FUNCTION latchkey_token_must_not_be_revoked();
"""
# Which number the next peer is given. SKIP LOCKED lets racers pass each other. Whoever moves the mark lets nobody else do so
# until the commit; so it goes on by many, all but one are set aside for the others, and they look there first when it is
# their turn. The interface's own number is stepped over. A service account is given what its revoked machines had, for which
# none of them comes back, and what its expired ones had once those are as many as it may have machines, or 1,000, which are
# counted soon: whatever it does, it uses up no more than twice that.
NUMBERS = """
CREATE FUNCTION latchkey_take_number(
    for_interface bigint, for_owner bigint, for_account bigint, for_peer uuid, most bigint,
    rest double precision, last bigint, ahead int
) RETURNS bigint LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    number bigint;
    mark bigint;
    own bigint;
    resting bigint;
    enough bigint;
    -- Planned for the values at hand: a plan for any would walk through everybody's.
    given_up CONSTANT text := 'UPDATE peers_peer AS former SET host = NULL FROM (SELECT id, host FROM peers_peer
        WHERE interface_id = $1 AND id <> $3 AND host IS NOT NULL AND released_at <= now() AND ';
    oldest CONSTANT text := ' ORDER BY released_at LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS released WHERE former.id = released.id RETURNING released.host';
BEGIN
    IF for_owner IS NOT NULL THEN
        EXECUTE given_up || 'owner_id = $2' || oldest INTO number USING for_interface, for_owner, for_peer;
    ELSIF EXISTS (
        SELECT FROM peers_peer WHERE interface_id = for_interface AND service_account_id = for_account
            AND host IS NOT NULL AND released_at <= now())
    THEN
        EXECUTE given_up || 'service_account_id = $2 AND revoked_at IS NOT NULL' || oldest
            INTO number USING for_interface, for_account, for_peer;
        IF number IS NULL THEN
            enough := LEAST(most, 1000);
            EXECUTE 'SELECT count(*) FROM (SELECT FROM peers_peer WHERE interface_id = $1 AND service_account_id = $2
                AND host IS NOT NULL AND released_at <= now() LIMIT $3) AS own'
                INTO resting USING for_interface, for_account, enough;
            IF resting >= enough THEN
                EXECUTE given_up || 'service_account_id = $2' || oldest
                    INTO number USING for_interface, for_account, for_peer;
            END IF;
        END IF;
    END IF;
    IF number IS NOT NULL THEN
        RETURN number;
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
COUNT = """SELECT count(*) INTO held FROM peers_peer
        WHERE service_account_id = for_account AND id <> for_peer
            AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > at);"""
# Whoever is held has a number, so where all that were ever given leave room, nobody need be counted.
COUNT_WHERE_NEAR = f"""SELECT sum(next_host) INTO held FROM peers_interface;
        IF held + at_once >= most THEN
            {COUNT}
        END IF;"""  # noqa: S608 - words of ours
ADMIT = before.ADMIT.replace("for_peer, rest,", "for_peer, most, rest,").replace(COUNT, COUNT_WHERE_NEAR)


def replaced(function: str) -> str:
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


class Migration(migrations.Migration):
    dependencies = [("peers", "0007_machines")]

    operations = [
        migrations.AddIndex(
            model_name="peer",
            index=models.Index(
                condition=models.Q(
                    ("host__isnull", False),
                    ("revoked_at__isnull", False),
                    ("service_account__isnull", False),
                ),
                fields=["interface", "service_account", "released_at"],
                name="peer_revoked_by_account",
            ),
        ),
        migrations.RunSQL(TOKENS, TOKENS_BACK),
        migrations.RunSQL(
            ["DROP FUNCTION latchkey_take_number", NUMBERS],
            ["DROP FUNCTION latchkey_take_number", before.NUMBERS],
        ),
        migrations.RunSQL(replaced(ADMIT), replaced(before.ADMIT)),
    ]
