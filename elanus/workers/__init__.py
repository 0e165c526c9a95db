"""Workers: data node (log to segments), index node (builds), query node (serves). They own nothing that
cannot be rebuilt from the meta store, the log and the objects."""
