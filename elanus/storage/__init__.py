"""Three ports: meta (small, transactional), log (append, ordered), objects (large, immutable)."""
