"""Finds the Python skills that are installed, through the entry point group ``dragoman.skills``."""

from __future__ import annotations

from importlib.metadata import entry_points
from types import ModuleType

from dragoman.domain.errors import ConfigurationError
from dragoman.skills.python import PythonSkill

GROUP = "dragoman.skills"


def load_entry_points() -> dict[str, PythonSkill]:
    """Load every skill of every installed package, by name.

    Raises ConfigurationError when a package cannot be imported or two skills have one name: a registry with a
    hole would call working skills retired.
    """
    found: dict[str, PythonSkill] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        try:
            module = entry.load()
        except Exception as error:
            raise ConfigurationError(f"skills of {entry.value} cannot be loaded: {error!r}") from error
        for name, skill in collect(module).items():
            if found.get(name, skill) is not skill:
                raise ConfigurationError(f"two skills are called {name}; {entry.value} has the second one")
            found[name] = skill
    return dict(sorted(found.items()))


def collect(module: ModuleType) -> dict[str, PythonSkill]:
    """The decorated functions that *module* holds or imports, by name."""
    skills: dict[str, PythonSkill] = {}
    for value in vars(module).values():
        if isinstance(value, PythonSkill):
            if skills.get(value.spec.name, value) is not value:
                raise ConfigurationError(f"{module.__name__} has two skills called {value.spec.name}")
            skills[value.spec.name] = value
    return skills
