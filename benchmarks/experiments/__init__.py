"""What is learned: ablation, trials, races to a target, GLNet's location task, maps; and what is shipped of it."""
