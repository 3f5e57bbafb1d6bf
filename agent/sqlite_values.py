"""Values as SQLite keeps them: the same that SQLAlchemy gives it, each in one step.

SQLAlchemy asks several functions for each value, and a call writes hundreds.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import JSON, Boolean, Enum, Insert
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlmodel import SQLModel

from agent.calls import Moment
from agent.storable import cleaner, columns_of, json_text

Convert = Callable[[Any], Any]


def conversion(column_type: Any, dialect: Dialect) -> Convert | None:
    """What makes of a value, None apart, what SQLite keeps in a column of this type.

    None: the value is kept as it is.
    """
    match column_type:
        case Moment():
            return _moment
        case JSON():
            return json_text
        case Enum():
            # The word of a `StrEnum`, as plain text: the driver is slow with anything else.
            return str.__str__
        case Boolean():
            return int
        case _:
            processor: Convert | None = column_type.dialect_impl(dialect).bind_processor(dialect)
            return processor


def _moment(at: datetime) -> str:
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(" ", "microseconds")[:26]


class NewRows:
    """How new rows of a table get into SQLite: `sql`, and what of a row are its parameters.

    A row has the attributes of the table's; what is None there is NULL, and a key that the
    database gives.
    """

    def __init__(self, table: type[SQLModel], insertion: Insert, dialect: Dialect) -> None:
        columns = columns_of(table)
        names = [column.key for column in columns.values()]
        compiled = insertion.compile(dialect=dialect, column_keys=names)
        assert isinstance(compiled, SQLCompiler)
        assert compiled.positiontup == names, "in the order of the table"
        self.sql = compiled.string
        self._read: Callable[[object], Sequence[Any]] = attrgetter(*columns)
        self._ways = [
            cleaner(column.type) or conversion(column.type, dialect) for column in columns.values()
        ]

    def parameters(self, row: object) -> list[Any]:
        """The row as SQLite keeps it: clean, in the order of the columns."""
        return [
            value if way is None or value is None else way(value)
            for way, value in zip(self._ways, self._read(row), strict=True)
        ]
