"""Planted bugs: how good are the scripts and the simulator at finding what they are there for? ``make mutants``.

A *bug* (``bugs/``) breaks one rule of the product by a small change of its source, made as the module is imported
(``planting.py``). ``worker.py`` hunts one bug in a process of its own: first the scripts, then simulated runs, until
something catches it. A bug that survives means that a script, a fault, a workload or an oracle is missing.
"""
