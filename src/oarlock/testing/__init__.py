"""For tests of Oarlock and of state machines that it replicates."""
