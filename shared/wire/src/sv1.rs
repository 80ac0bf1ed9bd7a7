//! Stratum V1: JSON lines.
