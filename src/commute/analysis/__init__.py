"""What a log of events allows, and what would allow more: pure computation over footprints."""
