"""From atoms and a model to observables at any electronic temperature."""
