"""Estimators of the family, and what they return."""
