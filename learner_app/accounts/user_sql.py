"""SQL of users and of the rows that belong to them.

Each operation is one statement that checks and writes, or several statements under a lock of the
user's row. Locks are acquired in one order everywhere, the user first and then the rows that belong
to it, so that these operations cannot deadlock. Addresses are compared as ``lower($1)``, see
:mod:`learner_app.accounts.emails`.
"""

from learner_app.accounts.passwords import UNUSABLE_PREFIX
from learner_app.accounts.rows import Account, AuthSession, User, Verification
from learner_app.accounts.tables import (
    AccountTable,
    AuthSessionTable,
    UserTable,
    VerificationTable,
)
from learner_app.repository.sql import SqlNames, Statement

u = SqlNames(UserTable)
a = SqlNames(AccountTable)
s = SqlNames(AuthSessionTable)
v = SqlNames(VerificationTable)
unqualified_u, unqualified_a = u.unqualified, a.unqualified
ROW = u.fields(User)

CREDENTIAL = "credential"
"""``provider_id`` of the account that represents the local password."""

RESET = "reset-password"
"""Purpose of the codes that become invalid when the password changes."""

HAS_PASSWORD = f"left({u.hashed_password}, 1) <> '{UNUSABLE_PREFIX}'"
"""Condition that the stored hash is not the placeholder of a user without a password."""

REGISTER = Statement(
    "users.register",
    f"""
    WITH added AS (
        INSERT INTO {u}
            ({unqualified_u.id}, {unqualified_u.email}, {unqualified_u.hashed_password},
             {unqualified_u.name})
        VALUES ($1, lower($2), $3, $4)
        ON CONFLICT ({unqualified_u.email}) DO NOTHING RETURNING {ROW}
    ), identity AS (
        INSERT INTO {a}
            ({unqualified_a.id}, {unqualified_a.user_id}, {unqualified_a.provider_id},
             {unqualified_a.account_id})
        SELECT $5, {unqualified_u.id}, '{CREDENTIAL}', {unqualified_u.id}::text FROM added
    )
    SELECT {unqualified_u.fields(User)} FROM added
    """,
)
"""Parameters: id, address, hash, name, id of the account. No row if the address is taken."""

ADD_WITHOUT_PASSWORD = Statement(
    "users.register_with_provider",
    f"""
    INSERT INTO {u}
        ({unqualified_u.id}, {unqualified_u.email}, {unqualified_u.hashed_password},
         {unqualified_u.name}, {unqualified_u.email_verified}, {unqualified_u.image})
    VALUES ($1, lower($2), $3, $4, $5, $6)
    ON CONFLICT ({unqualified_u.email}) DO NOTHING RETURNING {ROW}
    """,
)

FIND_BY_EMAIL = Statement(
    "users.find_by_email", f"SELECT {ROW} FROM {u} WHERE {u.email} = lower($1)"
)

LOCK_BY_EMAIL = Statement("users.lock_by_email", f"{FIND_BY_EMAIL.sql} FOR NO KEY UPDATE")

LOCK_EMAIL = Statement(
    "users.lock_email", f"SELECT {u.email} FROM {u} WHERE {u.id} = $1 FOR UPDATE"
)

CREDENTIALS_BY_ID = Statement(
    "users.credentials_by_id", f"SELECT {ROW}, {u.hashed_password} FROM {u} WHERE {u.id} = $1"
)

CREDENTIALS_BY_EMAIL = Statement(
    "users.credentials_by_email",
    f"SELECT {ROW}, {u.hashed_password} FROM {u} WHERE {u.email} = lower($1)",
)

SET_HASH = Statement(
    "users.set_hash",
    f"UPDATE {u} SET {unqualified_u.hashed_password} = $2 WHERE {u.id} = $1 RETURNING {ROW}",
)

