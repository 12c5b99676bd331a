"""One PostgreSQL database as one process sees it: for apps whose workers run on several machines."""
