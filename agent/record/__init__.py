"""The record of calls: tables, SQL, the database's engines, and the recorder of running calls."""
