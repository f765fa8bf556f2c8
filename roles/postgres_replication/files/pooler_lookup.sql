-- What the pooler asks about whoever wants to log in through it: neither the superusers' passwords nor those of standbys, and none that has expired.
CREATE SCHEMA IF NOT EXISTS pgbouncer;
CREATE OR REPLACE FUNCTION pgbouncer.lookup(wanted text) RETURNS TABLE (name text, secret text)
    LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid
        WHERE rolname = wanted AND rolcanlogin AND NOT rolsuper AND NOT rolreplication AND coalesce(rolvaliduntil > pg_catalog.now(), true)
    $$;
REVOKE ALL ON SCHEMA pgbouncer FROM PUBLIC;
REVOKE ALL ON FUNCTION pgbouncer.lookup(text) FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
GRANT EXECUTE ON FUNCTION pgbouncer.lookup(text) TO pgbouncer;
