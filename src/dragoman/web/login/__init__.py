"""The login pages: password, second factor, reset, single sign-on."""
