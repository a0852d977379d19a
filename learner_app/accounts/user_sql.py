"""SQL of users: each step is decided and done by one statement, or by several under the row's lock.

Locks are taken in one order everywhere: the user first, then what is the user's. Addresses are
compared as ``lower($1)``, by the database's own idea of lower case, see
:mod:`learner_app.accounts.emails`.
"""

from learner_app.accounts.passwords import UNUSABLE
from learner_app.accounts.rows import Account, AuthSession, User, Verification
from learner_app.accounts.tables import (
    AccountTable,
    AuthSessionTable,
    UserTable,
    VerificationTable,
)
from learner_app.repository.sql import SqlNames

u = SqlNames(UserTable)
a = SqlNames(AccountTable)
s = SqlNames(AuthSessionTable)
v = SqlNames(VerificationTable)
bare_u, bare_a = u.unqualified, a.unqualified
ROW = u.fields(User)

CREDENTIAL = "credential"
"""The provider of the local password."""

RESET = "reset-password"
"""The purpose of codes that are worthless once the password has changed."""

IS_USABLE = f"left({u.hashed_password}, 1) <> '{UNUSABLE}'"

REGISTER = f"""
WITH added AS (
    INSERT INTO {u} ({bare_u.id}, {bare_u.email}, {bare_u.hashed_password}, {bare_u.name})
    VALUES ($1, lower($2), $3, $4) ON CONFLICT ({bare_u.email}) DO NOTHING RETURNING {ROW}
), identity AS (
    INSERT INTO {a} ({bare_a.id}, {bare_a.user_id}, {bare_a.provider_id}, {bare_a.account_id})
    SELECT $5, {bare_u.id}, '{CREDENTIAL}', {bare_u.id}::text FROM added
)
SELECT {bare_u.fields(User)} FROM added
"""
"""Takes id, address, hash, name, and the id of the account. Gives nothing where it is taken."""

ADD_WITHOUT_PASSWORD = f"""
INSERT INTO {u}
    ({bare_u.id}, {bare_u.email}, {bare_u.hashed_password}, {bare_u.name},
     {bare_u.email_verified}, {bare_u.image})
VALUES ($1, lower($2), $3, $4, $5, $6) ON CONFLICT ({bare_u.email}) DO NOTHING RETURNING {ROW}
"""

FIND_BY_EMAIL = f"SELECT {ROW} FROM {u} WHERE {u.email} = lower($1)"

LOCK_BY_EMAIL = f"{FIND_BY_EMAIL} FOR NO KEY UPDATE"

CREDENTIALS_OF = f"SELECT {ROW}, {u.hashed_password} FROM {u} WHERE {u.id} = $1"

CREDENTIALS = f"SELECT {ROW}, {u.hashed_password} FROM {u} WHERE {u.email} = lower($1)"

UPGRADE = f"""
UPDATE {u} SET {bare_u.hashed_password} = $3 WHERE {u.id} = $1 AND {u.hashed_password} = $2
RETURNING {ROW}
"""
"""A password that was changed meanwhile is not changed back."""

SET_HASH = f"UPDATE {u} SET {bare_u.hashed_password} = $2 WHERE {u.id} = $1 RETURNING {ROW}"

CHANGE_HASH = f"""
UPDATE {u} SET {bare_u.hashed_password} = $2 WHERE {u.id} = $1 AND {u.hashed_password} = $3
RETURNING {ROW}
"""

ADD_CREDENTIAL = f"""
INSERT INTO {a} ({bare_a.id}, {bare_a.user_id}, {bare_a.provider_id}, {bare_a.account_id})
VALUES ($1, $2, '{CREDENTIAL}', $2::uuid::text)
ON CONFLICT ({bare_a.provider_id}, {bare_a.account_id}) DO NOTHING
"""

CLOSE_SESSIONS = f"""
DELETE FROM {s} WHERE {s.user_id} = $1 AND {s.token_hash} IS DISTINCT FROM $2::text
"""

DROP_RESET_CODES = f"""
DELETE FROM {v} WHERE {v.identifier} IN ('{RESET}:' || $1::text, '{RESET}:' || $2::uuid::text)
"""

LOCK = f"SELECT {u.email} FROM {u} WHERE {u.id} = $1 FOR UPDATE"

CHANGE_EMAIL = f"""
UPDATE {u} SET {bare_u.email} = lower($2), {bare_u.email_verified} = false
WHERE {u.id} = $1 AND {u.email} <> lower($2) RETURNING {ROW}
"""

VERIFY_EMAIL = f"""
UPDATE {u} SET {bare_u.email_verified} = true
WHERE {u.id} = $1 AND {u.email} = lower($2) AND NOT {u.email_verified} RETURNING {ROW}
"""

SET_ADMIN = f"""
UPDATE {u} SET {bare_u.is_admin} = $2 WHERE {u.id} = $1 AND {u.is_admin} <> $2 RETURNING {ROW}
"""

IS_OF = (
    f"lower({v.identifier}) IN ($1, $2)"
    f" OR right(lower({v.identifier}), length($1) + 1) = ':' || $1"
    f" OR right(lower({v.identifier}), length($2) + 1) = ':' || $2"
)
"""Takes an address and an id: whether a code was given out for one of them, for any purpose.

The purposes are the services' own, so no index leads there; the table holds what is not expired.
"""

DROP_CODES = f"DELETE FROM {v} WHERE {IS_OF}"
DROP_ACCOUNTS = f"DELETE FROM {a} WHERE {a.user_id} = $1"
DROP_SESSIONS = f"DELETE FROM {s} WHERE {s.user_id} = $1"
DROP_USER = f"DELETE FROM {u} WHERE {u.id} = $1"

ACCOUNTS_OF = f"""
SELECT {a.fields(Account)} FROM {a} WHERE {a.user_id} = $1 ORDER BY {a.created_at}, {a.id}
"""
SESSIONS_OF = f"""
SELECT {s.fields(AuthSession)} FROM {s} WHERE {s.user_id} = $1 ORDER BY {s.created_at}, {s.id}
"""
CODES_OF = f"""
SELECT {v.fields(Verification)} FROM {v} WHERE {IS_OF} ORDER BY {v.created_at}, {v.id}
"""
