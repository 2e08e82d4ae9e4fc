-- Who may do what in Latchkey's database. Run it as the owner after every `manage.py migrate`; it may run again
-- and again. Passwords are yours to set: ALTER ROLE latchkey_web PASSWORD '…'.
--
--   latchkey_web      the portal: no DDL, no DELETE on peers, keys, people, accounts, tokens or the audit
--   latchkey_gateway  one a gateway: reads what it needs, writes its status and its receipts

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'latchkey_web') THEN
        CREATE ROLE latchkey_web LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'latchkey_gateway') THEN
        CREATE ROLE latchkey_gateway LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
    END IF;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC, latchkey_web, latchkey_gateway', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO latchkey_web, latchkey_gateway', current_database());
END $$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO latchkey_web, latchkey_gateway;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, latchkey_web, latchkey_gateway;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, latchkey_web, latchkey_gateway;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC, latchkey_web, latchkey_gateway;

-- The portal. Sessions, cache, sign-in and messages are its own; what the product promises to keep it cannot delete.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO latchkey_web;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO latchkey_web;
REVOKE INSERT, UPDATE, DELETE ON
    django_migrations, django_content_type, auth_permission, peers_peerstatus, peers_gatewaystatus,
    peers_trafficsample, peers_barredkey, peers_handshaketimestamp, peers_refusedhandshake
    FROM latchkey_web;
GRANT UPDATE (told_at) ON peers_refusedhandshake TO latchkey_web;
REVOKE SELECT ON peers_handshaketimestamp FROM latchkey_web;
REVOKE UPDATE ON peers_freednumber FROM latchkey_web;
GRANT UPDATE (id) ON peers_freednumber TO latchkey_web; -- which FOR UPDATE takes
GRANT EXECUTE ON FUNCTION latchkey_take_number, latchkey_addresses, latchkey_admit TO latchkey_web;
REVOKE UPDATE ON peers_enrollink FROM latchkey_web;
GRANT UPDATE (used_at, peer_id) ON peers_enrollink TO latchkey_web;
REVOKE DELETE ON portal_breakglasslink FROM latchkey_web;
REVOKE UPDATE, DELETE ON peers_apitoken FROM latchkey_web;
GRANT UPDATE (enrolments, last_used_at, last_used_from, revoked_at, revoked_by_id) ON peers_apitoken TO latchkey_web;
REVOKE UPDATE, DELETE ON peers_serviceaccount FROM latchkey_web;
GRANT UPDATE (name, team, device_limit, default_ttl, max_ttl, idle_after, source_networks, suspended_at, suspend_reason)
    ON peers_serviceaccount TO latchkey_web;
REVOKE UPDATE ON peers_serviceaccount_interfaces FROM latchkey_web;
REVOKE UPDATE, DELETE ON peers_peer, peers_peerkey, peers_auditevent, peers_auditseal, peers_sealedevent, portal_user,
    peers_interface
    FROM latchkey_web;
GRANT UPDATE ON portal_user TO latchkey_web;
GRANT UPDATE (endpoint, listen_port, ipv4_pool, ipv6_pool, dns, client_allowed_ips, mtu, persistent_keepalive,
    use_preshared_keys, mode, idle_minutes, lease, address_rest, device_limit, enrol_groups, next_host, brake_released_at)
    ON peers_interface TO latchkey_web;
GRANT UPDATE (name, platform, host, preshared_key, configured, expires_at, suspended_at, suspend_reason, revoked_at,
    revoked_by_id, revoke_reason, token_id)
    ON peers_peer TO latchkey_web;
GRANT UPDATE (retired_at) ON peers_peerkey TO latchkey_web;

-- A gateway.
GRANT SELECT ON peers_interface, peers_peerstatus, peers_gatewaystatus TO latchkey_gateway;
GRANT SELECT (id, interface_id, owner_id, service_account_id, host, preshared_key, expires_at, suspended_at, revoked_at)
    ON peers_peer TO latchkey_gateway;
GRANT SELECT (id, suspended_at) ON peers_serviceaccount TO latchkey_gateway;
GRANT SELECT ON peers_serviceaccount_interfaces TO latchkey_gateway;
GRANT SELECT (id, peer_id, public_key, retired_at) ON peers_peerkey TO latchkey_gateway;
GRANT SELECT (id, is_active, signed_in_at, lease_limit, access_ended_at, groups_claim) ON portal_user TO latchkey_gateway;
GRANT UPDATE (public_key) ON peers_interface TO latchkey_gateway;
GRANT INSERT, UPDATE ON peers_peerstatus, peers_gatewaystatus TO latchkey_gateway;
GRANT SELECT, INSERT ON peers_handshaketimestamp TO latchkey_gateway;
GRANT SELECT, INSERT (peer_id, count, first_at, latest_at) ON peers_refusedhandshake TO latchkey_gateway;
GRANT UPDATE (tai64n, seen_at) ON peers_handshaketimestamp TO latchkey_gateway;
GRANT UPDATE (count, first_at, latest_at) ON peers_refusedhandshake TO latchkey_gateway;
GRANT SELECT, INSERT, DELETE ON peers_trafficsample TO latchkey_gateway;
GRANT INSERT ON peers_auditevent TO latchkey_gateway;
GRANT SELECT (id, at) ON peers_auditevent TO latchkey_gateway;
GRANT USAGE ON SEQUENCE peers_peerstatus_id_seq, peers_gatewaystatus_id_seq, peers_auditevent_id_seq,
    peers_trafficsample_id_seq TO latchkey_gateway;

-- A receipt is a gateway's word alone, and nothing else is.
ALTER TABLE peers_auditevent ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS auditevent_read ON peers_auditevent;
DROP POLICY IF EXISTS auditevent_web ON peers_auditevent;
DROP POLICY IF EXISTS auditevent_gateway ON peers_auditevent;
CREATE POLICY auditevent_read ON peers_auditevent FOR SELECT USING (true);
CREATE POLICY auditevent_web ON peers_auditevent FOR INSERT TO latchkey_web WITH CHECK (actor_kind <> 'gateway');
CREATE POLICY auditevent_gateway ON peers_auditevent FOR INSERT TO latchkey_gateway WITH CHECK (actor_kind = 'gateway');
