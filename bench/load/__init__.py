"""Fills a database with a million sessions, or ten, as ninety days of a busy installation would leave them.

``python -m bench.load [--sessions 1000000]`` makes it under ``var/bench`` and keeps it: making it takes minutes, and
every benchmark of the log pages wants the same one. ``vocabulary`` has the words, ``people`` who writes and to whom,
``conversations`` what was said and decided; ``fill`` puts it into PostgreSQL by COPY, ``kept`` finds it again.
"""
