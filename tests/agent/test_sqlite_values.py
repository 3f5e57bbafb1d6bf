"""What SQLite keeps of a value: what SQLAlchemy would have given it, and clean."""

from datetime import UTC, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import JSON, Boolean, Column, Enum, Integer, insert
from sqlalchemy.dialects import sqlite
from sqlmodel import SQLModel

from agent.calls import Call, CallEvent, Moment, Placement, TokenUsage, Turn
from agent.sqlite_values import NewRows, conversion
from agent.storable import columns_of, json_text, storable_values

TABLES = (Call, CallEvent, Placement, TokenUsage, Turn)
DIALECT = sqlite.dialect(json_serializer=json_text)  # type: ignore[no-untyped-call]

# Strings with what cannot be stored, and longer than any column.
texts = st.text(st.characters(categories=None) | st.sampled_from("\x00\ud800\n"), max_size=80)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# At the ends of time, other zones have no UTC.
moments = st.datetimes(timezones=st.just(UTC) | zones).filter(lambda at: 1 < at.year < 9999)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(texts, json_values, max_size=3)


def values_of(column: Column[Any]) -> st.SearchStrategy[Any]:
    match column.type:
        case Moment():
            return moments
        case JSON():
            return documents
        case Enum():
            assert column.type.enum_class is not None
            return st.sampled_from(list(column.type.enum_class)) | st.sampled_from(
                column.type.enums
            )
        case Boolean():
            return st.booleans()
        case Integer():
            return st.integers(-(2**63), 2**63 - 1)
        case _:
            return texts


def given_by_sqlalchemy(column: Column[Any], value: Any) -> Any:
    processor = column.type.dialect_impl(DIALECT).bind_processor(DIALECT)
    return value if processor is None else processor(value)


def exactly(value: Any) -> tuple[type, Any]:
    return type(value), value


EACH_COLUMN = [
    pytest.param(column, id=f"{table.__tablename__}.{column.key}")
    for table in TABLES
    for column in columns_of(table).values()
]


@pytest.mark.parametrize("column", EACH_COLUMN)
@given(data=st.data())
def test_a_value_is_kept_as_sqlalchemy_would_keep_it(column: Column[Any], data: st.DataObject):
    value = data.draw(values_of(column))
    convert = conversion(column.type, DIALECT)
    kept = value if convert is None else convert(value)
    assert kept == given_by_sqlalchemy(column, value)
    # The driver takes these at once, and looks for an adapter of any other type.
    assert type(kept) in (str, int)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.__tablename__))
@given(data=st.data())
def test_a_row_is_inserted_with_what_any_database_is_given(
    table: type[SQLModel], data: st.DataObject
):
    columns = columns_of(table)
    values = {}
    for attribute, column in columns.items():
        value = values_of(column)
        values[attribute] = data.draw(st.none() | value if column.nullable else value)
    row = SimpleNamespace(**values)
    storable = storable_values(row, table)
    expected = [
        given_by_sqlalchemy(column, storable[column.key]) if column.key in storable else None
        for column in columns.values()
    ]
    insertion = insert(table.metadata.tables[str(table.__tablename__)])
    new_rows = NewRows(table, insertion, DIALECT)
    kept = new_rows.parameters(row)
    assert [exactly(value) for value in kept] == [exactly(value) for value in expected]
    names = ", ".join(column.key for column in columns.values())
    assert new_rows.sql.startswith(f"INSERT INTO {table.__tablename__} ({names}) VALUES")
