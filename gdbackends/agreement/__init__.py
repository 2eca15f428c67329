"""Whether backends compute the same: gradients and trajectories within what rounding allows, and an exact witness."""
