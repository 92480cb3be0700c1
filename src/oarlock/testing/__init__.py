"""For tests of Oarlock, and of state machines that it replicates: ``simulate(Machine, use)``; see docs/testing.md."""

from oarlock.testing.simulation.session import Session
from oarlock.testing.simulation.simulate import SimulationFailed, simulate

__all__ = ["Session", "SimulationFailed", "simulate"]
