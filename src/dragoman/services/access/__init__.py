"""Who may come in: users, passwords, second factors, single sign-on."""
