"""The web process's edge has the webhook, login, pages, API and health. It decides nothing about conversations."""