REPLACE_HASH = Statement(
    "users.replace_hash",
    f"""
    UPDATE {u} SET {unqualified_u.hashed_password} = $2
    WHERE {u.id} = $1 AND {u.hashed_password} = $3 RETURNING {ROW}
    """,
)
"""Parameters: id, new hash, expected hash. A hash that was stored concurrently is not replaced."""

ADD_CREDENTIAL = Statement(
    "accounts.add_credential",
    f"""
    INSERT INTO {a}
        ({unqualified_a.id}, {unqualified_a.user_id}, {unqualified_a.provider_id},
         {unqualified_a.account_id})
    VALUES ($1, $2, '{CREDENTIAL}', $2::uuid::text)
    ON CONFLICT ({unqualified_a.provider_id}, {unqualified_a.account_id}) DO NOTHING
    """,
)

DELETE_OTHER_SESSIONS = Statement(
    "auth_sessions.close_all",
    f"""
    DELETE FROM {s} WHERE {s.user_id} = $1 AND {s.token_hash} IS DISTINCT FROM $2::text
    """,
)
"""Parameters: user, hash of the token whose session is kept; NULL deletes all."""

DELETE_RESET_CODES = Statement(
    "verifications.delete_reset_codes",
    f"""
    DELETE FROM {v} WHERE {v.identifier} IN ('{RESET}:' || $1::text, '{RESET}:' || $2::uuid::text)
    """,
)
"""Parameters: address and id of the user."""

CHANGE_EMAIL = Statement(
    "users.change_email",
    f"""
    UPDATE {u} SET {unqualified_u.email} = lower($2), {unqualified_u.email_verified} = false
    WHERE {u.id} = $1 AND {u.email} <> lower($2) RETURNING {ROW}
    """,
)

VERIFY_EMAIL = Statement(
    "users.verify_email",
    f"""
    UPDATE {u} SET {unqualified_u.email_verified} = true
    WHERE {u.id} = $1 AND {u.email} = lower($2) AND NOT {u.email_verified} RETURNING {ROW}
    """,
)

SET_ADMIN = Statement(
    "users.set_admin",
    f"""
    UPDATE {u} SET {unqualified_u.is_admin} = $2
    WHERE {u.id} = $1 AND {u.is_admin} <> $2 RETURNING {ROW}
    """,
)

IS_CODE_OF_USER = (
    f"lower({v.identifier}) IN ($1, $2)"
    f" OR right(lower({v.identifier}), length($1) + 1) = ':' || $1"
    f" OR right(lower({v.identifier}), length($2) + 1) = ':' || $2"
)
"""Condition on a code of any purpose. Parameters: address and id of the user, both as text.

Services choose the purposes, so no index supports this condition and the whole table is read. The
table remains small if ``purge_expired`` is called periodically.
"""

DELETE_CODES = Statement(
    "verifications.delete_for_user", f"DELETE FROM {v} WHERE {IS_CODE_OF_USER}"
)
DELETE_ACCOUNTS = Statement("accounts.delete_for_user", f"DELETE FROM {a} WHERE {a.user_id} = $1")
DELETE_SESSIONS = Statement(
    "auth_sessions.delete_for_user", f"DELETE FROM {s} WHERE {s.user_id} = $1"
)
DELETE_USER = Statement("users.delete", f"DELETE FROM {u} WHERE {u.id} = $1")

LIST_ACCOUNTS = Statement(
    "accounts.export",
    f"""
    SELECT {a.fields(Account)} FROM {a} WHERE {a.user_id} = $1 ORDER BY {a.created_at}, {a.id}
    """,
)
LIST_SESSIONS = Statement(
    "auth_sessions.export",
    f"""
    SELECT {s.fields(AuthSession)} FROM {s} WHERE {s.user_id} = $1 ORDER BY {s.created_at}, {s.id}
    """,
)
LIST_CODES = Statement(
    "verifications.export",
    f"""
    SELECT {v.fields(Verification)} FROM {v} WHERE {IS_CODE_OF_USER}
    ORDER BY {v.created_at}, {v.id}
    """,
)
