"""How a network runs on this machine: its plan, and images per second."""
