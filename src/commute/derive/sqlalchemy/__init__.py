"""SQLAlchemy, as inference sees it: metadata, sessions, mapped objects and their queries."""
