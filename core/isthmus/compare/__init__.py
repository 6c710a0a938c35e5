"""The comparison engine: a study in, one record per cell out."""
