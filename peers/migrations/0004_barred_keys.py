"""Let a key's row go only once its fingerprint is barred, keep a barred key out for ever, and let links go with sessions."""

from django.db import migrations

FUNCTIONS = """
CREATE FUNCTION latchkey_key_must_be_barred() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM peers_barredkey WHERE fingerprint = sha256(convert_to(OLD.public_key, 'UTF8'))) THEN
        RAISE EXCEPTION 'a key is never deleted before it is barred' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE FUNCTION latchkey_key_must_not_be_barred() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM peers_barredkey WHERE fingerprint = sha256(convert_to(NEW.public_key, 'UTF8'))) THEN
        RAISE EXCEPTION 'peerkey_barred: a barred key is never enrolled again'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'peerkey_barred';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER peerkey_is_kept ON peers_peerkey;
CREATE TRIGGER peerkey_is_kept BEFORE DELETE ON peers_peerkey
    FOR EACH ROW EXECUTE FUNCTION latchkey_key_must_be_barred();
-- After the insert: one that waited for the pruning of the same key must see what was committed meanwhile.
CREATE TRIGGER peerkey_barred AFTER INSERT ON peers_peerkey
    FOR EACH ROW EXECUTE FUNCTION latchkey_key_must_not_be_barred();
CREATE TRIGGER barredkey_stays BEFORE UPDATE OR DELETE ON peers_barredkey
    FOR EACH ROW EXECUTE FUNCTION latchkey_refuse('a barred key stays barred');
CREATE TRIGGER barredkey_no_truncate BEFORE TRUNCATE ON peers_barredkey
    FOR EACH STATEMENT EXECUTE FUNCTION latchkey_refuse('a barred key stays barred');
"""
BACK = """
DROP TRIGGER barredkey_no_truncate ON peers_barredkey;
DROP TRIGGER barredkey_stays ON peers_barredkey;
DROP TRIGGER peerkey_barred ON peers_peerkey;
DROP TRIGGER peerkey_is_kept ON peers_peerkey;
CREATE TRIGGER peerkey_is_kept BEFORE DELETE ON peers_peerkey
    FOR EACH ROW EXECUTE FUNCTION latchkey_refuse('a key is never deleted');
DROP FUNCTION latchkey_key_must_not_be_barred();
DROP FUNCTION latchkey_key_must_be_barred();
"""

# A sign-out deletes a session's links and then the session: one that was made in between would make it fail.
SESSION = """
ALTER TABLE peers_enrollink DROP CONSTRAINT peers_enrollink_session_id_e359c6e7_fk_django_se;
ALTER TABLE peers_enrollink ADD CONSTRAINT peers_enrollink_session_id_e359c6e7_fk_django_se
    FOREIGN KEY (session_id) REFERENCES django_session {} DEFERRABLE INITIALLY DEFERRED;
"""


class Migration(migrations.Migration):
    dependencies = [("peers", "0003_links_samples_and_suspension")]

    operations = [
        migrations.RunSQL(FUNCTIONS, BACK),
        migrations.RunSQL(SESSION.format("ON DELETE CASCADE"), SESSION.format("")),
    ]
