"""YAML text -> located tree -> document of an architecture."""
