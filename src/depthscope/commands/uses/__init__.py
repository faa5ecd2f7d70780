"""What a run of each pretext task is used for: one module, and one function, a system."""
