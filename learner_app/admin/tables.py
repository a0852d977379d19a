"""Tables of the admin itself, named differently from the product's ``users`` and ``sessions``."""

from piccolo.apps.user.tables import BaseUser
from piccolo_api.session_auth.tables import SessionsBase


class StaffUserTable(BaseUser, tablename="staff_users", help_text="Staff accounts of the admin."):
    """Staff accounts with passwords as PBKDF2-SHA256 hashes."""

    _min_password_length = 12


class StaffSessionTable(
    SessionsBase, tablename="staff_sessions", help_text="Login sessions of staff."
):
    """Login sessions of staff."""
