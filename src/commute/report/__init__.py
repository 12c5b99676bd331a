"""Pictures: one self-contained HTML page for an analysis, a replay or the demonstration."""
