"""How do description and data become weights? Loss, schedule, step, loop, and a state that resumes exactly."""
