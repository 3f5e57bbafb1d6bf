"""The record of calls: tables, SQL, the database engines, and what is written behind a running call."""
