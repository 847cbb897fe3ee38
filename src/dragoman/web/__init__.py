"""The web process's edge: the webhook, login, pages, API, health. It decides nothing about conversations."""
