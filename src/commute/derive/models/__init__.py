"""Objects with fields that a library makes, checks and writes out: dataclasses, msgspec, pydantic."""
