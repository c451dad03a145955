//! View models in, pictures and pages out. No IO, no SQL.
