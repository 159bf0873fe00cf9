"""TinkerPop's steps, a family a module; each module's ``STEPS`` says by name how a step is built."""
