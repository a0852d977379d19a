#!/usr/bin/env bash
# Run once by the postgres image, as its superuser, when the data volume is new: makes the ordinary
# role of the application, its database, and one for the tests.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --no-psqlrc --username "${POSTGRES_USER:-postgres}" --dbname postgres \
  --set role="$DB_USER" --set database="$DB_NAME" --set password="$DB_PASSWORD" <<'SQL'
CREATE ROLE :"role" LOGIN CREATEDB NOSUPERUSER NOBYPASSRLS PASSWORD :'password';
CREATE DATABASE :"database" OWNER :"role" ENCODING 'UTF8' TEMPLATE template0;
SELECT :'database' || '_test' AS test_database \gset
CREATE DATABASE :"test_database" OWNER :"role" ENCODING 'UTF8' TEMPLATE template0;
SQL
