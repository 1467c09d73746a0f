"""The house at work: tasks, supervision, and the faces that people and programs see."""
