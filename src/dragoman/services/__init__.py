"""The use cases have one file each, on a shelf for each flow. A module's docstring names its transactions."""
