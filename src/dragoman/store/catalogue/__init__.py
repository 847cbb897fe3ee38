"""Skills, flows and menus in all their versions."""
