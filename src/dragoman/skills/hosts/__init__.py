"""Host processes: Python skills run in processes of their own, which are started, watched and replaced here."""
