"""Record of calls: tables, SQL, database engines, and the writer for running calls."""
