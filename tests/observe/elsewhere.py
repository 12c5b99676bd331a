"""What handlers of the tests call in another module."""

from __future__ import annotations

from sqlalchemy import Connection, text


def award(connection: Connection, customer_id: int) -> None:
    """A point for a customer."""
    connection.execute(text("UPDATE customer SET points = points + 1 WHERE id = :id"), {"id": customer_id})
