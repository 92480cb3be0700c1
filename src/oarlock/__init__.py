"""Oarlock: replicated state machines for Python, on Raft."""
