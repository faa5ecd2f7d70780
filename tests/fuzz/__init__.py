"""Fuzzing: damaged, torn and hostile files and command lines, from tiny valid ones and a seed.

``PYTHONPATH=tests python -m fuzz --inputs 20000 --seed 1 --out out/fuzz`` runs the campaign (``make fuzz``).
"""
