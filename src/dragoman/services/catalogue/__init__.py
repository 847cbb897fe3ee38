"""What a tenant offers: flows and menus come in and go out as files."""
