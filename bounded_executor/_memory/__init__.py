"""How much memory processes and control groups use and may use."""
