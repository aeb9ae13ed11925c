"""Arrays in, small frozen records out: numpy and scipy only, no labels."""
