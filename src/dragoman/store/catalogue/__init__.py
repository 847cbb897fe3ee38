"""The catalogue has skills, flows and menus in all their versions."""
