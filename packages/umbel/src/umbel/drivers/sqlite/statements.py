"""The driver's statements by name; the statements themselves are in sql/queries.sql."""

from __future__ import annotations

from umbel.drivers.sqlfiles import load_queries

SQL = load_queries("umbel.drivers.sqlite")
