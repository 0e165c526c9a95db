"""The nouns: schema, types, ids, timestamps, errors. No I/O."""
