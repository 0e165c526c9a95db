"""Wiring: configuration, roles in one process, logging, health, metrics."""
