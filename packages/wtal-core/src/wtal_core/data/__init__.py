"""The data of an experiment: videos, their names, their times, their features."""
