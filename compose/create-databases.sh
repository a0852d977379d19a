#!/usr/bin/env bash
# Run once by the postgres image, as its superuser, when the data volume is new. Creates the owner
# role, which migrates and dumps, the application role, which owns nothing, their database, and a
# role with a database for the tests. Without DB_OWNER_USER the owner is named after DB_USER; without
# DB_OWNER_PASSWORD it has that of DB_USER. For an existing volume use `learner roles`.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --no-psqlrc --username "${POSTGRES_USER:-postgres}" --dbname postgres \
  --set app="$DB_USER" --set app_password="$DB_PASSWORD" --set database="$DB_NAME" \
  --set owner="${DB_OWNER_USER:-${DB_USER}_owner}" \
  --set owner_password="${DB_OWNER_PASSWORD:-$DB_PASSWORD}" <<'SQL'
CREATE ROLE :"owner" LOGIN NOSUPERUSER BYPASSRLS PASSWORD :'owner_password';
CREATE ROLE :"app" LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD :'app_password';
CREATE DATABASE :"database" OWNER :"owner" ENCODING 'UTF8' TEMPLATE template0;

SELECT :'app' || '_test' AS test_role, :'database' || '_test' AS test_database \gset
CREATE ROLE :"test_role" LOGIN CREATEDB NOSUPERUSER NOBYPASSRLS PASSWORD :'app_password';
CREATE DATABASE :"test_database" OWNER :"test_role" ENCODING 'UTF8' TEMPLATE template0;

-- The same privileges as `learner roles` grants.
GRANT CONNECT, TEMPORARY ON DATABASE :"database" TO :"owner", :"app";
SELECT replace(replace(:'database', '\', '\\'), '''', '\''') AS escaped \gset
SELECT format('dbname=''%s''', :'escaped') AS place \gset
\connect -reuse-previous=on :"place"
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO :"owner";
GRANT USAGE ON SCHEMA public TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT EXECUTE ON ROUTINES TO :"app";
SQL
