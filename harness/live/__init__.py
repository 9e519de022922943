"""Replicas as OS processes: queues, SQLite, signals."""
