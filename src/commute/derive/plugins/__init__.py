"""What reaches out of the process besides SQLAlchemy and Redis: SQL in text, the store, services over a network."""
