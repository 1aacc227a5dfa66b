"""The user's own pictures and arrays: folders, archives, tables and ``.npz`` files."""
