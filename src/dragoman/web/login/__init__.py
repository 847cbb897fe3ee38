"""The login has pages for password, second factor, reset and single sign-on."""
