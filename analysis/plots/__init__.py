"""Figures of the frames that the analysis modules return; nothing is computed here."""
