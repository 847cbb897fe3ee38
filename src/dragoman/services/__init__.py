"""The use cases, one file each. A module's docstring names its transactions."""
