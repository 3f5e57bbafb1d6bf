"""A whole transaction as one piece of work, for what happens many times in each call.

    SQLite   begin ─ statements ─ commit, in the connection's thread      one way there and back
    others   as SQLAlchemy has it                                         one a statement

Source: https://docs.sqlalchemy.org/en/21/core/compiled.html
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Executable
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.compiler import SQLCompiler

from agent import sqlite_cursor

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


# What is done in one transaction: it may only run statements, compute, and raise.
Work = Callable[[Run], T]


class Transactions:
    """Writes to the database of an engine, each `Work` in one transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        on_sqlite = engine.dialect.name == "sqlite"
        self._sqlite = sqlite_cursor.Transacting(engine) if on_sqlite else None
        self._prepared = _Prepared(engine.dialect)

    async def run(self, work: Work[T]) -> T:
        """Do the work and commit; whatever it raises comes through, and nothing was done then.

        Raises: SQLAlchemy's errors of the database.
        """
        if self._sqlite is not None:
            return await self._sqlite.run(partial(self._on_sqlite, work))
        async with self._engine.begin() as connection:
            return await connection.run_sync(lambda known: work(partial(_run, known)))

    def _on_sqlite(self, work: Work[T], cursor: sqlite3.Cursor) -> T:
        return work(partial(self._prepared.run, cursor))


def _run(connection: Connection, statement: Executable, values: Any = ()) -> Rows:
    result = connection.execute(statement, values or None)
    return [tuple(row) for row in result] if result.returns_rows else []


class _Prepared:
    """Statements as SQLite takes them, each made once; used by several threads."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._known: dict[tuple[Executable, tuple[str, ...]], _Text] = {}

    def run(self, cursor: sqlite3.Cursor, statement: Executable, values: Any = ()) -> Rows:
        """`Run`, once the cursor is known."""
        several = not isinstance(values, Mapping)
        names = tuple(values[0] if several and values else () if several else values)
        text = self._known.get((statement, names))
        if text is None:
            text = self._known[statement, names] = _Text(statement, names, self._dialect)
        try:
            if several and values:
                cursor.executemany(text.sql, map(text.parameters, values))
            else:
                cursor.execute(text.sql, text.parameters(values or {}))
            return cursor.fetchall() if cursor.description else []
        except sqlite3.Error as error:
            raise sqlite_cursor.as_sqlalchemy(error, text.sql, self._dialect) from error


class _Text:
    """One statement: its text, and how values become its parameters."""

    def __init__(self, statement: Any, names: Sequence[str], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(names) or None)
        assert isinstance(compiled, SQLCompiler)
        self.sql = compiled.string
        self._parameters = []
        for name in compiled.positiontup or ():
            kind = compiled.binds[name].type.dialect_impl(dialect)
            convert = kind.bind_processor(dialect)
            default = compiled.params.get(name)
            self._parameters.append((name, default, convert))

    def parameters(self, values: Values) -> tuple[Any, ...]:
        value_of = values.get
        return tuple(
            [
                value_of(name, default) if convert is None else convert(value_of(name, default))
                for name, default, convert in self._parameters
            ]
        )
