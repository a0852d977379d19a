"""Tables with several unique constraints and composite keys, with their repositories."""

from datetime import datetime
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

from piccolo import columns
from piccolo.columns import Integer, Text, Timestamptz, Varchar
from piccolo.querystring import QueryString
from piccolo.table import Table
from pydantic import Field

from learner_app.database.engine import DatabaseEngine
from learner_app.repository.base import DeletingRepository
from learner_app.repository.filters import Filters, at_least
from learner_app.repository.inputs import UNSET, Input
from learner_app.repository.paging import Order
from learner_app.repository.rows import Row
from learner_app.repository.values import Key, NonNegativeInt, Text100, new_key
from learner_app.schema.columns import Now
from learner_app.schema.objects import (
    Deferrable,
    Index,
    IndexKey,
    PrimaryKey,
    Unique,
    UpdatedAtTrigger,
)
from learner_app.schema.schema_object import quoted
from learner_app.schema.tables import SchemaTable


class BookTable(SchemaTable, Table, tablename="test_books"):
    id = Varchar(255, primary_key=True, default=None)
    shelf = Varchar(100, default=None)
    place = Integer(default=None, null=True)
    title = Varchar(100, default=None, null=True)
    isbn = Varchar(100, default=None, null=True)
    code = Varchar(100, default=None, null=True, unique=True)
    note = Text(default=None, null=True)
    version = Integer(default=1)
    created_at = Timestamptz(default=Now())
    updated_at = Timestamptz(default=Now())

    test_books_shelf_title = Unique([shelf, title])
    test_books_isbn = Unique([isbn], deferrable=Deferrable.DEFERRED)
    test_books_shelf_place = Index([shelf, place], unique=True, where="place IS NOT NULL")
    test_books_note = Index([IndexKey("lower(note)")], unique=True)
    test_books_title = Index(title)
    test_books_touch = UpdatedAtTrigger(updated_at)


class Book(Row, frozen=True):
    id: str
    shelf: str
    place: int | None
    title: str | None
    isbn: str | None
    code: str | None
    note: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class BookCreate(Input, table=BookTable):
    id: Key = Field(default_factory=new_key)
    shelf: Text100
    place: NonNegativeInt | None = None
    title: Text100 | None = None
    isbn: Text100 | None = None
    code: Text100 | None = None
    note: Text100 | None = None


class BookUpdate(Input, table=BookTable):
    shelf: Text100 = UNSET
    place: NonNegativeInt | None = None
    title: Text100 | None = None
    code: Text100 | None = None
    note: Text100 | None = None


class BookFilters(TypedDict, total=False):
    shelf: str
    title: str
    min_place: int


class BookRepository(DeletingRepository[Book, str, BookCreate, BookUpdate]):
    table = BookTable
    row = Book
    filters = Filters(BookTable, BookFilters, {"min_place": at_least(BookTable.place)})
    orders = {  # noqa: RUF012  # typed in the base class
        "newest": Order(BookTable.created_at, BookTable.id, descending=True),
        "key": Order(BookTable.id),
    }
    on_update = {BookTable.version: QueryString("{} + 1", BookTable.version)}  # noqa: RUF012


class SlotTable(SchemaTable, Table, tablename="test_slots"):
    room = columns.UUID(default=None)
    name = Varchar(255, default=None)
    content = Varchar(100, default=None, null=True)

    test_slots_pkey = PrimaryKey([room, name])


class Slot(Row, frozen=True):
    room: UUID
    name: str
    content: str | None


class SlotKey(NamedTuple):
    room: UUID
    name: str


class SlotCreate(Input, table=SlotTable):
    room: UUID
    name: Key
    content: Text100 | None = None


class SlotUpdate(Input, table=SlotTable):
    content: Text100 | None = None


class SlotFilters(TypedDict, total=False):
    room: UUID
    content: str


class SlotRepository(DeletingRepository[Slot, SlotKey, SlotCreate, SlotUpdate]):
    table = SlotTable
    row = Slot
    filters = Filters(SlotTable, SlotFilters)


async def create_tables(engine: DatabaseEngine) -> None:
    for table in (BookTable, SlotTable):
        definitions = ", ".join(column.ddl for column in table._meta.columns)
        await engine.execute(f"CREATE TABLE {table._meta.tablename} ({definitions})")
        for declared in table._meta.constraints:
            objects: Any = declared
            for sql in objects.create_sql(quoted(table._meta.tablename)):
                await engine.execute(sql)
