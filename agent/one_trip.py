"""A whole transaction as one piece of work, for what happens many times in each call.

    SQLite   begin ─ statements ─ commit, in the connection's thread      one way there and back
    others   as SQLAlchemy has it                                         one a statement

Source: https://docs.sqlalchemy.org/en/21/core/compiled.html
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Executable, Insert, insert
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.compiler import SQLCompiler
from sqlmodel import SQLModel

from agent import sqlite_cursor
from agent.sqlite_values import NewRows, conversion
from agent.storable import storable_values

Values = Mapping[str, Any]
Rows = list[tuple[Any, ...]]
T = TypeVar("T")


class Run(Protocol):
    """Runs a statement of a transaction; several sets of values are for one that gives no rows.

    The same statement is given with the same names each time. It is compiled once: none is made
    anew for each call, and none holds `IN` with a list that grows. Rows come as the driver has
    them, without the types of their columns.
    """

    def __call__(self, statement: Executable, values: Values | Sequence[Values] = (), /) -> Rows:
        """Run it."""
        ...

    def changed(self, statement: Executable, values: Values, /) -> int:
        """Run one that gives no rows; how many rows of the database it has changed."""
        ...

    def insert(self, table: type[SQLModel], rows: Sequence[object], /) -> None:
        """Insert rows, which have the attributes of the table's, as `storable_values` says."""
        ...


# What is done in one transaction: it may only run statements, compute, and raise.
Work = Callable[[Run], T]


class Transactions:
    """Writes to the database of an engine, each `Work` in one transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        on_sqlite = engine.dialect.name == "sqlite"
        self._sqlite = sqlite_cursor.Transacting(engine) if on_sqlite else None
        self._prepared = _Prepared(engine.dialect)

    def run(self, work: Work[T]) -> Awaitable[T]:
        """Do the work and commit; whatever it raises comes through, and nothing was done then.

        Raises: SQLAlchemy's errors of the database.
        """
        if self._sqlite is not None:
            return self._sqlite.run(partial(_on_sqlite, self._prepared, work))
        return self._by_sqlalchemy(work)

    async def _by_sqlalchemy(self, work: Work[T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(lambda known: work(_RunBySqlAlchemy(known)))


@lru_cache
def _insertion(table: type[SQLModel]) -> Insert:
    return insert(table.metadata.tables[str(table.__tablename__)])


class _RunBySqlAlchemy:
    """`Run` on a connection of SQLAlchemy's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, statement: Executable, values: Any = ()) -> Rows:
        result = self._connection.execute(statement, values or None)
        return [tuple(row) for row in result] if result.returns_rows else []

    def changed(self, statement: Executable, values: Values) -> int:
        return self._connection.execute(statement, values).rowcount

    def insert(self, table: type[SQLModel], rows: Sequence[object]) -> None:
        self(_insertion(table), [storable_values(row, table) for row in rows])


class _Prepared:
    """Statements as SQLite takes them, each made once; for whatever thread has the connection."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._statements: dict[Executable, _Text] = {}
        self._new_rows: dict[type[SQLModel], NewRows] = {}

    def statement(self, statement: Executable, values: Any) -> "_Text":
        """The statement, when it is given with values of these names."""
        known = self._statements.get(statement)
        if known is None:
            several = not isinstance(values, Mapping)
            names = tuple(values[0] if several and values else () if several else values)
            known = self._statements[statement] = _Text(statement, names, self.dialect)
        return known

    def new_rows(self, table: type[SQLModel]) -> NewRows:
        """The statement that inserts into the table."""
        known = self._new_rows.get(table)
        if known is None:
            known = self._new_rows[table] = NewRows(table, _insertion(table), self.dialect)
        return known


def _on_sqlite(prepared: _Prepared, work: Work[T], cursor: sqlite3.Cursor) -> T:
    return work(_RunOnSqlite(prepared, cursor))


class _RunOnSqlite:
    """`Run` on a cursor of SQLite's."""

    __slots__ = ("_cursor", "_prepared")

    def __init__(self, prepared: _Prepared, cursor: sqlite3.Cursor) -> None:
        self._prepared = prepared
        self._cursor = cursor

    def __call__(self, statement: Executable, values: Any = ()) -> Rows:
        text = self._prepared.statement(statement, values)
        cursor = self._cursor
        try:
            if isinstance(values, Mapping) or not values:
                cursor.execute(text.sql, text.parameters(values or {}))
            else:
                cursor.executemany(text.sql, map(text.parameters, values))
            return cursor.fetchall() if cursor.description else []
        except sqlite3.Error as error:
            raise self._as_sqlalchemy(error, text.sql) from error

    def changed(self, statement: Executable, values: Values) -> int:
        text = self._prepared.statement(statement, values)
        try:
            return self._cursor.execute(text.sql, text.parameters(values)).rowcount
        except sqlite3.Error as error:
            raise self._as_sqlalchemy(error, text.sql) from error

    def insert(self, table: type[SQLModel], rows: Sequence[object]) -> None:
        new_rows = self._prepared.new_rows(table)
        try:
            self._cursor.executemany(new_rows.sql, map(new_rows.parameters, rows))
        except sqlite3.Error as error:
            raise self._as_sqlalchemy(error, new_rows.sql) from error

    def _as_sqlalchemy(self, error: sqlite3.Error, sql: str) -> BaseException:
        return sqlite_cursor.as_sqlalchemy(error, sql, self._prepared.dialect)


class _Text:
    """One statement: its text, and how values become its parameters."""

    def __init__(self, statement: Any, names: Sequence[str], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(names) or None)
        assert isinstance(compiled, SQLCompiler)
        self.sql = compiled.string
        self._parameters = []
        for name in compiled.positiontup or ():
            convert = conversion(compiled.binds[name].type, dialect)
            default = compiled.params.get(name)
            self._parameters.append((name, default, convert))

    def parameters(self, values: Values) -> list[Any]:
        """The values in the order of their places, as SQLite keeps them."""
        value_of = values.get
        parameters = []
        for name, default, convert in self._parameters:
            value = value_of(name, default)
            kept = value if convert is None or value is None else convert(value)
            parameters.append(kept)
        return parameters
