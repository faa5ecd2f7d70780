"""Phantom patients with CT in a folder, and clips of them with exact truth.

Work is cut into jobs that depend on seeds only: a patient's anatomy and CT, a few frames of a clip, the end of a clip.
Whichever process does them, the bytes are the same. A patient and a clip are written whole or not at all; what is there
already is not done again.
"""
