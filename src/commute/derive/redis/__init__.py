"""Redis, as inference sees it: commands, families of keys, scripts."""
