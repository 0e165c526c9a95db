"""Coordinators: root (names, DDL), data (manifests, flush, trimming), index (builds), query (views).

Each acts only in its term: every transaction compares the election key, so a coordinator that has been
succeeded cannot change anything.
"""
