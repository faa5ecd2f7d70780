"""Structure from motion: frames and a camera in, a `Sequence` and its verdict out.

Nothing is imported here: the child process that runs COLMAP begins with this file, and must load neither torch nor
Pillow (pycolmap's newer wheels and Pillow corrupt the heap of a process that loads both).
"""
