"""The admin's own tables; their names keep clear of the product's ``users`` and ``sessions``."""

from piccolo.apps.user.tables import BaseUser
from piccolo_api.session_auth.tables import SessionsBase


class StaffUserTable(BaseUser, tablename="staff_users", help_text="Who may sign in to the admin."):
    """Piccolo Admin's user; the password is stored as PBKDF2-SHA256."""

    _min_password_length = 12


class StaffSessionTable(
    SessionsBase, tablename="staff_sessions", help_text="Signed-in staff browsers."
):
    """Piccolo Admin's login sessions."""
