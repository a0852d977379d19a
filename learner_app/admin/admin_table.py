"""Declaration of one table in the admin."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from piccolo.columns import Column
from piccolo.table import Table
from piccolo_admin.endpoints import TableConfig
from piccolo_api.crud.endpoints import OrderBy, PiccoloCRUD
from piccolo_api.crud.validators import Validators
from starlette.exceptions import HTTPException
from starlette.requests import Request

READ_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, kw_only=True)
class AdminTable:
    """Read-only view of one table in the admin."""

    table: type[Table]
    group: str
    """Heading in the menu."""
    columns: Sequence[Column]
    """Columns of the list, in order."""
    filters: Sequence[Column]
    """Columns that the list can be filtered by."""
    order: Sequence[OrderBy] = field(default_factory=tuple)
    """Initial order of the list, by the primary key if empty."""
    link: Column | None = None
    """Column whose value links to the row, the primary key if None."""

    @property
    def config(self) -> TableConfig:
        """Configuration of the table for Piccolo Admin."""
        return TableConfig(
            self.table,
            visible_columns=list(self.columns),
            visible_filters=list(self.filters),
            menu_group=self.group,
            # Piccolo Admin adds its own validators to the object, so each table needs its own.
            validators=Validators(every=[_refuse_changes]),
            link_column=self.link,
            order_by=list(self.order),
        )


def newest_first(column: Column) -> tuple[OrderBy]:
    """Return the descending order of a time column."""
    return (OrderBy(column=column, ascending=False),)


async def _refuse_changes(piccolo_crud: PiccoloCRUD, request: Request) -> None:
    """Raise HTTPException with status 405 for every method that is not a read.

    Routes outside of the tables are not affected: staff can still change their own password.
    """
    if request.method not in READ_METHODS:
        table = piccolo_crud.table._meta.tablename
        raise HTTPException(405, f"{table} is read-only in the admin.")
