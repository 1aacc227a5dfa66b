"""Results as pictures to look at: beside their input, or as labelled tiles."""
