"""The single-node search engine: segments, indexes, filters, top-k. No network, no storage port."""
