"""From results to text, LaTeX, HTML and pictures. No statistics here."""
